// SPDX-License-Identifier: GPL-2.0
/*
 * A kernel client that does what is written into
 * /sys/module/skiff_kapi/parameters/command, one function of the API at a time;
 * the write fails as the function does. What came of it, and what was heard
 * meanwhile, is in the other parameters.
 */

#include <linux/auxiliary_bus.h>
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/module.h>
#include <linux/skiff.h>

enum { NUMBER = 0x4b415049, SEGMENT = 0x4b, LIMIT_MS = 5000 };

static ullong result;
module_param(result, ullong, 0444);
MODULE_PARM_DESC(result, "what the last command has found");

static ulong heard;
module_param(heard, ulong, 0444);
MODULE_PARM_DESC(heard, "messages that came");

static ulong unordered;
module_param(unordered, ulong, 0444);
MODULE_PARM_DESC(unordered, "of these: did not have the number after that of the one before");

static ulong refused;
module_param(refused, ulong, 0444);
MODULE_PARM_DESC(refused, "messages that nobody has wanted");

static ulong events;
module_param(events, ulong, 0444);
MODULE_PARM_DESC(events, "bit n: event n was told of the segment or the connection");

static ulong probed;
module_param(probed, ulong, 0444);
MODULE_PARM_DESC(probed, "peers that were probed");

static ulong removed;
module_param(removed, ulong, 0444);
MODULE_PARM_DESC(removed, "peers that were removed");

static uint slow;
module_param(slow, uint, 0644);
MODULE_PARM_DESC(slow, "milliseconds that a message takes to be heard");

static struct skiff_channel *channel;
static struct skiff_local *local;
static struct skiff_remote *remote;
static struct skiff_map *map;
static u32 last[SKIFF_NODES_MAX];
static u32 sent[SKIFF_NODES_MAX];
static const u8 zeros[SKIFF_MESSAGE_MAX + 1];

static void message(void *data, unsigned int node, const void *bytes, size_t length)
{
	u32 number, waited;

	heard++;
	if (data != &channel || node >= SKIFF_NODES_MAX || length != sizeof(number)) {
		unordered++;
		return;
	}
	memcpy(&number, bytes, sizeof(number));
	if (number != last[node] + 1)
		unordered++;
	last[node] = number;
	/* It can be changed meanwhile. */
	for (waited = 0; waited < READ_ONCE(slow); waited += 10)
		msleep(10);
}

static void nobody(void *data, unsigned int node)
{
	refused++;
}

static void event(void *data, u32 type, unsigned int node)
{
	events |= BIT(type);
}

static const struct skiff_channel_ops channel_ops = { .message = message, .refused = nobody };
static const struct skiff_segment_ops segment_ops = { .event = event };

/* Numbers from the last one on; what finds the queue full is tried again if that is wanted. */
static int send(unsigned int node, u32 count, bool patient)
{
	unsigned long limit = jiffies + msecs_to_jiffies(LIMIT_MS);
	u32 number;

	if (node >= SKIFF_NODES_MAX)
		return -ENXIO;
	number = sent[node] + 1;
	while (count) {
		int error = skiff_channel_send(channel, node, &number, sizeof(number));

		if (error == -EBUSY && patient && time_before(jiffies, limit)) {
			usleep_range(500, 1000);
			continue;
		}
		if (error)
			return error;
		sent[node] = number++;
		count--;
	}
	return 0;
}

static int make(u64 bytes)
{
	struct skiff_segment_spec spec = { .bytes = bytes, .id = SEGMENT, .mode = 0666 };
	struct skiff_local *made = skiff_segment_create(&spec, &segment_ops, NULL);

	if (IS_ERR(made))
		return PTR_ERR(made);
	local = made;
	return skiff_segment_offer(local);
}

static int unmake(void)
{
	if (!local)
		return -ENOENT;
	skiff_segment_remove(local);
	local = NULL;
	return 0;
}

