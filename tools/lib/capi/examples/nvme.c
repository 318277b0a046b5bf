// SPDX-License-Identifier: GPL-2.0
/*
 * Drives an NVMe controller that some node lends, through libskiff alone: tells what
 * it is, writes a pattern to it, reads it back and compares. Whatever was there is
 * overwritten, unless -r says that the pattern is there already.
 *
 * Usage: nvme [-r] [-s PLACE] [-c PLACE] [-d PLACE] FDID [FROM BYTES SEED]
 *
 * A PLACE says where submission queues (-s), completion queues (-c) and data (-d)
 * are: "local", memory of this node (the default); "device", memory close to the
 * device; or NODE:ID, a segment of any node. The rule for speed is that nobody reads
 * across the fabric: "-s device", and the rest here.
 *
 * NVM Express base specification 2.0: registers 3.1, queues 3.3, commands 5 and the
 * NVM command set specification 1.0, 3.2.
 */

#define _POSIX_C_SOURCE 200809L

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <skiff.h>

#define PAGE 4096
/* Commands under way at a time; the identifier of a command is its number among them. */
#define DEPTH 8
/* Bytes that a command moves at most: two pages have addresses in the command, more would need a list. */
#define CHUNK (2 * PAGE)
/* One entry of a queue stays free. */
#define ENTRIES (DEPTH + 1)
/* How long the controller may take for anything. */
#define LIMIT_S 20

/* Where everything is in the memory of its place; what is elsewhere stays unused. */
enum offset {
	ADMIN_SUBMISSIONS = 0,
	SUBMISSIONS = 1 * PAGE,
	ADMIN_COMPLETIONS = 2 * PAGE,
	COMPLETIONS = 3 * PAGE,
	DATA = 4 * PAGE,
	TOTAL = DATA + DEPTH * CHUNK,
};

/* Registers in BAR 0. */
#define CAP 0x00
#define INTERRUPT_MASK 0x0c
#define CONFIG 0x14
#define ENABLE 1u
/* Entries of 64 and of 16 bytes, pages of 4 KiB, the NVM command set. */
#define CONFIG_START (6u << 16 | 4u << 20 | ENABLE)
#define STATUS 0x1c
/* Where ENABLE is in CONFIG. */
#define READY 1u
#define FATAL 2u
#define ADMIN_ENTRIES 0x24
#define ADMIN_SQ 0x28
#define ADMIN_CQ 0x30
#define DOORBELLS 0x1000

enum admin_opcode { CREATE_SQ = 0x01, CREATE_CQ = 0x05, IDENTIFY = 0x06, SET_FEATURES = 0x09 };
enum opcode { FLUSH = 0x00, WRITE = 0x01, READ = 0x02 };
#define NUMBER_OF_QUEUES 7

/* A submission entry. */
struct command {
	uint32_t opcode_and_id;
	uint32_t namespace;
	uint32_t reserved[4];
	uint64_t first, second;
	uint32_t words[6];
};

/* Memory that program and device use. */
struct memory {
	const char *place;
	struct skiff_map map;
	uint64_t address;
};

struct queue {
	unsigned int id;
	const struct memory *submissions, *completions;
	size_t submission_offset, completion_offset;
	unsigned int tail, head, phase;
};

/* Everything; this program has one of each. */
static int context, device;
static struct skiff_map registers;
static size_t stride;
static uint64_t block;
static struct memory memories[3];
static const struct memory *data;
static struct queue admin, io;

/* Ends the program with what libskiff says when something did not go well. */
static int sure(int result, const char *what)
{
	if (result < 0)
		errx(1, "%s: %s%s%s", what, skiff_error(), *skiff_mend() ? "; " : "", skiff_mend());
	return result;
}

static uint64_t seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

