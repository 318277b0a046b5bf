/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What skiff.ko offers to other kernel modules: peers and lent devices as
 * auxiliary devices, messages between modules, segments, and borrowed devices.
 */
#ifndef _LINUX_SKIFF_H
#define _LINUX_SKIFF_H

#include <linux/types.h>
#include <uapi/linux/skiff.h>

/**
 * DOC: Rules for all functions
 *
 * Unless its description says otherwise a function is for process context and
 * may sleep. Functions that make an object give an ERR_PTR() when they fail,
 * others 0 or a negative errno. The meaning of an errno is that of
 * uapi/linux/skiff.h. A kernel client counts as root of its node.
 *
 * A function that asks a peer has a limit, @timeout_ms, 1 to 60000
 * milliseconds; 0: 5000. EINVAL for others.
 *
 * A handle is valid until the function that ends its object is called; that
 * must be called once, with no other call for the object under way, and never
 * fails. Tables of callbacks must live as long as the object that was made with
 * them.
 *
 * Callbacks come in process context on threads of skiff.ko, one at a time for
 * an object. They may come before the function that makes the object has
 * returned. They must not wait for a peer, nor end any object. The function
 * that ends an object waits until its callbacks have returned; there are none
 * afterwards.
 *
 * A module that uses a symbol of skiff.ko keeps it loaded.
 *
 * DOC: Presence
 *
 * Peers and devices that can be borrowed are devices of the auxiliary bus,
 * children of the faux device "skiff", that come and go by themselves. They
 * have no functions; all that is to be known of one is its id. As they come
 * and go, drivers are probed and removed on one thread of skiff.ko, so that a
 * driver whose probe() or remove() waits for a peer delays the next news of
 * others, but nothing else. What is gone may have come back before a driver
 * hears of it: it hears then of both. When the link to another node goes,
 * whoever has borrowed a device of it is told SKIFF_EVENT_ENDED before the
 * device's driver is removed.
 */

/** SKIFF_PEER_NAME: auxiliary device of a node that answers, this one not included. Its id is the node's number. */
#define SKIFF_PEER_NAME		"skiff.peer"
/**
 * SKIFF_DEVICE_NAME: auxiliary device of a device that can be borrowed: one that this node lends, available or
 * borrowed, or that another node offers so. Its id is the device's fdid.
 */
#define SKIFF_DEVICE_NAME	"skiff.device"

/**
 * skiff_node() - Number of this node.
 *
 * Return: The number, or -ENODEV as long as no adapter was found.
 */
int skiff_node(void);

/**
 * skiff_find_device() - Find a device, as SKIFF_IOC_DEVICE_QUERY does.
 * @query: what to look for, and where the device found goes; @query->size is
 *	not looked at
 *
 * Asks no peer.
 *
 * Return: 0, -EINVAL, -ENXIO for a node that cannot be, -ENOENT.
 */
int skiff_find_device(struct skiff_device_query *query);

/**
 * DOC: Messages
 *
 * A channel carries short messages between the modules of all nodes that have
 * opened the same number. Messages of one sender come in order. They get lost
 * when the receiver has not opened the channel (the sender is told), when the
 * link goes down, and when the receiver does not keep up: what was received and
 * not yet handed to @message is bounded, 256 messages for each channel and
 * node, and dropped beyond. So a protocol needs answers and a limit for them.
 * A peer can send anything: check it.
 */

/** SKIFF_MESSAGE_MAX: bytes of the longest message. */
#define SKIFF_MESSAGE_MAX	192

struct skiff_channel;

/**
 * struct skiff_channel_ops - who receives the messages of a channel
 * @message: @node, which may be this one, has sent @length bytes
 * @refused: a message of this node has come to @node, and nobody has the channel
 *	open there; optional
 */
struct skiff_channel_ops {
	void (*message)(void *data, unsigned int node, const void *bytes, size_t length);
	void (*refused)(void *data, unsigned int node);
};

/**
 * skiff_channel_open() - Open a channel.
 * @number: its number, the same on all nodes; by convention four letters
 * @ops: who receives
 * @data: for @ops
 *
 * Return: The channel, or ERR_PTR() of -EBUSY (the number is taken), -ENOMEM.
 */
struct skiff_channel *skiff_channel_open(u32 number, const struct skiff_channel_ops *ops, void *data);

/**
 * skiff_channel_send() - Send a message.
 * @channel: the channel
 * @node: the receiver, which may be this node
 * @bytes: what to send
 * @length: its length, up to SKIFF_MESSAGE_MAX; may be 0
 *
 * Does not wait for the peer. May be called from callbacks.
 *
 * Return: 0; -EMSGSIZE; -EBUSY (the queue to the node is full, or, for this
 * node, the channel's: try again later); -ENXIO (there is no such node);
 * -EHOSTDOWN, -ENOLINK (it is not up); -ENOMEM.
 */
