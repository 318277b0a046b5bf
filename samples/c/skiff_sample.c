// SPDX-License-Identifier: GPL-2.0
/* A kernel client: memory for peers, and a device of another node. Its twin is samples/rust/skiff_sample.rs. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/auxiliary_bus.h>
#include <linux/cleanup.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/iopoll.h>
#include <linux/module.h>
#include <linux/skiff.h>

/* A segment for a peer, whose number is added, and what a node writes there, its own number added. */
#define SEGMENT 0x534d0000
#define NUMBER 0x736b696666000000ULL

/* What is made ends in the reverse order, however a function returns. */
DEFINE_FREE(disconnect, struct skiff_remote *, if (!IS_ERR(_T)) skiff_disconnect(_T))
DEFINE_FREE(unmap, struct skiff_map *, if (!IS_ERR(_T)) skiff_unmap(_T))
DEFINE_FREE(give_back, struct skiff_borrowed *, if (!IS_ERR(_T)) skiff_return(_T))
DEFINE_FREE(free_dma, struct skiff_dma *, if (!IS_ERR(_T)) skiff_dma_free(_T))

/* A peer was here. It can have written anything, and can write at any time: read once, then check. */
static void segment_event(void *peer, u32 type, unsigned int node)
{
	u64 *memory = skiff_segment_address(auxiliary_get_drvdata(peer));

	if (type == SKIFF_EVENT_DISCONNECTED)
		pr_info("node %u wrote %s\n", node, READ_ONCE(*memory) == NUMBER + node ? "its number" : "rubbish");
}
static const struct skiff_segment_ops segment_ops = { .event = segment_event };

/* Writes to the segment that a peer has for this node. */
static int write_to(unsigned int node)
{
	u32 id = SEGMENT + skiff_node();
	struct skiff_remote *remote __free(disconnect) = skiff_segment_connect(node, id, NULL, NULL, 0);
	if (IS_ERR(remote))
		return PTR_ERR(remote);
	struct skiff_map *map __free(unmap) = skiff_remote_map(remote, 0, PAGE_SIZE, SKIFF_MAP_WC);
	if (IS_ERR(map))
		return PTR_ERR(map);
	writeq(NUMBER + skiff_node(), skiff_map_address(map));
	wmb(); /* It is there before the peer is told of the end. */
	return 0;
}

/* A node answers: make a segment for it. The one that comes later finds the other one's, and writes to it. */
static int peer_probe(struct auxiliary_device *peer)
{
	struct skiff_segment_spec spec = { PAGE_SIZE, BIT_ULL(peer->id), SEGMENT + peer->id, 0666 };
	struct skiff_local *local = skiff_segment_create(&spec, &segment_ops, peer);
	int error;

	if (IS_ERR(local))
		return PTR_ERR(local);
	auxiliary_set_drvdata(peer, local);
	error = skiff_segment_offer(local);
	if (error)
		skiff_segment_remove(local);
	else if (!write_to(peer->id))
		pr_info("wrote to node %u\n", peer->id);
	return error;
}

/* QEMU's device for teaching (docs/specs/edu.rst there): registers, commands, memory of its own. */
enum { SOURCE = 0x80, TARGET = 0x88, COUNT = 0x90, COMMAND = 0x98, BUSY = 1 };
enum { TO_DEVICE = 1, FROM_DEVICE = 3, OWN = 0x40000 };

static int edu_copy(void __iomem *registers, u64 from, u64 to, u64 command)
{
	writeq(from, registers + SOURCE);
	writeq(to, registers + TARGET);
	writeq(sizeof(u64), registers + COUNT);
	writeq(command, registers + COMMAND);
	return readq_poll_timeout(registers + COMMAND, command, !(command & BUSY), USEC_PER_MSEC, 5 * USEC_PER_SEC);
}

/* A device can be borrowed: if it is that one, of another node, have it copy eight bytes there and back. */
static int edu_probe(struct auxiliary_device *device)
{
	struct skiff_device_query query = { .from = device->id };
	u32 fdid = device->id;
	int error = skiff_find_device(&query);

	if (error || query.device.fdid != fdid || query.device.vendor != 0x1234 || query.device.device != 0x11e8 ||
	    query.device.node == skiff_node())
		return -ENODEV;
	struct skiff_borrowed *edu __free(give_back) = skiff_borrow(fdid, SKIFF_BORROW_EXCLUSIVE, NULL, NULL, 0);
	if (IS_ERR(edu))
		return PTR_ERR(edu);
	struct skiff_map *map __free(unmap) = skiff_device_bar(edu, 0, 0, PAGE_SIZE);
	if (IS_ERR(map))
		return PTR_ERR(map);
	struct skiff_dma *dma __free(free_dma) = skiff_dma_alloc(edu, PAGE_SIZE, SKIFF_PLACE_CPU, 0);
	if (IS_ERR(dma))
		return PTR_ERR(dma);
	u64 *memory = dma->memory;

	memory[0] = NUMBER;
	error = skiff_device_master(edu, true) ?:
		edu_copy(skiff_map_address(map), dma->address, OWN, TO_DEVICE) ?:
		edu_copy(skiff_map_address(map), OWN, dma->address + sizeof(u64), FROM_DEVICE);
	/* Whatever came of it: the device is to leave the memory alone that is freed now. */
	skiff_device_master(edu, false);
	error = error ?: READ_ONCE(memory[1]) == NUMBER ? 0 : -EIO;
	if (!error)
		pr_info("device %#x copied\n", fdid);
	return error;
}

static const struct auxiliary_device_id ids[] = { { .name = SKIFF_PEER_NAME }, { .name = SKIFF_DEVICE_NAME }, {} };
MODULE_DEVICE_TABLE(auxiliary, ids);

static int probe(struct auxiliary_device *found, const struct auxiliary_device_id *id)
{
	return id == ids ? peer_probe(found) : edu_probe(found);
}

static void remove(struct auxiliary_device *gone)
{
	if (auxiliary_get_drvdata(gone))
		skiff_segment_remove(auxiliary_get_drvdata(gone));
}

static struct auxiliary_driver sample = { .probe = probe, .remove = remove, .id_table = ids };
module_auxiliary_driver(sample);
MODULE_DESCRIPTION("Writes to peers and has a lent device copy");
MODULE_LICENSE("GPL");
