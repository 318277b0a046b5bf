// SPDX-License-Identifier: GPL-2.0
/*
 * Two nodes share a segment through libskiff.so. Needs /dev/skiff on both.
 *
 * pair owner NODE: makes the segment; node NODE uses it.
 * pair user NODE: uses that of node NODE.
 *
 * Each side says that its part is written by a word of its own, and takes its
 * events; at last the owner takes the connection away.
 */

/* clock_gettime, usleep */
#define _DEFAULT_SOURCE

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <skiff.h>

#include "../ktap.h"

#define ID 4243
#define BYTES (3 * 4096 + 5)
/* The words, and where each side's bytes begin. */
#define OWNER_DONE 0
#define USER_DONE 8
#define OWNER_PART 16
#define USER_PART 5003
#define PART 4001

#define LIMIT_MS 20000

static unsigned char owners[PART], users[PART], seen[PART];

static void fill_parts(void)
{
	for (size_t i = 0; i < PART; i++) {
		owners[i] = (unsigned char)(i * 7 + i / 256);
		users[i] = (unsigned char)(i * 13 + i / 256 + 1);
	}
}

/* Polls a word until it is not zero; whether that was in time. */
static int comes(const struct skiff_map *map, size_t offset)
{
	struct timespec now, begun;

	clock_gettime(CLOCK_MONOTONIC, &begun);
	while (!skiff_load64(map, offset)) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		if ((now.tv_sec - begun.tv_sec) * 1000 > LIMIT_MS)
			return 0;
	}
	return 1;
}

/* Writes a part, and then the word that says so. */
static void put(const struct skiff_map *map, size_t part, const unsigned char *bytes,
		size_t done)
{
	check(skiff_write(map, part, bytes, PART) == 0, "the own part is written");
	skiff_flush();
	skiff_store64(map, done, 1);
	skiff_flush();
}

/* Waits for the other side's word, and reads its part. */
static void take(const struct skiff_map *map, size_t part, const unsigned char *bytes,
		 size_t done)
{
	check(comes(map, done), "the other side says that its part is written");
	check(skiff_read(map, part, seen, PART) == 0, "it is read");
	check(!memcmp(seen, bytes, PART), "it is what the other side wrote");
}

static int event_is(int object, uint32_t type, uint32_t node)
{
	struct skiff_event event;

	if (skiff_next_event(object, LIMIT_MS, &event) != 1) {
		printf("# %s\n", skiff_error());
		return 0;
	}
	if (event.type != type || event.node != node)
		printf("# event %u of node %u\n", event.type, event.node);
	return event.type == type && event.node == node;
}

static void own(int context, uint32_t node)
{
	struct skiff_segment_create create = {
		.id = ID, .mode = 0666, .bytes = BYTES, .nodes = 1ULL << node,
	};
	struct skiff_segment_revoke revoke = { .node = node };
	struct skiff_map map;
	int segment = skiff_create(context, &create);

	check(segment >= 0, "a segment for the other node is made");
	check(skiff_map(segment, 0, BYTES, 0, &map) == 0, "it is mapped");
	check(skiff_prepare(segment, SKIFF_ADAPTER_ANY) == 0, "it is prepared");
	check(skiff_set_available(segment, SKIFF_ADAPTER_ANY) == 0, "it is available");
	check(event_is(segment, SKIFF_EVENT_CONNECTED, node), "the other node connects");
	put(&map, OWNER_PART, owners, OWNER_DONE);
	take(&map, USER_PART, users, USER_DONE);
	check(event_is(segment, SKIFF_EVENT_DISCONNECTED, node), "the other node disconnects");
	check(event_is(segment, SKIFF_EVENT_CONNECTED, node), "and connects once more");
	/* It says when it has mapped it. */
	skiff_store64(&map, USER_DONE, 0);
	check(comes(&map, USER_DONE), "and maps it");
	check(skiff_revoke(segment, &revoke) == 0 && revoke.revoked == 1 &&
	      revoke.unconfirmed == 0, "its connection is taken away");
	check(event_is(segment, SKIFF_EVENT_PEER_LOST, node), "that is an event");
	check(skiff_unmap(&map) == 0, "the segment is unmapped");
	check(skiff_remove(segment, 0) == 0, "and removed");
	close(segment);
}

/* Connects as soon as the segment is there. */
static int join(int context, struct skiff_segment_connect *connect)
{
	int segment = -1;

	for (int i = 0; i < LIMIT_MS / 100; i++) {
		segment = skiff_connect(context, connect);
		if (segment != -ENOENT)
			break;
		usleep(100000);
	}
	return segment;
}

static void use(int context, uint32_t node)
{
	struct skiff_segment_connect connect = {
		.node = node, .adapter = SKIFF_ADAPTER_ANY, .id = ID,
	};
	struct skiff_remote_info info;
	struct skiff_event event;
	struct skiff_map map;
	int segment = join(context, &connect);

	check(segment >= 0, "the other node's segment is connected to");
	check(connect.bytes == BYTES, "its length is told");
	check(skiff_map(segment, 0, BYTES, 0, &map) == 0, "it is mapped");
	take(&map, OWNER_PART, owners, OWNER_DONE);
	put(&map, USER_PART, users, USER_DONE);
	check(skiff_unmap(&map) == 0, "it is unmapped");
	check(skiff_disconnect(segment) == 0, "it is disconnected");
	close(segment);

	segment = skiff_connect(context, &connect);
	check(segment >= 0, "it is connected to once more");
	check(skiff_map(segment, 0, BYTES, SKIFF_MAP_ALL_ONES, &map) == 0, "it is mapped");
	check(skiff_next_event(segment, 0, &event) == 0, "nothing has happened yet");
	while (skiff_load64(&map, USER_DONE))
		;
	skiff_store64(&map, USER_DONE, 1);
	skiff_flush();
	check(event_is(segment, SKIFF_EVENT_LOST, node), "the owner takes the connection away");
	check(skiff_load64(&map, OWNER_PART) == UINT64_MAX, "the map is all ones");
	check(skiff_get_remote(segment, &info) == 0 && info.state == SKIFF_REMOTE_LOST,
	      "the connection is lost");
	check(skiff_next_event(segment, 0, &event) == -ECONNRESET, "there is nothing to wait for");
	check(skiff_unmap(&map) == 0, "it is unmapped");
	close(segment);
}

int main(int argc, char **argv)
{
	uint32_t node = argc == 3 ? (uint32_t)atoi(argv[2]) : 0;
	int context;

	begin();
	check(argc == 3, "the arguments are a role and a node");
	fill_parts();
	context = skiff_open();
	check(context >= 0, "the device is opened");
	if (argc != 3 || context < 0)
		return end();
	if (!strcmp(argv[1], "owner"))
		own(context, node);
	else
		use(context, node);
	close(context);
	return end();
}