/* A lost node gives all ones instead of SIGBUS. Segments of the own node have no uncached maps. */
static void map_remote(int segment, size_t bytes, struct skiff_map *map)
{
	uint64_t flags = SKIFF_MAP_ALL_ONES;

	if (skiff_map(segment, 0, bytes, flags | SKIFF_MAP_UNCACHED, map) == -EINVAL)
		sure(skiff_map(segment, 0, bytes, flags, map), "map");
	if (!map->address)
		errx(1, "map: %s", skiff_error());
}

/* The memory of a place: once, however many things are there. */
static const struct memory *take(const char *place)
{
	struct skiff_segment_create create = {
		.flags = SKIFF_SEGMENT_ANY_ID, .mode = 0600, .bytes = TOTAL,
	};
	struct skiff_device_segment near = {
		.flags = SKIFF_HINT_DEVICE_READ | SKIFF_HINT_HOST_WRITE,
		.memory = SKIFF_DEVICE_PRIVATE, .id = 1, .bytes = TOTAL,
	};
	struct skiff_segment_connect connect = { .adapter = SKIFF_ADAPTER_ANY };
	struct skiff_device_map mapped = { .bytes = TOTAL };
	struct memory *memory = memories;

	for (; memory->place; memory++)
		if (!strcmp(memory->place, place))
			return memory;
	memory->place = place;
	if (!strcmp(place, "local")) {
		mapped.fd = sure(skiff_create(context, &create), place);
		sure(skiff_prepare(mapped.fd, SKIFF_ADAPTER_ANY), place);
		sure(skiff_map(mapped.fd, 0, TOTAL, 0, &memory->map), place);
	} else if (!strcmp(place, "device")) {
		sure(skiff_device_segment_create(device, &near), place);
		near.flags = 0;
		mapped.fd = sure(skiff_device_segment_connect(device, &near), place);
		map_remote(mapped.fd, TOTAL, &memory->map);
	} else {
		if (sscanf(place, "%u:%u", &connect.node, &connect.id) != 2)
			errx(2, "%s is not local, device or NODE:ID", place);
		mapped.fd = sure(skiff_connect(context, &connect), place);
		if (connect.bytes < TOTAL)
			errx(1, "%s is shorter than %d bytes", place, TOTAL);
		map_remote(mapped.fd, TOTAL, &memory->map);
	}
	sure(skiff_device_map(device, &mapped), place);
	memory->address = mapped.address;
	return memory;
}

/* A queue that is empty. Completions of the first round will have the phase 1. */
static void prepare_queue(struct queue *queue, unsigned int id, const struct memory *submissions,
			  const struct memory *completions)
{
	static const char zeros[PAGE];

	*queue = (struct queue){
		.id = id, .phase = 1, .submissions = submissions, .completions = completions,
		.submission_offset = id ? SUBMISSIONS : ADMIN_SUBMISSIONS,
		.completion_offset = id ? COMPLETIONS : ADMIN_COMPLETIONS,
	};
	skiff_write(&completions->map, queue->completion_offset, zeros, PAGE);
	skiff_flush();
}

/* Puts a command into its queue; run() tells the controller. */
static void submit(struct queue *queue, const struct command *command)
{
	size_t at = queue->submission_offset + queue->tail * sizeof(*command);

	skiff_write(&queue->submissions->map, at, command, sizeof(*command));
	queue->tail = (queue->tail + 1) % ENTRIES;
}