int skiff_channel_send(struct skiff_channel *channel, unsigned int node, const void *bytes, size_t length);

/**
 * skiff_channel_close() - Close a channel.
 * @channel: the channel
 */
void skiff_channel_close(struct skiff_channel *channel);

/**
 * DOC: Segments
 *
 * The segments are those of /dev/skiff: programs can connect to a segment of a
 * kernel client, and the other way round, as far as mode and list of nodes
 * allow.
 */

struct skiff_local;
struct skiff_remote;
struct skiff_map;

/**
 * struct skiff_segment_spec - a segment to be made
 * @bytes: its length, at least 1
 * @nodes: bit n: node n may connect; 0: all may. The own node always may
 * @id: its id, unique on this node
 * @mode: who may connect, as for files: 0 to 0777; the owner is root. Root of
 *	another node is one of the others, unless trust_root says otherwise
 * @flags: must be 0
 */
struct skiff_segment_spec {
	u64 bytes;
	u64 nodes;
	u32 id;
	u32 mode;
	u32 flags;
};

/**
 * struct skiff_segment_ops - who is told what happens to a segment
 * @event: enum skiff_event_type, and the node that it is about. Events that are
 *	not taken in time are dropped, the oldest first: SKIFF_EVENT_OVERFLOW,
 *	of no node (SKIFF_NODE_LOCAL), comes instead
 */
struct skiff_segment_ops {
	void (*event)(void *data, u32 type, unsigned int node);
};

/**
 * skiff_segment_create() - Make a segment of kernel memory.
 * @spec: what it is like
 * @ops: who is told of events; may be NULL
 * @data: for @ops
 *
 * Nobody can connect before skiff_segment_offer().
 *
 * Return: The segment, or ERR_PTR() of -EADDRINUSE, -EDQUOT, -EINVAL, -ENOMEM,
 * -ENOSPC.
 */
struct skiff_local *skiff_segment_create(const struct skiff_segment_spec *spec, const struct skiff_segment_ops *ops,
					 void *data);

/**
 * skiff_segment_address() - Memory of a segment.
 * @local: the segment
 *
 * The memory is zero at first, all of it is mapped at one place until the
 * segment is removed, and who is connected may write it at any time: read
 * everything once, with READ_ONCE() or a copy, and check the copy. Any context.
 *
 * Return: Where it starts.
 */
void *skiff_segment_address(struct skiff_local *local);

/**
 * skiff_segment_offer() - Let peers connect to a segment from now on.
 * @local: the segment
 *
 * By the adapters that are there now; call it again when there are others.
 *
 * Return: 0; -ENODEV (there is no adapter); -EBUSY (it is offered by all that are there);
 * -ENOMEM, -ENOSPC.
 */
int skiff_segment_offer(struct skiff_local *local);

/**
 * skiff_segment_withdraw() - Take that back: nobody new can connect.
 * @local: the segment
 *
 * Return: 0, or -EBUSY (it is not offered).
 */
int skiff_segment_withdraw(struct skiff_local *local);

/**
 * skiff_segment_remove() - Remove a segment.
 * @local: the segment
 *
 * Takes the connections away, for whose confirmation it waits up to 5 seconds;
 * memory that a peer might still write is quarantined, not reused.
 */
void skiff_segment_remove(struct skiff_local *local);

/**
 * skiff_segment_connect() - Connect to a segment.
 * @node: its owner, this node included
 * @id: its id
 * @ops: who is told of events; may be NULL
 * @data: for @ops
 * @timeout_ms: limit of the wait for the peer
 *
 * Return: The connection, or ERR_PTR() of an errno of SKIFF_IOC_SEGMENT_CONNECT.
 */
struct skiff_remote *skiff_segment_connect(unsigned int node, u32 id, const struct skiff_segment_ops *ops, void *data,
					   u32 timeout_ms);

/**
 * skiff_remote_bytes() - Length of the segment.
 * @remote: the connection
 *
 * Return: Its length in bytes.
 */
u64 skiff_remote_bytes(const struct skiff_remote *remote);

/**
 * enum skiff_map_mode - how to reach memory of a peer
 * @SKIFF_MAP_WC: write-combining; memory of this node is ordinary memory all the same
 * @SKIFF_MAP_UC: uncached; not for memory of this node
 */
enum skiff_map_mode {
	SKIFF_MAP_WC = 0,
	SKIFF_MAP_UC = 1,
};