static int connect(unsigned int node)
{
	struct skiff_remote *made = skiff_segment_connect(node, SEGMENT, &segment_ops, NULL, LIMIT_MS);

	if (IS_ERR(made))
		return PTR_ERR(made);
	remote = made;
	result = skiff_remote_bytes(remote);
	return 0;
}

static int show(u64 offset, u64 bytes)
{
	struct skiff_map *made = skiff_remote_map(remote, offset, bytes, SKIFF_MAP_WC);

	if (IS_ERR(made))
		return PTR_ERR(made);
	map = made;
	return 0;
}

static int let_go(void)
{
	if (map)
		skiff_unmap(map);
	if (remote)
		skiff_disconnect(remote);
	map = NULL;
	remote = NULL;
	return 0;
}

static int obey(const char *text)
{
	unsigned int node, count;
	u64 at, value;

	if (sscanf(text, "send %u %u", &node, &count) == 2)
		return send(node, count, true);
	if (sscanf(text, "flood %u %u", &node, &count) == 2)
		return send(node, count, false);
	if (sscanf(text, "length %u %u", &node, &count) == 2)
		return skiff_channel_send(channel, node, zeros, min_t(size_t, count, sizeof(zeros)));
	if (!strncmp(text, "open", 4))
		return PTR_ERR_OR_ZERO(skiff_channel_open(NUMBER, &channel_ops, NULL));
	if (sscanf(text, "make %llu", &at) == 1)
		return local ? -EEXIST : make(at);
	if (!strncmp(text, "remove", 6))
		return unmake();
	if (sscanf(text, "connect %u", &node) == 1)
		return remote ? -EEXIST : connect(node);
	if (sscanf(text, "map %llu %llu", &at, &value) == 2)
		return map ? -EEXIST : show(at, value);
	if (!strncmp(text, "disconnect", 10))
		return let_go();
	if (sscanf(text, "put %llu %llu", &at, &value) == 2) {
		WRITE_ONCE(*(u64 *)(skiff_segment_address(local) + at), value);
		return 0;
	}
	if (sscanf(text, "get %llu", &at) == 1) {
		result = READ_ONCE(*(u64 *)(skiff_segment_address(local) + at));
		return 0;
	}
	if (sscanf(text, "store %llu %llu", &at, &value) == 2) {
		writeq(value, skiff_map_address(map) + at);
		wmb();
		return 0;
	}
	if (sscanf(text, "load %llu", &at) == 1) {
		result = readq(skiff_map_address(map) + at);
		return 0;
	}
	return -EINVAL;
}

static int command_set(const char *text, const struct kernel_param *kp)
{
	return obey(text);
}

static const struct kernel_param_ops command_ops = { .set = command_set };
module_param_cb(command, &command_ops, NULL, 0200);

static int probe(struct auxiliary_device *device, const struct auxiliary_device_id *id)
{
	probed++;
	return 0;
}

static void remove(struct auxiliary_device *device)
{
	removed++;
}

static const struct auxiliary_device_id ids[] = {
	{ .name = SKIFF_PEER_NAME },
	{}
};
MODULE_DEVICE_TABLE(auxiliary, ids);

static struct auxiliary_driver driver = {
	.name = "skiff_kapi",
	.probe = probe,
	.remove = remove,
	.id_table = ids,
};

static int __init kapi_init(void)
{
	int error;

	channel = skiff_channel_open(NUMBER, &channel_ops, &channel);
	if (IS_ERR(channel))
		return PTR_ERR(channel);
	error = auxiliary_driver_register(&driver);
	if (error)
		skiff_channel_close(channel);
	return error;
}
module_init(kapi_init);

static void __exit kapi_exit(void)
{
	auxiliary_driver_unregister(&driver);
	let_go();
	unmake();
	skiff_channel_close(channel);
}
module_exit(kapi_exit);

MODULE_DESCRIPTION("Does with skiff.ko what it is told");
MODULE_LICENSE("GPL");