/* Waits for one completion, which must be good; its command's identifier. */
static unsigned int complete(struct queue *queue)
{
	const struct skiff_map *map = &queue->completions->map;
	size_t at = queue->completion_offset + queue->head * 16;
	uint64_t end = seconds() + LIMIT_S;
	uint32_t last;

	while (((last = skiff_load32(map, at + 12)) >> 16 & 1) != queue->phase)
		if (seconds() > end)
			errx(1, "queue %u: no completion", queue->id);
	/* What the command has read is looked at later than its completion. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (last >> 17)
		errx(1, "queue %u: command %u ended with status %#x", queue->id, last & 0xffff,
		     last >> 17);
	queue->head = (queue->head + 1) % ENTRIES;
	if (queue->head == 0)
		queue->phase ^= 1;
	return last & 0xffff;
}

/* Has commands done that were submitted since the last time, their identifiers 0 to count - 1. */
static void run(struct queue *queue, unsigned int count)
{
	size_t doorbells = DOORBELLS + 2 * queue->id * stride;
	unsigned int done = 0;

	/* The commands are there before the doorbell says so. */
	skiff_flush();
	skiff_store32(&registers, doorbells, queue->tail);
	for (unsigned int i = 0; i < count; i++) {
		unsigned int id = complete(queue);

		if (id >= count || done & 1u << id)
			errx(1, "queue %u: a completion of command %u", queue->id, id);
		done |= 1u << id;
	}
	skiff_store32(&registers, doorbells + stride, queue->head);
}

/* Starts or stops the controller. */
static void enable(uint32_t config)
{
	uint64_t end = seconds() + LIMIT_S;
	uint32_t status;

	skiff_store32(&registers, CONFIG, config);
	while (((status = skiff_load32(&registers, STATUS)) & READY) != (config & ENABLE))
		if (status & FATAL || seconds() > end)
			errx(1, "the controller has status %#x", status);
}

static void do_admin(enum admin_opcode opcode, uint32_t namespace, uint64_t address,
		     uint32_t word10, uint32_t word11)
{
	struct command command = {
		.opcode_and_id = opcode, .namespace = namespace, .first = address,
		.words = { word10, word11 },
	};

	submit(&admin, &command);
	run(&admin, 1);
}

/* Stops the controller, and starts it with an admin queue and one for I/O. */
static void start(void)
{
	uint64_t abilities = skiff_load64(&registers, CAP);
	uint32_t size_and_id = (ENTRIES - 1) << 16 | io.id;

	if (abilities == UINT64_MAX)
		errx(1, "the device is gone");
	stride = 4u << (abilities >> 32 & 0xf);
	if ((abilities & 0xffff) + 1 < ENTRIES)
		errx(1, "its queues are too short");
	enable(0);
	sure(skiff_device_bus_master(device, SKIFF_BUS_MASTER_ON), "bus master");
	skiff_store32(&registers, INTERRUPT_MASK, UINT32_MAX);
	skiff_store32(&registers, ADMIN_ENTRIES, (ENTRIES - 1) << 16 | (ENTRIES - 1));
	skiff_store64(&registers, ADMIN_SQ, admin.submissions->address + ADMIN_SUBMISSIONS);
	skiff_store64(&registers, ADMIN_CQ, admin.completions->address + ADMIN_COMPLETIONS);
	enable(CONFIG_START);
	do_admin(SET_FEATURES, 0, 0, NUMBER_OF_QUEUES, 0);
	do_admin(CREATE_CQ, 0, io.completions->address + COMPLETIONS, size_and_id, 1);
	do_admin(CREATE_SQ, 0, io.submissions->address + SUBMISSIONS, size_and_id, io.id << 16 | 1);
}

/* Prints what the controller is, and its first namespace. */
static uint64_t identify(void)
{
	unsigned char text[PAGE];
	uint64_t blocks;

	do_admin(IDENTIFY, 0, data->address + DATA, 1, 0);
	skiff_read(&data->map, DATA, text, PAGE);
	printf("serial %.20s\nmodel %.40s\nfirmware %.8s\n", text + 4, text + 24, text + 64);
	do_admin(IDENTIFY, 1, data->address + DATA, 0, 0);
	skiff_read(&data->map, DATA, text, PAGE);
	block = 1ull << text[128 + 4 * (text[26] & 0xf) + 2];
	memcpy(&blocks, text, sizeof(blocks));
	printf("namespace 1: %ju blocks of %ju bytes\n", (uintmax_t)blocks, (uintmax_t)block);
	return blocks * block;
}

/* Eight bytes of the pattern, by where they are on the disk. */
static uint64_t word(uint64_t seed, uint64_t at)
{
	uint64_t z = seed + at * 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* Writes a part of the disk, or reads and compares it; how many bytes were wrong. */
static uint64_t move(enum opcode opcode, uint64_t from, uint64_t bytes, uint64_t seed)
{
	static uint64_t right[CHUNK / 8], found[CHUNK / 8];
	uint64_t wrong = 0, next = from, end = from + bytes;

	while (next < end) {
		size_t lengths[DEPTH], count = 0;
		uint64_t starts[DEPTH];

		for (; count < DEPTH && next < end; count++) {
			size_t length = end - next < CHUNK ? end - next : CHUNK;
			uint64_t address = data->address + DATA + count * CHUNK;
			struct command command = {
				.opcode_and_id = opcode | count << 16, .namespace = 1, .first = address,
				.second = length > PAGE ? address + PAGE : 0,
				.words = { next / block, next / block >> 32, length / block - 1 },
			};

			for (size_t i = 0; i < length / 8; i++)
				right[i] = opcode == WRITE ? word(seed, next + 8 * i) : 0;
			skiff_write(&data->map, DATA + count * CHUNK, right, length);
			submit(&io, &command);
			starts[count] = next;
			lengths[count] = length;
			next += length;
		}
		run(&io, count);
		for (size_t i = 0; opcode == READ && i < count; i++) {
			skiff_read(&data->map, DATA + i * CHUNK, found, lengths[i]);
			for (size_t at = 0; at < lengths[i] / 8; at++)
				wrong += 8 * (found[at] != word(seed, starts[i] + 8 * at));
		}
	}
	return wrong;
}

static void work(uint64_t from, uint64_t bytes, uint64_t seed, int writes)
{
	struct command flush = { .opcode_and_id = FLUSH, .namespace = 1 };
	uint64_t wrong;

	if (writes) {
		move(WRITE, from, bytes, seed);
		submit(&io, &flush);
		run(&io, 1);
	}
	wrong = move(READ, from, bytes, seed);
	if (wrong)
		errx(1, "%ju of %ju bytes are wrong", (uintmax_t)wrong, (uintmax_t)bytes);
	printf("%ju bytes at %ju are right\n", (uintmax_t)bytes, (uintmax_t)from);
}

static void borrow(uint32_t fdid)
{
	struct skiff_device_borrow borrow = { .flags = SKIFF_BORROW_EXCLUSIVE, .fdid = fdid };
	struct skiff_device_segment bar = { .memory = SKIFF_DEVICE_BAR, .id = 0 };
	int segment;

	context = sure(skiff_open(), "skiff");
	device = sure(skiff_device_borrow(context, &borrow), "borrow");
	segment = sure(skiff_device_segment_connect(device, &bar), "registers");
	map_remote(segment, bar.bytes, &registers);
}

int main(int argc, char **argv)
{
	const char *places[] = { "local", "local", "local" };
	uint64_t from, bytes, end;
	int option, writes = 1;

	while ((option = getopt(argc, argv, "rs:c:d:")) != -1) {
		if (option == '?')
			return 2;
		if (option == 'r')
			writes = 0;
		else
			places[option == 's' ? 0 : option == 'c' ? 1 : 2] = optarg;
	}
	argc -= optind;
	argv += optind;
	if (argc != 1 && argc != 4)
		errx(2, "FDID [FROM BYTES SEED]");
	borrow(strtoul(argv[0], NULL, 0));
	data = take(places[2]);
	prepare_queue(&admin, 0, take(places[0]), take(places[1]));
	prepare_queue(&io, 1, take(places[0]), take(places[1]));
	start();
	end = identify();
	if (argc == 4) {
		from = strtoull(argv[1], NULL, 0);
		bytes = strtoull(argv[2], NULL, 0);
		if (from % block || bytes % block || from > end || bytes > end - from)
			errx(2, "that is not a part of the disk in whole blocks");
		work(from, bytes, strtoull(argv[3], NULL, 0), writes);
	}
	enable(0);
	/* The end of the program gives everything back; the device loses its memory first. */
	return 0;
}