/**
 * skiff_remote_map() - Map a part of a segment.
 * @remote: the connection
 * @offset: where it starts, a multiple of the page size
 * @bytes: its length, not 0; whole pages are mapped
 * @mode: how to reach it
 *
 * Return: The map, or ERR_PTR() of -EINVAL, -ENOLINK, -ECONNRESET, -ENODEV,
 * -ENOMEM, -ENOSPC (no slot is free), -ENXIO (it does not lie in one piece
 * behind one slot: map less).
 */
struct skiff_map *skiff_remote_map(struct skiff_remote *remote, u64 offset, u64 bytes, enum skiff_map_mode mode);

/**
 * skiff_disconnect() - Give a connection up.
 * @remote: the connection, of which all maps are unmapped
 */
void skiff_disconnect(struct skiff_remote *remote);

/**
 * skiff_map_address() - Where a map is.
 * @map: the map, of a remote segment or a device
 *
 * The address stays the same as long as the map. Once the peer is lost loads
 * give all ones and stores vanish. When the link comes back with the same
 * generation, so does the memory. When the adapter is gone what is there may be
 * anything: unmap soon after SKIFF_EVENT_LOST or SKIFF_EVENT_ENDED. Any context.
 *
 * Return: Its first byte.
 */
void __iomem *skiff_map_address(const struct skiff_map *map);

/**
 * skiff_unmap() - Unmap a map.
 * @map: the map, that nobody uses any more
 */
void skiff_unmap(struct skiff_map *map);

/**
 * DOC: Borrowed devices
 *
 * A device that is borrowed shared has one bus mastering and one set of vectors
 * for all who have it. When the borrow ends, for whatever reason, all functions
 * but those that free something give -ECONNRESET; what was allocated must be
 * freed all the same, and the device returned last.
 */

struct skiff_borrowed;

/**
 * struct skiff_borrow_ops - who is told of a borrowed device; either is optional
 * @interrupt: vectors that were signalled, bit n: vector n. Comes on a thread
 *	that serves all peers, or on that of an interrupt of this node which the
 *	device raises itself: be short. One call at a time, whichever it is
 * @event: enum skiff_event_type: SKIFF_EVENT_ENDED or SKIFF_EVENT_SHARER_GONE
 */
struct skiff_borrow_ops {
	void (*interrupt)(void *data, u64 vectors);
	void (*event)(void *data, u32 type);
};

/**
 * skiff_borrow() - Borrow a device.
 * @fdid: the device
 * @flags: enum skiff_borrow_flags
 * @ops: who is told; may be NULL
 * @data: for @ops
 * @timeout_ms: limit of the wait for the lender
 *
 * Return: The device, or ERR_PTR() of an errno of SKIFF_IOC_DEVICE_BORROW.
 */
struct skiff_borrowed *skiff_borrow(u32 fdid, u32 flags, const struct skiff_borrow_ops *ops, void *data, u32 timeout_ms);

/**
 * skiff_return() - Give a device back.
 * @borrowed: the device; its maps, memory and windows were freed before
 */
void skiff_return(struct skiff_borrowed *borrowed);

/**
 * skiff_release_exclusive() - Let others borrow a device as well.
 * @borrowed: the device
 * @timeout_ms: limit of the wait for the lender
 *
 * Return: 0, -EBUSY (it is not borrowed exclusively), -ECONNRESET, -ENOLINK,
 * -ETIMEDOUT.
 */
int skiff_release_exclusive(struct skiff_borrowed *borrowed, u32 timeout_ms);

/**
 * skiff_device_reset() - Reset a device that is borrowed exclusively.
 * @borrowed: the device
 * @timeout_ms: limit of the wait for the lender
 *
 * What is mapped for it, and its vectors, stay; bus mastering is off.
 *
 * Return: 0, -EBUSY (it is not borrowed exclusively), -EIO (it has failed),
 * -ECONNRESET, -ENOLINK, -ETIMEDOUT.
 */
int skiff_device_reset(struct skiff_borrowed *borrowed, u32 timeout_ms);

/**
 * skiff_device_master() - Turn bus mastering on or off.
 * @borrowed: the device
 * @on: whether it may read and write memory
 *
 * Return: 0, -ECONNRESET, -ENOLINK, -ETIMEDOUT.
 */
int skiff_device_master(struct skiff_borrowed *borrowed, bool on);

/**
 * skiff_device_config_read() - Read configuration space.
 * @borrowed: the device
 * @offset: a multiple of @width below 4096
 * @width: bytes: 1, 2 or 4
 * @value: what is there
 *
 * Return: 0, -EINVAL, -ECONNRESET, -ENOLINK, -ETIMEDOUT.
 */
