// SPDX-License-Identifier: GPL-2.0
/*
 * A device that another node lends, through libskiff: QEMU's edu (docs/specs/edu.rst
 * of QEMU), which computes, raises interrupts and copies memory. Needs /dev/skiff.
 */

#define _POSIX_C_SOURCE 200809L

#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <skiff.h>

#include "ktap.h"

/* The device's ids, and registers of its BAR 0. */
#define VENDOR 0x1234
#define DEVICE 0x11e8
#define IDENTITY 0x00
#define LIVENESS 0x04
#define FACTORIAL 0x08
#define STATUS 0x20
#define COMPUTING 1
#define INTERRUPTS 0x24
#define RAISE 0x60
#define ACKNOWLEDGE 0x64
#define DMA_FROM 0x80
#define DMA_TO 0x88
#define DMA_BYTES 0x90
#define DMA_COMMAND 0x98
#define DMA_START 1
#define DMA_TO_MEMORY 2
/* Where its own memory is, as its DMA addresses it. */
#define OWN_MEMORY 0x40000

#define PAGE 4096
#define INTERRUPT_LINE 0x3c
#define LIMIT_MS 10000

/* A millisecond. */
static void moment(void)
{
	const struct timespec time = { 0, 1000000 };

	nanosleep(&time, NULL);
}

static int find(int context, struct skiff_device_query *query)
{
	memset(query, 0, sizeof(*query));
	query->match = SKIFF_MATCH_VENDOR | SKIFF_MATCH_DEVICE;
	query->device.vendor = VENDOR;
	query->device.device = DEVICE;
	return skiff_device_query(context, query);
}

static int borrow(int context)
{
	struct skiff_device_query query;
	struct skiff_device_borrow borrow;
	struct skiff_device_info info;
	int device;

	check(find(context, &query) == 0, "the device is found");
	check(query.device.state == SKIFF_DEVICE_AVAILABLE, "it is available");
	memset(&borrow, 0, sizeof(borrow));
	borrow.fdid = query.device.fdid + 100;
	check(skiff_device_borrow(context, &borrow) == -ENOENT, "another one is not there");
	check(strstr(skiff_error(), "cannot borrow device ") != NULL, "the error names it");
	check(*skiff_mend() != 0, "and what helps");
	borrow.fdid = query.device.fdid;
	borrow.flags = SKIFF_BORROW_EXCLUSIVE;
	device = skiff_device_borrow(context, &borrow);
	check(device >= 0, "it is borrowed");
	check(skiff_get_device(device, &info) == 0 &&
	      info.flags == SKIFF_BORROW_EXCLUSIVE &&
	      info.device.fdid == query.device.fdid, "it tells of itself");
	check(skiff_device_reset(device) == 0, "it is reset");
	return device;
}

static int registers(int device, struct skiff_map *map)
{
	struct skiff_device_segment bar;
	int segment;

	memset(&bar, 0, sizeof(bar));
	bar.memory = SKIFF_DEVICE_BAR;
	bar.id = 5;
	check(skiff_device_segment_connect(device, &bar) == -ENOENT, "it has no BAR 5");
	bar.id = 0;
	segment = skiff_device_segment_connect(device, &bar);
	check(segment >= 0 && bar.bytes >= PAGE, "its registers are connected");
	check(skiff_map(segment, 0, PAGE, SKIFF_MAP_UNCACHED, map) == 0, "and mapped");
	return segment;
}

static void compute(const struct skiff_map *map)
{
	check((skiff_load32(map, IDENTITY) & 0xff) == 0xed, "it is what it says");
	skiff_store32(map, LIVENESS, 0x12345678);
	check(skiff_load32(map, LIVENESS) == ~0x12345678u, "it is alive");
	skiff_store32(map, FACTORIAL, 10);
	for (int i = 0; i < LIMIT_MS && skiff_load32(map, STATUS) & COMPUTING; i++)
		moment();
	check(skiff_load32(map, FACTORIAL) == 3628800, "it computes");
}

static void config(int device)
{
	uint32_t ids = 0, line = 0;

	check(skiff_device_config_read(device, 0, 4, &ids) == 0 &&
	      ids == (DEVICE << 16 | VENDOR), "its ids can be read");
	check(skiff_device_config_write(device, 4, 2, 0) == -EPERM,
	      "its command register cannot be written");
	check(skiff_device_config_write(device, INTERRUPT_LINE, 1, 5) == 0 &&
	      skiff_device_config_read(device, INTERRUPT_LINE, 1, &line) == 0 &&
	      line == 5, "its interrupt line can");
}

