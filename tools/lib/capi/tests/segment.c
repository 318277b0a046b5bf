// SPDX-License-Identifier: GPL-2.0
/* A segment's life through libskiff on one node, which connects to itself. Needs /dev/skiff. */

#include <string.h>
#include <unistd.h>

#include <skiff.h>

#include "ktap.h"

#define BYTES 100001
#define ID 4242

static void states(int context)
{
	struct skiff_info info = { 0 };
	struct skiff_node_info node;
	struct skiff_adapter_info adapter;

	check(skiff_get_info(context, &info) == 0, "this node tells its state");
	check(info.abi_version == SKIFF_ABI_VERSION, "the ABI is that of the header");
	check(info.generation != 0, "it has a generation");
	check(skiff_get_node(context, SKIFF_NODE_LOCAL, &node) == 0 && node.node == info.node,
	      "it is a node too");
	check(skiff_get_adapter(context, 0, &adapter) == 0 && adapter.slots > 0,
	      "adapter 0 has slots");
	check(skiff_get_adapter(context, 9, &adapter) == -ENODEV, "there is no adapter 9");
}

static int make(int context)
{
	struct skiff_segment_create create;
	int segment;

	memset(&create, 0, sizeof(create));
	create.id = ID;
	create.mode = 0600;
	create.bytes = BYTES;
	segment = skiff_create(context, &create);
	check(segment >= 0, "a segment is made");
	check(skiff_create(context, &create) == -EADDRINUSE, "its id is taken");
	check(strstr(skiff_error(), "make segment 4242") != NULL, "the error names it");
	check(*skiff_mend() != 0, "and what helps");
	check(skiff_prepare(segment, SKIFF_ADAPTER_ANY) == 0, "it is prepared");
	check(skiff_prepare(segment, SKIFF_ADAPTER_ANY) == -EBUSY, "once");
	check(skiff_set_available(segment, SKIFF_ADAPTER_ANY) == 0, "it is available");
	return segment;
}

static int join(int context)
{
	struct skiff_segment_connect connect;
	int remote;

	memset(&connect, 0, sizeof(connect));
	connect.node = SKIFF_NODE_LOCAL;
	connect.adapter = SKIFF_ADAPTER_ANY;
	connect.id = ID;
	remote = skiff_connect(context, &connect);
	check(remote >= 0, "it is connected to");
	check(connect.bytes == BYTES, "its length is told");
	connect.id = ID + 1;
	check(skiff_connect(context, &connect) == -ENOENT, "another one is not there");
	return remote;
}

static void share(int segment, int remote)
{
	static unsigned char from[BYTES], to[BYTES];
	struct skiff_map near, far, none;

	check(skiff_map(segment, 0, BYTES, 0, &near) == 0, "the segment is mapped");
	check(skiff_map(remote, 5, BYTES - 5, SKIFF_MAP_ALL_ONES, &far) == 0,
	      "so is the connection, at any byte");
	check(skiff_map(remote, 5, BYTES + 4096, 0, &none) == -EINVAL,
	      "not further than its last page");
	for (size_t i = 0; i < BYTES; i++)
		from[i] = (unsigned char)(i * 31 + i / 256);
	check(skiff_write(&near, 0, from, BYTES) == 0, "it is written");
	check(skiff_read(&far, 0, to, BYTES - 5) == 0, "it is read");
	check(!memcmp(to, from + 5, BYTES - 5), "both see the same bytes");
	skiff_store64(&far, 3, 0x0102030405060708);
	skiff_flush();
	check(skiff_load64(&near, 8) == 0x0102030405060708, "a word crosses");
	check(skiff_disconnect(remote) == -EBUSY, "while it is mapped it stays connected");
	check(skiff_unmap(&far) == 0 && skiff_unmap(&near) == 0, "both are unmapped");
}

static void part(int segment, int remote)
{
	struct skiff_segment_info info;
	struct skiff_event event;

	check(skiff_get_segment(segment, &info) == 0 && info.connections == 1,
	      "it has one connection");
	check(skiff_next_event(segment, 1000, &event) == 1 &&
	      event.type == SKIFF_EVENT_CONNECTED, "its owner was told");
	check(skiff_remove(segment, 0) == -EBUSY, "while it is connected it stays");
	check(skiff_disconnect(remote) == 0, "it is disconnected");
	check(skiff_next_event(segment, 1000, &event) == 1 &&
	      event.type == SKIFF_EVENT_DISCONNECTED, "its owner was told that too");
	check(skiff_next_event(segment, 0, &event) == 0, "and nothing else");
	check(skiff_remove(segment, 0) == 0, "it is removed");
	check(skiff_get_segment(segment, &info) == -ECONNRESET, "and is good for nothing more");
}

int main(void)
{
	int context, segment, remote;

	begin();
	context = skiff_open();
	check(context >= 0, "the device is opened");
	if (context < 0) {
		printf("# %s\n", skiff_error());
		return end();
	}
	states(context);
	segment = make(context);
	remote = join(context);
	share(segment, remote);
	part(segment, remote);
	close(remote);
	close(segment);
	close(context);
	return end();
}