int skiff_device_config_read(struct skiff_borrowed *borrowed, u32 offset, u32 width, u32 *value);

/**
 * skiff_device_config_write() - Write configuration space, as SKIFF_IOC_DEVICE_CONFIG_WRITE does.
 * @borrowed: the device
 * @offset: a multiple of @width below 4096
 * @width: bytes: 1, 2 or 4
 * @value: what to write
 *
 * Return: 0, -EINVAL, -EPERM (it must not be written), -ECONNRESET, -ENOLINK,
 * -ETIMEDOUT.
 */
int skiff_device_config_write(struct skiff_borrowed *borrowed, u32 offset, u32 width, u32 value);

/**
 * skiff_device_vectors() - Turn interrupt vectors on.
 * @borrowed: the device
 * @count: how many are wanted, 1 to SKIFF_DEVICE_VECTORS_MAX
 *
 * Return: How many there are, maybe fewer, or more when another sharer has
 * turned them on before; -EINVAL, -EOPNOTSUPP (it has none), -ENOSPC,
 * -ECONNRESET, -ENOLINK, -ETIMEDOUT.
 */
int skiff_device_vectors(struct skiff_borrowed *borrowed, unsigned int count);

/**
 * skiff_device_listen() - Choose the vectors that @interrupt is called for.
 * @borrowed: the device
 * @vectors: bit n: vector n; instead of those of the last call
 *
 * Return: 0, -ENOENT (it has no such vector), -ECONNRESET, -ENOLINK, -ETIMEDOUT.
 */
int skiff_device_listen(struct skiff_borrowed *borrowed, u64 vectors);

/**
 * skiff_device_bar() - Map registers of a device, uncached.
 * @borrowed: the device
 * @bar: number of the BAR
 * @offset: where to start in it, a multiple of the page size
 * @bytes: how much, not 0; whole pages are mapped
 *
 * Return: The map, or ERR_PTR() of -ENOENT (no such BAR), -EINVAL,
 * -ECONNRESET, -ENOLINK, -ETIMEDOUT, -ENOMEM, -ENOSPC, -ENXIO (as for
 * skiff_remote_map()).
 */
struct skiff_map *skiff_device_bar(struct skiff_borrowed *borrowed, unsigned int bar, u64 offset, u64 bytes);

/**
 * enum skiff_place - where memory for a device is
 * @SKIFF_PLACE_CPU: memory of this node: for what the CPU reads
 * @SKIFF_PLACE_DEVICE: memory of the lender, mapped write-combining: for what
 *	the device reads and the CPU only writes
 */
enum skiff_place {
	SKIFF_PLACE_CPU = 0,
	SKIFF_PLACE_DEVICE = 1,
};

/**
 * struct skiff_dma - memory that a device reaches
 * @memory: SKIFF_PLACE_CPU: where it is
 * @io: SKIFF_PLACE_DEVICE: where it is; wmb() before the doorbell that tells of it
 * @address: what the device uses
 * @bytes: its length, whole pages
 * @place: where it is
 */
struct skiff_dma {
	union {
		void *memory;
		void __iomem *io;
	};
	u64 address;
	u64 bytes;
	enum skiff_place place;
};

/**
 * skiff_dma_alloc() - Allocate memory that a device reaches.
 * @borrowed: the device
 * @bytes: how much, not 0; whole pages are allocated
 * @place: where
 * @timeout_ms: limit of the wait for the lender
 *
 * It is zero.
 *
 * Return: The memory, or ERR_PTR() of -EINVAL, -ENOMEM, -ENOSPC, -EDQUOT,
 * -ENXIO (as for skiff_remote_map()), -ECONNRESET, -ENOLINK, -ETIMEDOUT.
 */
struct skiff_dma *skiff_dma_alloc(struct skiff_borrowed *borrowed, u64 bytes, enum skiff_place place, u32 timeout_ms);

/**
 * skiff_dma_free() - Free memory that a device reaches.
 * @dma: the memory, which the device does not use any more
 */
void skiff_dma_free(struct skiff_dma *dma);

/**
 * DOC: Windows
 *
 * A window is one range of device addresses for the data of many requests:
 * nothing is said to the lender, and no slot is programmed, per request. It
 * consists of chunks, of which a request uses one. Behind a paging IOMMU of
 * this node pages are linked into a chunk and unlinked again. Without one the
 * chunks are memory, into and out of which the caller copies:
 * skiff_window_memory() is not NULL then, and linking gives -EOPNOTSUPP.
 *
 * A direct window is all memory of this node, where no IOMMU of this node is
 * in the way: it has no chunks, nothing is linked or copied, and
 * skiff_window_page() says what the device uses for a page.
 */