static void interrupt(int device, const struct skiff_map *map)
{
	int event = eventfd(0, EFD_CLOEXEC);
	struct pollfd poll_event = { event, POLLIN, 0 };
	uint64_t count = 0;

	check(skiff_device_vector(device, 0, event) == -ENOENT, "it has no vector at first");
	check(skiff_device_vectors(device, 1) == 1, "it gets one");
	check(skiff_device_vector(device, 0, device) == -EINVAL,
	      "which wants an eventfd");
	check(skiff_device_vector(device, 0, event) == 0, "and has one");
	/* An interrupt is a write to memory. */
	check(skiff_device_bus_master(device, SKIFF_BUS_MASTER_ON) == 0,
	      "bus mastering is on");
	skiff_store32(map, RAISE, 0x80);
	check(poll(&poll_event, 1, LIMIT_MS) == 1 &&
	      read(event, &count, sizeof(count)) == sizeof(count) && count == 1,
	      "its interrupt arrives");
	check(skiff_load32(map, INTERRUPTS) == 0x80, "it is the one that was raised");
	skiff_store32(map, ACKNOWLEDGE, 0x80);
	check(skiff_device_vector(device, 0, -1) == 0, "nobody listens any more");
	check(skiff_device_bus_master(device, 0) == 0, "bus mastering is off");
	close(event);
}

/* Lets the device copy one page, and waits for it. */
static int copy(const struct skiff_map *map, uint64_t from, uint64_t to, uint32_t command)
{
	skiff_store64(map, DMA_FROM, from);
	skiff_store64(map, DMA_TO, to);
	skiff_store64(map, DMA_BYTES, PAGE);
	skiff_store64(map, DMA_COMMAND, command | DMA_START);
	for (int i = 0; i < LIMIT_MS; i++) {
		if (!(skiff_load64(map, DMA_COMMAND) & DMA_START))
			return 1;
		moment();
	}
	return 0;
}

static void memory(int context, int device, const struct skiff_map *map)
{
	static unsigned char from[PAGE], to[PAGE];
	struct skiff_segment_create create;
	struct skiff_device_map mapped;
	struct skiff_map own;
	int segment;

	memset(&create, 0, sizeof(create));
	create.flags = SKIFF_SEGMENT_ANY_ID;
	create.mode = 0600;
	create.bytes = 2 * PAGE;
	segment = skiff_create(context, &create);
	check(segment >= 0 && skiff_map(segment, 0, 2 * PAGE, 0, &own) == 0,
	      "memory for it is made");
	memset(&mapped, 0, sizeof(mapped));
	mapped.fd = segment;
	check(skiff_device_map(device, &mapped) == -EBUSY, "it has to be prepared first");
	check(skiff_prepare(segment, SKIFF_ADAPTER_ANY) == 0, "it is prepared");
	check(skiff_device_map(device, &mapped) == 0, "and mapped for the device");
	for (size_t i = 0; i < PAGE; i++)
		from[i] = (unsigned char)(i * 31 + i / 256);
	check(skiff_write(&own, 0, from, PAGE) == 0, "its first page is written");
	check(skiff_device_bus_master(device, SKIFF_BUS_MASTER_ON) == 0,
	      "the device may use it");
	check(copy(map, mapped.address, OWN_MEMORY, 0), "the device reads it");
	check(copy(map, OWN_MEMORY, mapped.address + PAGE, DMA_TO_MEMORY),
	      "and writes the second page");
	check(skiff_read(&own, PAGE, to, PAGE) == 0 && !memcmp(from, to, PAGE),
	      "both hold the same");
	check(skiff_device_bus_master(device, 0) == 0, "the device is stopped");
	check(skiff_device_unmap(device, mapped.map) == 0, "the memory is taken from it");
	check(skiff_device_unmap(device, mapped.map) == -ENOENT, "once");
	check(skiff_unmap(&own) == 0, "it is unmapped here, too");
	close(segment);
}

static void part(int context, int device, int segment, struct skiff_map *map)
{
	struct skiff_device_query query;
	struct skiff_device_info info;

	check(skiff_device_release_exclusive(device) == 0, "others may borrow it as well");
	check(skiff_device_reset(device) == -EBUSY, "so that it is not reset");
	check(skiff_device_return(device) == -EBUSY, "with a segment it stays borrowed");
	check(skiff_unmap(map) == 0, "the registers are unmapped");
	close(segment);
	check(skiff_device_return(device) == 0, "it is given back");
	check(skiff_get_device(device, &info) == -ECONNRESET, "and is good for nothing more");
	check(find(context, &query) == 0, "it is still there");
}

int main(void)
{
	struct skiff_map map;
	int context, device, segment;

	begin();
	context = skiff_open();
	check(context >= 0, "the device node is opened");
	if (context < 0) {
		printf("# %s\n", skiff_error());
		return end();
	}
	device = borrow(context);
	if (device < 0) {
		printf("# %s\n", skiff_error());
		return end();
	}
	segment = registers(device, &map);
	if (segment >= 0 && map.address) {
		compute(&map);
		config(device);
		interrupt(device, &map);
		memory(context, device, &map);
		part(context, device, segment, &map);
	}
	close(device);
	close(context);
	return end();
}