struct skiff_window;

/**
 * skiff_window_create() - Make a window.
 * @borrowed: the device
 * @chunks: how many chunks
 * @chunk_bytes: length of a chunk, a multiple of the page size
 * @timeout_ms: limit of the wait for the lender
 *
 * Return: The window, or ERR_PTR() of -EINVAL, -ENOMEM, -ENOSPC, -EDQUOT,
 * -ECONNRESET, -ENOLINK, -ETIMEDOUT.
 */
struct skiff_window *skiff_window_create(struct skiff_borrowed *borrowed, u32 chunks, u32 chunk_bytes, u32 timeout_ms);

/**
 * skiff_window_direct() - Make a window of all memory of this node.
 * @borrowed: the device
 * @timeout_ms: limit of each wait for the lender
 *
 * The device reaches all memory from here on, until the window is shut or
 * freed, or the borrow ends: Documentation/security.rst. It takes a slot of the
 * lender's bridge for each slot's length of memory; a quarter of all slots is
 * left for others.
 *
 * Return: The window, or ERR_PTR() of -EOPNOTSUPP (bus addresses are not
 * physical ones, or the device is this node's own), -ENOSPC (too few slots),
 * -EINVAL, -ENOMEM, -ECONNRESET, -ENOLINK, -ETIMEDOUT.
 */
struct skiff_window *skiff_window_direct(struct skiff_borrowed *borrowed, u32 timeout_ms);

/**
 * skiff_window_address() - What the device uses for chunk 0; others follow it. Any context.
 * @window: the window
 *
 * Return: The address.
 */
u64 skiff_window_address(const struct skiff_window *window);

/**
 * skiff_window_memory() - What the CPU uses for chunk 0; others follow it. Any context.
 * @window: the window
 *
 * Return: The address; NULL when the device reaches the pages themselves.
 */
void *skiff_window_memory(const struct skiff_window *window);

/**
 * skiff_window_link() - Link pages into a chunk. Any context but NMIs, does not sleep.
 * @window: the window
 * @chunk: number of the chunk
 * @page: page of the chunk where they go
 * @start: where they are in physical memory, page-aligned
 * @pages: how many
 *
 * From page 0 on, without holes; nobody else links into the chunk.
 *
 * Return: 0, -EINVAL, -EOPNOTSUPP, -ENOMEM.
 */
int skiff_window_link(struct skiff_window *window, u32 chunk, u32 page, phys_addr_t start, u32 pages);

/**
 * skiff_window_commit() - Let the device reach what was linked. Any context but NMIs, does not sleep.
 * @window: the window
 * @chunk: number of the chunk
 * @pages: how many pages were linked since page 0
 *
 * Return: 0, or an errno; unlink then.
 */
int skiff_window_commit(struct skiff_window *window, u32 chunk, u32 pages);

/**
 * skiff_window_unlink() - Unlink what was linked. Any context but NMIs, does not sleep.
 * @window: the window
 * @chunk: number of the chunk
 * @pages: how many pages were linked since page 0
 *
 * Nobody reaches the pages when it returns.
 */
void skiff_window_unlink(struct skiff_window *window, u32 chunk, u32 pages);

/**
 * skiff_window_page() - What the device uses for a page, in a direct window. Any context, does not sleep.
 * @window: the window
 * @start: the page's physical address
 * @address: the result
 *
 * The device can use the address until the window is shut, whatever the page
 * holds: nothing is to be undone when the request is over.
 *
 * Return: 0, -EINVAL, -EOPNOTSUPP (not a direct window), -ENXIO (memory that
 * was not there when the window was made).
 */
int skiff_window_page(const struct skiff_window *window, phys_addr_t start, u64 *address);

/**
 * skiff_window_shut() - Take all memory from the device again.
 * @window: a direct window, which is only to be freed afterwards
 * @timeout_ms: limit of the wait for the lender
 *
 * For requests that the device may still be at: when the borrow has ended, or
 * the device does not obey. Their pages are not to be given back before this
 * has returned 0. As long as the lender's end of it is not known it does not:
 * call it again, it may come true without a notice.
 *
 * Return: 0, -EAGAIN, -EINVAL, -EOPNOTSUPP (not a direct window).
 */
int skiff_window_shut(struct skiff_window *window, u32 timeout_ms);

/**
 * skiff_window_free() - Free a window.
 * @window: the window, in which nothing is linked and no request is under way
 */
void skiff_window_free(struct skiff_window *window);

#endif /* _LINUX_SKIFF_H */
