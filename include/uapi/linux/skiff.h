/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The ABI of /dev/skiff: memory that nodes joined by PCI Express
 * Non-Transparent Bridges share with each other.
 */
#ifndef _UAPI_LINUX_SKIFF_H
#define _UAPI_LINUX_SKIFF_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * DOC: Objects
 *
 * An open file of /dev/skiff is a context. What it creates are objects, and
 * each object is a file descriptor of its own: a local segment (memory of this
 * node that others may connect to) or a remote segment (a connection to a
 * segment of some node, the own one included), or a borrowed device (a PCI
 * function that some node lends). mmap(2) maps a segment, poll(2)
 * waits for its events, read(2) fetches them as &struct skiff_event, close(2)
 * gives it up without a condition. Objects can be passed to other processes
 * and outlive the context that made them. New descriptors are close-on-exec.
 *
 * DOC: Format of the commands
 *
 * Each argument starts with @size, the number of bytes that the caller knows
 * of. A larger structure than the kernel's is taken if what the kernel does
 * not know is zero (else E2BIG); a shorter one is extended with zeros, but not
 * below the first version's size (EINVAL). Results are written back up to
 * @size. Unknown flags and non-zero reserved fields are EINVAL. A command that
 * fails leaves nothing changed and, but for EINTR, may be repeated.
 *
 * DOC: Errors
 *
 * The meaning of an errno is the same in all commands:
 *
 * - E2BIG: the structure is longer than the kernel's and its tail is not zero
 * - EACCES: the segment's owner, mode or list of nodes does not allow it
 * - EADDRINUSE: the segment id is taken on this node
 * - EAGAIN: O_NONBLOCK is set and there is no event
 * - EBADF: a descriptor is not of the kind that is wanted
 * - EBUSY: the object is connected or mapped, or in the wrong state for that
 * - ECONNRESET: the connection was revoked, or its peer booted anew; the borrow
 *   has ended
 * - EDQUOT: the user's share of exported memory is used up
 * - EFAULT: a pointer does not lead to memory of the caller
 * - EHOSTDOWN: the peer's link is up but nobody answered the hello
 * - EINTR: a signal came while waiting
 * - EIO: a device, or the node that lends it, does not do what it should
 * - EINVAL: size, flag, reserved field, alignment or range is not allowed
 * - EMFILE: the process has as many descriptors as RLIMIT_NOFILE allows
 * - ENFILE: the system has as many open files as it allows
 * - ENODEV: there is no such adapter, or it was removed; a context cannot be mapped
 * - ENOENT: there is no such segment that is available
 * - ENOLINK: the link to the peer is down, or went down while waiting
 * - ENOMEM: no memory, or RLIMIT_MEMLOCK does not allow it
 * - ENOSPC: no slot of the window, or no bus window, is free for it
 * - ENOTTY: the command is not one of this kind of object
 * - ENXIO: there is no such node
 * - EOPNOTSUPP: the adapter's hardware cannot do it
 * - EOVERFLOW: a sum of the caller's numbers does not fit
 * - EPERM: a capability is missing, or the map is to be executable
 * - EPROTO: the peer's answer was nonsense
 * - ETIMEDOUT: the peer, or a device, did not answer within the time allowed
 */

#define SKIFF_ABI_VERSION	1
#define SKIFF_IOC_TYPE		0xB7

/** SKIFF_NODE_LOCAL: instead of a node number: this node. */
#define SKIFF_NODE_LOCAL	0xffffffffU
/** SKIFF_ADAPTER_ANY: instead of an adapter: the first one that reaches the node. */
#define SKIFF_ADAPTER_ANY	0xffffffffU
/** SKIFF_NODES_MAX: node numbers are below this. */
#define SKIFF_NODES_MAX		64
/** SKIFF_ADAPTERS_MAX: adapters of a node. */
#define SKIFF_ADAPTERS_MAX	4

enum {
	SKIFF_CMD_INFO = 0x00,
	SKIFF_CMD_ADAPTER_INFO = 0x01,
	SKIFF_CMD_NODE_INFO = 0x02,
	SKIFF_CMD_SEGMENT_CREATE = 0x10,
	SKIFF_CMD_SEGMENT_CONNECT = 0x11,
	SKIFF_CMD_SEGMENT_QUERY = 0x12,
	SKIFF_CMD_SEGMENT_PREPARE = 0x20,
	SKIFF_CMD_SEGMENT_SET_AVAILABLE = 0x21,
	SKIFF_CMD_SEGMENT_SET_UNAVAILABLE = 0x22,
	SKIFF_CMD_SEGMENT_REMOVE = 0x23,
	SKIFF_CMD_SEGMENT_REVOKE = 0x24,
	SKIFF_CMD_SEGMENT_INFO = 0x25,
	SKIFF_CMD_REMOTE_DISCONNECT = 0x30,
	SKIFF_CMD_REMOTE_INFO = 0x31,
	SKIFF_CMD_LEND_ADD = 0x40,
	SKIFF_CMD_LEND_REMOVE = 0x41,
	SKIFF_CMD_LEND_AVAILABLE = 0x42,
	SKIFF_CMD_LEND_UNAVAILABLE = 0x43,
	SKIFF_CMD_LEND_CONNECT = 0x44,
	SKIFF_CMD_LEND_DISCONNECT = 0x45,
	SKIFF_CMD_DEVICE_QUERY = 0x48,
	SKIFF_CMD_DEVICE_BORROW = 0x49,
	SKIFF_CMD_DEVICE_INFO = 0x50,
	SKIFF_CMD_DEVICE_RETURN = 0x51,
	SKIFF_CMD_DEVICE_RELEASE_EXCLUSIVE = 0x52,
	SKIFF_CMD_DEVICE_SEGMENT_CREATE = 0x53,
	SKIFF_CMD_DEVICE_SEGMENT_CONNECT = 0x54,
	SKIFF_CMD_DEVICE_MAP = 0x55,
	SKIFF_CMD_DEVICE_UNMAP = 0x56,
	SKIFF_CMD_DEVICE_CONFIG_READ = 0x57,
	SKIFF_CMD_DEVICE_CONFIG_WRITE = 0x58,
	SKIFF_CMD_DEVICE_BUS_MASTER = 0x59,
	SKIFF_CMD_DEVICE_VECTORS = 0x5a,
	SKIFF_CMD_DEVICE_VECTOR = 0x5b,
	SKIFF_CMD_DEVICE_RESET = 0x5c,
};

/**
 * enum skiff_info_flags - what holds for the whole node
 * @SKIFF_INFO_CONTAINED: peers can reach nothing but what is exported: a paging
 *	IOMMU domain, interrupt remapping and protected switch registers are in
 *	force on all adapters.
 */
enum skiff_info_flags {
	SKIFF_INFO_CONTAINED = 1 << 0,
};

/**
 * struct skiff_info - ioctl(SKIFF_IOC_INFO), on a context
 * @size: sizeof(struct skiff_info)
 * @flags: out: enum skiff_info_flags
 * @abi_version: out: SKIFF_ABI_VERSION
 * @node: out: number of this node
 * @adapters: out: bit n: adapter n is there
 * @__reserved: must be 0
 * @nodes: out: bit n: node n is known and up; the own one included
 * @generation: out: this node's generation, never 0
 */
struct skiff_info {
	__u32 size;
	__u32 flags;
	__u32 abi_version;
	__u32 node;
	__u32 adapters;
	__u32 __reserved;
	__aligned_u64 nodes;
	__aligned_u64 generation;
};
#define SKIFF_IOC_INFO _IO(SKIFF_IOC_TYPE, SKIFF_CMD_INFO)

/**
 * enum skiff_adapter_flags - properties of an adapter
 * @SKIFF_ADAPTER_IOMMU: a paging IOMMU domain holds the bridge function
 * @SKIFF_ADAPTER_COMPANION: the memory window is in a companion function
 */
enum skiff_adapter_flags {
	SKIFF_ADAPTER_IOMMU = 1 << 0,
	SKIFF_ADAPTER_COMPANION = 1 << 1,
};

/**
 * struct skiff_adapter_info - ioctl(SKIFF_IOC_ADAPTER_INFO), on a context
 * @size: sizeof(struct skiff_adapter_info)
 * @adapter: in: adapter, 0 to SKIFF_ADAPTERS_MAX - 1
 * @flags: out: enum skiff_adapter_flags
 * @port: out: port of the switch
 * @slots: out: translation entries of the memory window
 * @slots_pinned: out: how many of them live maps and rings use
 * @slot_bytes: out: what one slot reaches
 * @window_bytes: out: exported memory that the bus windows have room for
 * @exported_bytes: out: memory that peers may reach at the moment
 * @quarantined_bytes: out: memory that is held back because a peer might still write it
 * @ports_up: out: bit n: a node answers behind port n
 *
 * Errors: ENODEV.
 */
struct skiff_adapter_info {
	__u32 size;
	__u32 adapter;
	__u32 flags;
	__u32 port;
	__u32 slots;
	__u32 slots_pinned;
	__aligned_u64 slot_bytes;
	__aligned_u64 window_bytes;
	__aligned_u64 exported_bytes;
	__aligned_u64 quarantined_bytes;
	__aligned_u64 ports_up;
};
#define SKIFF_IOC_ADAPTER_INFO _IO(SKIFF_IOC_TYPE, SKIFF_CMD_ADAPTER_INFO)

/**
 * enum skiff_node_state - what is known of a node
 * @SKIFF_NODE_DOWN: it was up once, and no link leads to it now
 * @SKIFF_NODE_GREETING: a link is up, hellos are under way
 * @SKIFF_NODE_UP: it can be connected to
 */
enum skiff_node_state {
	SKIFF_NODE_DOWN = 0,
	SKIFF_NODE_GREETING = 1,
	SKIFF_NODE_UP = 2,
};

/**
 * struct skiff_node_info - ioctl(SKIFF_IOC_NODE_INFO), on a context
 * @size: sizeof(struct skiff_node_info)
 * @node: in: number of a node, or SKIFF_NODE_LOCAL; out: its number
 * @state: out: enum skiff_node_state
 * @adapters: out: bit n: adapter n of this node reaches it
 * @generation: out: the node's generation, 0 if it was never up
 * @connections_out: out: segments of that node that this one is connected to
 * @connections_in: out: connections of that node to segments of this one
 *
 * Errors: ENXIO.
 */
struct skiff_node_info {
	__u32 size;
	__u32 node;
	__u32 state;
	__u32 adapters;
	__aligned_u64 generation;
	__aligned_u64 connections_out;
	__aligned_u64 connections_in;
};
#define SKIFF_IOC_NODE_INFO _IO(SKIFF_IOC_TYPE, SKIFF_CMD_NODE_INFO)

/**
 * enum skiff_segment_flags - how a segment is made
 * @SKIFF_SEGMENT_USER: its memory is the caller's at @user_addr, page-aligned,
 *	pinned and charged to RLIMIT_MEMLOCK; else it is allocated, zeroed and
 *	charged to the caller's user, and to its memory cgroup unless it comes
 *	out of a bus window
 * @SKIFF_SEGMENT_PRIVATE: it has no id, @id must be 0, and nobody can connect to it
 * @SKIFF_SEGMENT_ANY_ID: the kernel chooses a free id from 0x80000000 up
 */
enum skiff_segment_flags {
	SKIFF_SEGMENT_USER = 1 << 0,
	SKIFF_SEGMENT_PRIVATE = 1 << 1,
	SKIFF_SEGMENT_ANY_ID = 1 << 2,
};

/**
 * struct skiff_segment_create - ioctl(SKIFF_IOC_SEGMENT_CREATE), on a context
 * @size: sizeof(struct skiff_segment_create)
 * @flags: in: enum skiff_segment_flags
 * @id: in: id of the segment, unique on this node; out: the id it has
 * @mode: in: who may connect, as for files: read bits are what counts for
 *	connecting read-only, read and write bits for connecting. 0 to 0777; the
 *	owner is the caller's effective user and group
 * @bytes: in: its length, at least 1; memory comes in whole pages. With
 *	SKIFF_SEGMENT_USER a multiple of the page size
 * @user_addr: in: with SKIFF_SEGMENT_USER, else 0
 * @nodes: in: bit n: node n may connect; 0: all may. The own node always may
 * @fd: out: the local segment
 * @__reserved: must be 0
 *
 * The segment is not yet prepared for any adapter. Kernel memory of a node
 * without a paging IOMMU comes out of adapter 0's bus window at once.
 *
 * Errors: EADDRINUSE, EDQUOT, EFAULT, EINTR, EINVAL, EMFILE, ENFILE, ENOMEM,
 * ENOSPC.
 */
struct skiff_segment_create {
	__u32 size;
	__u32 flags;
	__u32 id;
	__u32 mode;
	__aligned_u64 bytes;
	__aligned_u64 user_addr;
	__aligned_u64 nodes;
	__s32 fd;
	__u32 __reserved;
};
#define SKIFF_IOC_SEGMENT_CREATE _IO(SKIFF_IOC_TYPE, SKIFF_CMD_SEGMENT_CREATE)

/**
 * enum skiff_connect_flags - how to connect
 * @SKIFF_CONNECT_READ_ONLY: maps of this connection may only be read
 */
enum skiff_connect_flags {
	SKIFF_CONNECT_READ_ONLY = 1 << 0,
};

/**
 * struct skiff_segment_connect - ioctl(SKIFF_IOC_SEGMENT_CONNECT), on a context
 * @size: sizeof(struct skiff_segment_connect)
 * @flags: in: enum skiff_connect_flags
 * @node: in: node that owns the segment, SKIFF_NODE_LOCAL for the own one
 * @adapter: in: adapter to reach it by, or SKIFF_ADAPTER_ANY; out: the one taken
 * @id: in: the segment's id
 * @timeout_ms: in: limit of the wait for the peer, 1 to 60000; 0: 5000
 * @bytes: out: length of the segment
 * @fd: out: the remote segment
 * @__reserved: must be 0
 *
 * Takes no slot of the window; maps do.
 *
 * Errors: EACCES, ECONNRESET, EHOSTDOWN, EINTR, EINVAL, EMFILE, ENFILE, ENODEV,
 * ENOENT, ENOLINK, ENOMEM, ENXIO, EPROTO, ETIMEDOUT.
 */
struct skiff_segment_connect {
	__u32 size;
	__u32 flags;
	__u32 node;
	__u32 adapter;
	__u32 id;
	__u32 timeout_ms;
	__aligned_u64 bytes;
	__s32 fd;
	__u32 __reserved;
};
#define SKIFF_IOC_SEGMENT_CONNECT _IO(SKIFF_IOC_TYPE, SKIFF_CMD_SEGMENT_CONNECT)

/**
 * struct skiff_segment_query - ioctl(SKIFF_IOC_SEGMENT_QUERY), on a context
 * @size: sizeof(struct skiff_segment_query)
 * @flags: must be 0
 * @node: in: a node, or SKIFF_NODE_LOCAL
 * @adapter: in: as for connecting
 * @id: in: the lowest id to look at; out: the id found
 * @timeout_ms: in: as for connecting
 * @bytes: out: length
 * @uid: out: owner on its node
 * @mode: out: its mode
 *
 * Finds the available segment with the lowest id from @id up that the caller
 * may connect to, read-only at least.
 *
 * Errors: ENOENT when there is none, and those of connecting.
 */
struct skiff_segment_query {
	__u32 size;
	__u32 flags;
	__u32 node;
	__u32 adapter;
	__u32 id;
	__u32 timeout_ms;
	__aligned_u64 bytes;
	__u32 uid;
	__u32 mode;
};
#define SKIFF_IOC_SEGMENT_QUERY _IO(SKIFF_IOC_TYPE, SKIFF_CMD_SEGMENT_QUERY)

/**
 * struct skiff_segment_adapter - ioctl(SKIFF_IOC_SEGMENT_PREPARE,
 *	SKIFF_IOC_SEGMENT_SET_AVAILABLE, SKIFF_IOC_SEGMENT_SET_UNAVAILABLE), on a local segment
 * @size: sizeof(struct skiff_segment_adapter)
 * @adapter: in: adapter, or SKIFF_ADAPTER_ANY for all that are there
 *
 * Preparing makes the memory reachable through the adapter; there is no way
 * back but to remove the segment. Available segments can be connected to. Both
 * states are held per adapter; connecting from the own node needs the segment
 * available on some adapter. SET_UNAVAILABLE hides it from new connections and
 * tells the connected ones (SKIFF_EVENT_UNAVAILABLE); their maps stay.
 *
 * Errors: EBUSY when preparing a prepared one, when making available what is
 * not prepared or is available, or unavailable what is not available; EINVAL
 * for a private segment; ENODEV; ENOSPC and ENOMEM from preparing.
 */
struct skiff_segment_adapter {
	__u32 size;
	__u32 adapter;
};
#define SKIFF_IOC_SEGMENT_PREPARE _IO(SKIFF_IOC_TYPE, SKIFF_CMD_SEGMENT_PREPARE)
#define SKIFF_IOC_SEGMENT_SET_AVAILABLE _IO(SKIFF_IOC_TYPE, SKIFF_CMD_SEGMENT_SET_AVAILABLE)
#define SKIFF_IOC_SEGMENT_SET_UNAVAILABLE _IO(SKIFF_IOC_TYPE, SKIFF_CMD_SEGMENT_SET_UNAVAILABLE)

/**
 * enum skiff_remove_flags - how to remove a segment
 * @SKIFF_REMOVE_FORCE: also when it is mapped here or connected; connections live on
 */
enum skiff_remove_flags {
	SKIFF_REMOVE_FORCE = 1 << 0,
};

/**
 * struct skiff_segment_remove - ioctl(SKIFF_IOC_SEGMENT_REMOVE), on a local segment
 * @size: sizeof(struct skiff_segment_remove)
 * @flags: in: enum skiff_remove_flags
 *
 * The id is free at once and the descriptor is good for nothing but close
 * (ECONNRESET from everything else). Maps of the own process stay until they
 * are unmapped. The memory goes when the last connection has. Closing the last
 * descriptor does the same, with force.
 *
 * Errors: EBUSY without force.
 */
struct skiff_segment_remove {
	__u32 size;
	__u32 flags;
};
#define SKIFF_IOC_SEGMENT_REMOVE _IO(SKIFF_IOC_TYPE, SKIFF_CMD_SEGMENT_REMOVE)

/**
 * struct skiff_segment_revoke - ioctl(SKIFF_IOC_SEGMENT_REVOKE), on a local segment
 * @size: sizeof(struct skiff_segment_revoke)
 * @flags: must be 0
 * @node: in: take the connections of this node away, or SKIFF_NODE_LOCAL for those of all nodes, the own one included
 * @timeout_ms: in: limit of the wait for the peers' confirmation, 1 to 60000; 0: 5000
 * @revoked: out: number of connections taken away
 * @unconfirmed: out: how many of them no peer has confirmed; memory that such a
 *	peer might still write is quarantined, not reused
 *
 * The holders get SKIFF_EVENT_LOST and their maps behave as for a lost peer.
 *
 * Errors: EINTR (what was begun goes on), EINVAL.
 */
struct skiff_segment_revoke {
	__u32 size;
	__u32 flags;
	__u32 node;
	__u32 timeout_ms;
	__u32 revoked;
	__u32 unconfirmed;
};
#define SKIFF_IOC_SEGMENT_REVOKE _IO(SKIFF_IOC_TYPE, SKIFF_CMD_SEGMENT_REVOKE)

/**
 * struct skiff_segment_info - ioctl(SKIFF_IOC_SEGMENT_INFO), on a local segment
 * @size: sizeof(struct skiff_segment_info)
 * @flags: out: enum skiff_segment_flags
 * @id: out: its id
 * @mode: out: its mode
 * @bytes: out: its length
 * @nodes: out: who may connect, as at creation
 * @prepared: out: bit n: prepared for adapter n
 * @available: out: bit n: available through adapter n
 * @connections: out: connections at the moment, those of the own node included
 * @extents: out: ranges of bus addresses on the first adapter that it is prepared for
 */
struct skiff_segment_info {
	__u32 size;
	__u32 flags;
	__u32 id;
	__u32 mode;
	__aligned_u64 bytes;
	__aligned_u64 nodes;
	__u32 prepared;
	__u32 available;
	__u32 connections;
	__u32 extents;
};
#define SKIFF_IOC_SEGMENT_INFO _IO(SKIFF_IOC_TYPE, SKIFF_CMD_SEGMENT_INFO)

/**
 * struct skiff_remote_disconnect - ioctl(SKIFF_IOC_REMOTE_DISCONNECT), on a remote segment
 * @size: sizeof(struct skiff_remote_disconnect)
 * @flags: must be 0
 *
 * The descriptor is good for nothing but close afterwards (ECONNRESET).
 *
 * Errors: EBUSY while it is mapped.
 */
struct skiff_remote_disconnect {
	__u32 size;
	__u32 flags;
};
#define SKIFF_IOC_REMOTE_DISCONNECT _IO(SKIFF_IOC_TYPE, SKIFF_CMD_REMOTE_DISCONNECT)

/**
 * enum skiff_remote_state - state of a connection
 * @SKIFF_REMOTE_OPERATIONAL: it can be used
 * @SKIFF_REMOTE_NOT_OPERATIONAL: the link is down; it may come back
 * @SKIFF_REMOTE_LOST: revoked, or the peer booted anew: it will not come back
 */
enum skiff_remote_state {
	SKIFF_REMOTE_OPERATIONAL = 0,
	SKIFF_REMOTE_NOT_OPERATIONAL = 1,
	SKIFF_REMOTE_LOST = 2,
};

/**
 * struct skiff_remote_info - ioctl(SKIFF_IOC_REMOTE_INFO), on a remote segment
 * @size: sizeof(struct skiff_remote_info)
 * @flags: out: enum skiff_connect_flags
 * @node: out: the owner's node
 * @adapter: out: adapter that reaches it; SKIFF_ADAPTER_ANY for the own node
 * @id: out: id of the segment
 * @state: out: enum skiff_remote_state
 * @bytes: out: length of the segment
 * @maps: out: live maps
 * @slots: out: slots that they use
 */
struct skiff_remote_info {
	__u32 size;
	__u32 flags;
	__u32 node;
	__u32 adapter;
	__u32 id;
	__u32 state;
	__aligned_u64 bytes;
	__u32 maps;
	__u32 slots;
};
#define SKIFF_IOC_REMOTE_INFO _IO(SKIFF_IOC_TYPE, SKIFF_CMD_REMOTE_INFO)

/**
 * DOC: Lent devices
 *
 * A node lends PCI functions. It adds them to its pool, makes them available
 * and connects to the nodes that may see and borrow them; itself it always may.
 * A device has a fabric device id (fdid), the same everywhere: bits 31:16 are
 * 4 * (number of the lender + 1), bits 15:0 its index in the pool.
 *
 * A borrowed device is an object. Its registers and memory that belongs to it
 * are segments; what it is to read and write is mapped for it, which gives the
 * addresses that it must use. When the borrow ends, for whatever reason, the
 * device's bus mastering goes off and what was mapped for it is taken away
 * before anything else; when the last borrower is gone it is reset.
 *
 * Lending needs CAP_SYS_ADMIN. Borrowing follows the device's owner, mode and
 * list of nodes; borrowing a device without an IOMMU, which reaches all memory
 * of its lender, needs CAP_SYS_RAWIO on top.
 */

/** SKIFF_DEVICE_VECTORS_MAX: interrupt vectors of a lent device that are used. */
#define SKIFF_DEVICE_VECTORS_MAX	64
/** SKIFF_DEVICE_BARS: BARs of a device. */
#define SKIFF_DEVICE_BARS	6

/**
 * struct skiff_lend_add - ioctl(SKIFF_IOC_LEND_ADD), on a context
 * @size: sizeof(struct skiff_lend_add)
 * @flags: must be 0
 * @domain: in: PCI domain of the function
 * @bdf: in: bus << 8 | device << 3 | function
 * @mode: in: who may borrow, as for segments; reading alone is not enough
 * @fdid: out: its fabric device id
 * @nodes: in: bit n: node n may borrow; 0: all may. The own node always may
 *
 * Adds a function to the pool. It is not touched, and not available yet. The
 * owner is the caller's effective user and group.
 *
 * Errors: EADDRINUSE (it is in the pool), EBUSY (it is a bridge of ours),
 * EINVAL, ENODEV (no adapter is there, or no such function), ENOMEM, ENOSPC
 * (the pool is full), EPERM.
 */
struct skiff_lend_add {
	__u32 size;
	__u32 flags;
	__u32 domain;
	__u32 bdf;
	__u32 mode;
	__u32 fdid;
	__aligned_u64 nodes;
};
#define SKIFF_IOC_LEND_ADD _IO(SKIFF_IOC_TYPE, SKIFF_CMD_LEND_ADD)

/**
 * enum skiff_lend_flags - how to change a device of the own pool
 * @SKIFF_LEND_UNSAFE: make available: although there is no IOMMU that keeps the
 *	device, and who borrows it, from all memory of this node; taints the kernel
 * @SKIFF_LEND_FORCE: make unavailable, remove: take it from its borrowers
 */
enum skiff_lend_flags {
	SKIFF_LEND_UNSAFE = 1 << 0,
	SKIFF_LEND_FORCE = 1 << 1,
};

/**
 * struct skiff_lend_device - ioctl(SKIFF_IOC_LEND_REMOVE, SKIFF_IOC_LEND_AVAILABLE,
 *	SKIFF_IOC_LEND_UNAVAILABLE), on a context
 * @size: sizeof(struct skiff_lend_device)
 * @flags: in: enum skiff_lend_flags, those that the command has
 * @fdid: in: the device, one of this node
 * @refusal: out of AVAILABLE: enum skiff_lend_refusal, when it fails with
 *	EOPNOTSUPP
 *
 * AVAILABLE takes a function that the driver skiff_lend is bound to (sysfs:
 * driver_override), resets it and lets others borrow it. UNAVAILABLE takes
 * that back; the driver stays. REMOVE takes an unavailable device out of the
 * pool.
 *
 * Errors: EBUSY (it is borrowed, or not in the right state; AVAILABLE: another
 * driver has it), EINVAL, ENOENT (no such device), ENOMEM, EOPNOTSUPP (it
 * cannot be lent, @refusal says why), EPERM, ETIMEDOUT (UNAVAILABLE, REMOVE: what
 * its last borrower has begun, or the reset, takes long and goes on; ask again).
 */
struct skiff_lend_device {
	__u32 size;
	__u32 flags;
	__u32 fdid;
	__u32 refusal;
};
#define SKIFF_IOC_LEND_REMOVE _IO(SKIFF_IOC_TYPE, SKIFF_CMD_LEND_REMOVE)
#define SKIFF_IOC_LEND_AVAILABLE _IO(SKIFF_IOC_TYPE, SKIFF_CMD_LEND_AVAILABLE)
#define SKIFF_IOC_LEND_UNAVAILABLE _IO(SKIFF_IOC_TYPE, SKIFF_CMD_LEND_UNAVAILABLE)

/**
 * enum skiff_lend_refusal - why a function cannot be lent
 * @SKIFF_REFUSAL_NONE: it can
 * @SKIFF_REFUSAL_NO_IOMMU: nothing keeps it from the memory of this node, and
 *	SKIFF_LEND_UNSAFE is not set
 * @SKIFF_REFUSAL_GROUP: its IOMMU group has other functions
 * @SKIFF_REFUSAL_NO_RESET: it has no reset that works
 * @SKIFF_REFUSAL_NO_PATH: its requests do not get to a bridge
 */
enum skiff_lend_refusal {
	SKIFF_REFUSAL_NONE = 0,
	SKIFF_REFUSAL_NO_IOMMU = 1,
	SKIFF_REFUSAL_GROUP = 2,
	SKIFF_REFUSAL_NO_RESET = 3,
	SKIFF_REFUSAL_NO_PATH = 4,
};

/**
 * struct skiff_lend_peer - ioctl(SKIFF_IOC_LEND_CONNECT, SKIFF_IOC_LEND_DISCONNECT), on a context
 * @size: sizeof(struct skiff_lend_peer)
 * @flags: must be 0
 * @node: in: the node that may see the pool, whether it is up or not
 * @__reserved: must be 0
 *
 * The relation lasts until it is taken back or the module goes, whatever
 * becomes of links and of the other node. Disconnecting takes devices from the
 * node that has borrowed them.
 *
 * Errors: EBUSY (it is in that state), EINVAL (the own node), ENXIO, EPERM.
 */
struct skiff_lend_peer {
	__u32 size;
	__u32 flags;
	__u32 node;
	__u32 __reserved;
};
#define SKIFF_IOC_LEND_CONNECT _IO(SKIFF_IOC_TYPE, SKIFF_CMD_LEND_CONNECT)
#define SKIFF_IOC_LEND_DISCONNECT _IO(SKIFF_IOC_TYPE, SKIFF_CMD_LEND_DISCONNECT)

/**
 * enum skiff_device_state - state of a device in the pool
 * @SKIFF_DEVICE_UNAVAILABLE: it was added
 * @SKIFF_DEVICE_AVAILABLE: it can be borrowed
 * @SKIFF_DEVICE_BORROWED: it is, and may be borrowed by others as well
 * @SKIFF_DEVICE_EXCLUSIVE: it is, by one alone
 * @SKIFF_DEVICE_BROKEN: its reset has failed, or it was pulled out
 */
enum skiff_device_state {
	SKIFF_DEVICE_UNAVAILABLE = 0,
	SKIFF_DEVICE_AVAILABLE = 1,
	SKIFF_DEVICE_BORROWED = 2,
	SKIFF_DEVICE_EXCLUSIVE = 3,
	SKIFF_DEVICE_BROKEN = 4,
};

/**
 * enum skiff_device_flags - what a device is like
 * @SKIFF_DEVICE_CONTAINED: an IOMMU keeps it to what is mapped for it
 */
enum skiff_device_flags {
	SKIFF_DEVICE_CONTAINED = 1 << 0,
};

/**
 * struct skiff_device - a device of the pool
 * @fdid: its fabric device id
 * @node: its lender
 * @state: enum skiff_device_state
 * @flags: enum skiff_device_flags
 * @domain: PCI domain on the lender
 * @bdf: bus << 8 | device << 3 | function on the lender
 * @class_code: class << 16 | subclass << 8 | programming interface
 * @revision: revision
 * @vendor: PCI vendor id
 * @device: PCI device id
 * @subvendor: subsystem vendor id
 * @subdevice: subsystem id
 * @serial: Device Serial Number capability; 0: it has none
 * @bars: bytes of each BAR that can be mapped: up to its MSI-X table or pending
 *	bits, if these are in it; 0: no memory BAR
 * @vectors: interrupt vectors that it can have
 * @borrowers: how many have borrowed it
 */
struct skiff_device {
	__u32 fdid;
	__u32 node;
	__u32 state;
	__u32 flags;
	__u32 domain;
	__u32 bdf;
	__u32 class_code;
	__u32 revision;
	__u16 vendor;
	__u16 device;
	__u16 subvendor;
	__u16 subdevice;
	__aligned_u64 serial;
	__aligned_u64 bars[SKIFF_DEVICE_BARS];
	__u32 vectors;
	__u32 borrowers;
};

/**
 * enum skiff_device_match - fields of struct skiff_device that a search looks at
 * @SKIFF_MATCH_NODE: node
 * @SKIFF_MATCH_STATE: state
 * @SKIFF_MATCH_CLASS: class_code, as far as class_mask says
 * @SKIFF_MATCH_VENDOR: vendor
 * @SKIFF_MATCH_DEVICE: device
 * @SKIFF_MATCH_SUBVENDOR: subvendor
 * @SKIFF_MATCH_SUBDEVICE: subdevice
 * @SKIFF_MATCH_SERIAL: serial
 * @SKIFF_MATCH_BDF: domain and bdf
 */
enum skiff_device_match {
	SKIFF_MATCH_NODE = 1 << 0,
	SKIFF_MATCH_STATE = 1 << 1,
	SKIFF_MATCH_CLASS = 1 << 2,
	SKIFF_MATCH_VENDOR = 1 << 3,
	SKIFF_MATCH_DEVICE = 1 << 4,
	SKIFF_MATCH_SUBVENDOR = 1 << 5,
	SKIFF_MATCH_SUBDEVICE = 1 << 6,
	SKIFF_MATCH_SERIAL = 1 << 7,
	SKIFF_MATCH_BDF = 1 << 8,
};

/**
 * struct skiff_device_query - ioctl(SKIFF_IOC_DEVICE_QUERY), on a context
 * @size: sizeof(struct skiff_device_query)
 * @match: in: enum skiff_device_match
 * @from: in: the lowest fdid to look at
 * @class_mask: in: for SKIFF_MATCH_CLASS: bits of the class that count, not 0;
 *	else 0
 * @device: in: what the fields of @match must be; out: the device found
 *
 * Finds the device with the lowest fdid from @from up among those that this
 * node lends or that other nodes, connected to it, lend; it asks nobody.
 *
 * Errors: EINVAL, ENOENT.
 */
struct skiff_device_query {
	__u32 size;
	__u32 match;
	__u32 from;
	__u32 class_mask;
	struct skiff_device device;
};
#define SKIFF_IOC_DEVICE_QUERY _IO(SKIFF_IOC_TYPE, SKIFF_CMD_DEVICE_QUERY)

/**
 * enum skiff_borrow_flags - how to borrow
 * @SKIFF_BORROW_EXCLUSIVE: nobody else has it, and nobody gets it
 */
enum skiff_borrow_flags {
	SKIFF_BORROW_EXCLUSIVE = 1 << 0,
};

/**
 * struct skiff_device_borrow - ioctl(SKIFF_IOC_DEVICE_BORROW), on a context
 * @size: sizeof(struct skiff_device_borrow)
 * @flags: in: enum skiff_borrow_flags
 * @fdid: in: the device
 * @timeout_ms: in: limit of the wait for the lender, as for connecting
 * @fd: out: the borrowed device
 * @__reserved: must be 0
 *
 * Errors: EACCES, EBUSY (unavailable, or somebody has it who is in the way),
 * EHOSTDOWN, EINTR, EINVAL, EMFILE, ENFILE, ENOENT (no such device), ENOLINK,
 * ENOMEM, EPERM (it is not contained, and CAP_SYS_RAWIO is missing), EPROTO,
 * ETIMEDOUT.
 */
struct skiff_device_borrow {
	__u32 size;
	__u32 flags;
	__u32 fdid;
	__u32 timeout_ms;
	__s32 fd;
	__u32 __reserved;
};
#define SKIFF_IOC_DEVICE_BORROW _IO(SKIFF_IOC_TYPE, SKIFF_CMD_DEVICE_BORROW)

/**
 * struct skiff_device_info - ioctl(SKIFF_IOC_DEVICE_INFO), on a borrowed device
 * @size: sizeof(struct skiff_device_info)
 * @flags: out: enum skiff_borrow_flags, as it is now
 * @maps: out: what is mapped for the device on behalf of this borrow
 * @vectors: out: vectors that the device has been given; 0: none
 * @device: out: the device
 *
 * Errors: ECONNRESET once the borrow has ended.
 */
struct skiff_device_info {
	__u32 size;
	__u32 flags;
	__u32 maps;
	__u32 vectors;
	struct skiff_device device;
};
#define SKIFF_IOC_DEVICE_INFO _IO(SKIFF_IOC_TYPE, SKIFF_CMD_DEVICE_INFO)

/**
 * struct skiff_device_plain - ioctl(SKIFF_IOC_DEVICE_RETURN,
 *	SKIFF_IOC_DEVICE_RELEASE_EXCLUSIVE, SKIFF_IOC_DEVICE_RESET), on a borrowed device
 * @size: sizeof(struct skiff_device_plain)
 * @flags: must be 0
 * @timeout_ms: in: limit of the wait for the lender, as for connecting
 * @__reserved: must be 0
 *
 * RETURN gives the device back; the object remains, and all other commands
 * are ECONNRESET. RELEASE_EXCLUSIVE lets others borrow it as well. RESET
 * resets the device, which needs that it was borrowed exclusively; mappings
 * for it and vectors stay, bus mastering is off.
 *
 * Errors: EBUSY (RETURN: segments of it are connected; the others: it is not
 * borrowed exclusively), ECONNRESET, EINTR, EIO (the reset has failed), ENOLINK,
 * ETIMEDOUT.
 */
struct skiff_device_plain {
	__u32 size;
	__u32 flags;
	__u32 timeout_ms;
	__u32 __reserved;
};
#define SKIFF_IOC_DEVICE_RETURN _IO(SKIFF_IOC_TYPE, SKIFF_CMD_DEVICE_RETURN)
#define SKIFF_IOC_DEVICE_RELEASE_EXCLUSIVE _IO(SKIFF_IOC_TYPE, SKIFF_CMD_DEVICE_RELEASE_EXCLUSIVE)
#define SKIFF_IOC_DEVICE_RESET _IO(SKIFF_IOC_TYPE, SKIFF_CMD_DEVICE_RESET)

/**
 * enum skiff_device_memory - segments of a device
 * @SKIFF_DEVICE_BAR: a BAR, by its number
 * @SKIFF_DEVICE_PRIVATE: memory that this borrow has made for itself
 * @SKIFF_DEVICE_SHARED: memory that some borrower has made for all of them
 */
enum skiff_device_memory {
	SKIFF_DEVICE_BAR = 1,
	SKIFF_DEVICE_PRIVATE = 2,
	SKIFF_DEVICE_SHARED = 4,
};

/**
 * enum skiff_access_hints - who reads and writes memory of a device
 * @SKIFF_HINT_DEVICE_READ: the device reads it
 * @SKIFF_HINT_DEVICE_WRITE: the device writes it
 * @SKIFF_HINT_HOST_READ: the borrower's CPUs read it
 * @SKIFF_HINT_HOST_WRITE: the borrower's CPUs write it
 * @SKIFF_HINT_MULTIHOST: with the two before: CPUs of several nodes do
 * @SKIFF_HINT_PEER: with the first two: other devices do
 *
 * Combined they have the values of SISCI's access hints.
 */
enum skiff_access_hints {
	SKIFF_HINT_DEVICE_READ = 1 << 0,
	SKIFF_HINT_DEVICE_WRITE = 1 << 1,
	SKIFF_HINT_HOST_READ = 1 << 2,
	SKIFF_HINT_HOST_WRITE = 1 << 3,
	SKIFF_HINT_MULTIHOST = 1 << 4,
	SKIFF_HINT_PEER = 1 << 5,
};

/**
 * struct skiff_device_segment - ioctl(SKIFF_IOC_DEVICE_SEGMENT_CREATE,
 *	SKIFF_IOC_DEVICE_SEGMENT_CONNECT), on a borrowed device
 * @size: sizeof(struct skiff_device_segment)
 * @flags: in of CREATE: enum skiff_access_hints, 0: none; CONNECT: must be 0
 * @memory: in: enum skiff_device_memory; for CREATE not SKIFF_DEVICE_BAR
 * @id: in: number of the BAR, or of the segment among those of its kind
 * @bytes: in of CREATE: its length, at least 1; out of CONNECT
 * @timeout_ms: in: limit of the wait for the lender, as for connecting
 * @fd: out of CONNECT: a remote segment; unused by CREATE, 0
 *
 * CREATE makes memory at the lender, close to the device, which lives until the
 * borrow ends (SKIFF_DEVICE_SHARED: until the last one does). Loads across the
 * fabric are slow: with SKIFF_HINT_HOST_READ and without SKIFF_HINT_MULTIHOST
 * SKIFF_DEVICE_PRIVATE memory is the borrower's, and lives until the borrowed
 * device is returned or closed. CONNECT gives a segment like any other; a map of a BAR with
 * SKIFF_MAP_UNCACHED has the ordering that registers want.
 *
 * Errors: EADDRINUSE (CREATE: the id is taken), EBUSY, ECONNRESET, EINTR, EINVAL,
 * EMFILE, ENFILE, ENOENT (CONNECT: no such BAR or segment), ENOLINK, ENOMEM,
 * ENOSPC, EPROTO, ETIMEDOUT.
 */
struct skiff_device_segment {
	__u32 size;
	__u32 flags;
	__u32 memory;
	__u32 id;
	__aligned_u64 bytes;
	__u32 timeout_ms;
	__s32 fd;
};
#define SKIFF_IOC_DEVICE_SEGMENT_CREATE _IO(SKIFF_IOC_TYPE, SKIFF_CMD_DEVICE_SEGMENT_CREATE)
#define SKIFF_IOC_DEVICE_SEGMENT_CONNECT _IO(SKIFF_IOC_TYPE, SKIFF_CMD_DEVICE_SEGMENT_CONNECT)

/**
 * struct skiff_device_map - ioctl(SKIFF_IOC_DEVICE_MAP), on a borrowed device
 * @size: sizeof(struct skiff_device_map)
 * @flags: must be 0
 * @fd: in: a local segment that is prepared for the adapter that leads to the
 *	lender, a remote segment, or a connected segment of a device of the lender
 * @timeout_ms: in: limit of the wait for the lender, as for connecting
 * @offset: in: where the range starts in the segment, a multiple of the page size
 * @bytes: in: its length, a multiple of the page size; 0: up to the segment's end
 * @address: out: the address that the device has to use
 * @map: out: names the mapping
 * @__reserved: must be 0
 *
 * Errors: EACCES (a connection that may only read), EBADF, EBUSY (not prepared),
 * ECONNRESET, EINTR, EINVAL, EIO (the lender does not get an answer of the
 * segment's owner), ENOENT (its owner has no such segment for the lender any
 * more), ENOLINK, ENOMEM, ENOSPC (no slots at the lender, or no IOMMU there and
 * the range does not lie in one piece), EOPNOTSUPP (a segment of a device of
 * another lender), ETIMEDOUT.
 */
struct skiff_device_map {
	__u32 size;
	__u32 flags;
	__s32 fd;
	__u32 timeout_ms;
	__aligned_u64 offset;
	__aligned_u64 bytes;
	__aligned_u64 address;
	__u32 map;
	__u32 __reserved;
};
#define SKIFF_IOC_DEVICE_MAP _IO(SKIFF_IOC_TYPE, SKIFF_CMD_DEVICE_MAP)

/**
 * struct skiff_device_unmap - ioctl(SKIFF_IOC_DEVICE_UNMAP), on a borrowed device
 * @size: sizeof(struct skiff_device_unmap)
 * @flags: must be 0
 * @map: in: the mapping
 * @timeout_ms: in: limit of the wait for the lender, as for connecting
 *
 * The device cannot reach the memory any more when it returns. It must not have
 * anything under way there.
 *
 * Errors: ECONNRESET, EINTR, ENOENT, ENOLINK, ETIMEDOUT.
 */
struct skiff_device_unmap {
	__u32 size;
	__u32 flags;
	__u32 map;
	__u32 timeout_ms;
};
#define SKIFF_IOC_DEVICE_UNMAP _IO(SKIFF_IOC_TYPE, SKIFF_CMD_DEVICE_UNMAP)

/**
 * struct skiff_device_config - ioctl(SKIFF_IOC_DEVICE_CONFIG_READ,
 *	SKIFF_IOC_DEVICE_CONFIG_WRITE), on a borrowed device
 * @size: sizeof(struct skiff_device_config)
 * @flags: must be 0
 * @offset: in: a multiple of @width below 4096
 * @width: in: bytes: 1, 2 or 4
 * @value: in of WRITE, out of READ
 * @timeout_ms: in: limit of the wait for the lender, as for connecting
 *
 * All of the configuration space can be read; behind its end are ones. Only
 * what is harmless can be written: cache line size, latency timer, interrupt
 * line, the bits of device control that concern nobody but the device, and
 * vendor-specific capabilities, but not virtio's window to its BARs.
 *
 * Errors: ECONNRESET, EINTR, EINVAL, ENOLINK, EPERM (it must not be written),
 * ETIMEDOUT.
 */
struct skiff_device_config {
	__u32 size;
	__u32 flags;
	__u32 offset;
	__u32 width;
	__u32 value;
	__u32 timeout_ms;
};
#define SKIFF_IOC_DEVICE_CONFIG_READ _IO(SKIFF_IOC_TYPE, SKIFF_CMD_DEVICE_CONFIG_READ)
#define SKIFF_IOC_DEVICE_CONFIG_WRITE _IO(SKIFF_IOC_TYPE, SKIFF_CMD_DEVICE_CONFIG_WRITE)

/**
 * enum skiff_bus_master_flags - what to make of bus mastering
 * @SKIFF_BUS_MASTER_ON: the device may read and write memory
 */
enum skiff_bus_master_flags {
	SKIFF_BUS_MASTER_ON = 1 << 0,
};

/**
 * struct skiff_device_bus_master - ioctl(SKIFF_IOC_DEVICE_BUS_MASTER), on a borrowed device
 * @size: sizeof(struct skiff_device_bus_master)
 * @flags: in: enum skiff_bus_master_flags
 * @timeout_ms: in: limit of the wait for the lender, as for connecting
 * @__reserved: must be 0
 *
 * Borrowers of a shared device have one bus mastering between them.
 *
 * Errors: ECONNRESET, EINTR, ENOLINK, ETIMEDOUT.
 */
struct skiff_device_bus_master {
	__u32 size;
	__u32 flags;
	__u32 timeout_ms;
	__u32 __reserved;
};
#define SKIFF_IOC_DEVICE_BUS_MASTER _IO(SKIFF_IOC_TYPE, SKIFF_CMD_DEVICE_BUS_MASTER)

/**
 * struct skiff_device_vectors - ioctl(SKIFF_IOC_DEVICE_VECTORS), on a borrowed device
 * @size: sizeof(struct skiff_device_vectors)
 * @flags: must be 0
 * @count: in: interrupt vectors wanted, 1 to SKIFF_DEVICE_VECTORS_MAX; out: the
 *	device's vectors, maybe fewer
 * @timeout_ms: in: limit of the wait for the lender, as for connecting
 *
 * Turns MSI-X, or MSI, of the device on. The borrowers of a shared device have
 * the same vectors: who asks second gets those that there are.
 *
 * Errors: ECONNRESET, EINTR, EINVAL, ENOLINK, ENOSPC, EOPNOTSUPP (it has neither),
 * ETIMEDOUT.
 */
struct skiff_device_vectors {
	__u32 size;
	__u32 flags;
	__u32 count;
	__u32 timeout_ms;
};
#define SKIFF_IOC_DEVICE_VECTORS _IO(SKIFF_IOC_TYPE, SKIFF_CMD_DEVICE_VECTORS)

/**
 * struct skiff_device_vector - ioctl(SKIFF_IOC_DEVICE_VECTOR), on a borrowed device
 * @size: sizeof(struct skiff_device_vector)
 * @flags: must be 0
 * @index: in: the vector
 * @fd: in: eventfd that is signalled for each interrupt, several of which may
 *	become one; -1: none any more
 *
 * Errors: EBADF, ECONNRESET, EINVAL (no eventfd), ENOENT (no such vector), ENOLINK.
 */
struct skiff_device_vector {
	__u32 size;
	__u32 flags;
	__u32 index;
	__s32 fd;
};
#define SKIFF_IOC_DEVICE_VECTOR _IO(SKIFF_IOC_TYPE, SKIFF_CMD_DEVICE_VECTOR)

/**
 * DOC: Maps
 *
 * mmap(2) of a segment takes MAP_SHARED only, PROT_READ and PROT_WRITE (with a
 * read-only connection PROT_READ), an offset that is a multiple of the page
 * size and a length that does not lead behind the segment's last page. What
 * else is to be said is added to the offset. Maps are not inherited by fork(2),
 * not dumped and cannot be extended. Slots are reserved by mmap(2), never later.
 *
 * Errors: EACCES (prot against the connection), EINVAL (private, misaligned or
 * too long), EPERM (executable), ECONNRESET, ENOLINK, ENOMEM, ENOSPC.
 *
 * An access to a lost peer raises SIGBUS. With SKIFF_MAP_ALL_ONES loads give
 * all ones and stores vanish; where no window is left to lose them in (the own
 * node, a removed adapter) stores change a page of ones that only the map has.
 * When the link comes back with the same generation, the real pages do.
 */

/** SKIFF_MAP_UNCACHED: in the offset: uncached instead of write-combining; remote segments of other nodes only. */
#define SKIFF_MAP_UNCACHED	(1ULL << 62)
/** SKIFF_MAP_ALL_ONES: in the offset: all ones instead of SIGBUS; remote segments only. */
#define SKIFF_MAP_ALL_ONES	(1ULL << 61)

/**
 * enum skiff_event_type - what an event tells
 * @SKIFF_EVENT_CONNECTED: local segment: @node has connected
 * @SKIFF_EVENT_DISCONNECTED: local segment: @node has disconnected
 * @SKIFF_EVENT_PEER_LOST: local segment: a connection of @node is gone without
 *	a disconnect: it was revoked or the node is dead
 * @SKIFF_EVENT_NOT_OPERATIONAL: remote segment: the link went down
 * @SKIFF_EVENT_OPERATIONAL: remote segment: the link is back, and the memory with it
 * @SKIFF_EVENT_LOST: remote segment: it is gone for good, which it also is when
 *	the link comes back and no slots are free for its maps. No access through
 *	a map reaches the peer from here on
 * @SKIFF_EVENT_UNAVAILABLE: remote segment: its owner takes no new connections;
 *	told again when the link comes back
 * @SKIFF_EVENT_REMOVED: remote segment: its owner has removed it; maps stay good
 * @SKIFF_EVENT_OVERFLOW: events were dropped because nobody read them; comes
 *	instead of the oldest ones, and @count says how many
 * @SKIFF_EVENT_ENDED: borrowed device: the borrow has ended, since its lender took
 *	the device back, or the link or the device is gone
 * @SKIFF_EVENT_SHARER_GONE: borrowed device: somebody else who had borrowed it is
 *	gone without having returned it
 */
enum skiff_event_type {
	SKIFF_EVENT_CONNECTED = 1,
	SKIFF_EVENT_DISCONNECTED = 2,
	SKIFF_EVENT_PEER_LOST = 3,
	SKIFF_EVENT_NOT_OPERATIONAL = 4,
	SKIFF_EVENT_OPERATIONAL = 5,
	SKIFF_EVENT_LOST = 6,
	SKIFF_EVENT_UNAVAILABLE = 7,
	SKIFF_EVENT_REMOVED = 8,
	SKIFF_EVENT_OVERFLOW = 9,
	SKIFF_EVENT_ENDED = 10,
	SKIFF_EVENT_SHARER_GONE = 11,
};

/**
 * struct skiff_event - what read(2) of an object gives, as many as fit
 * @type: enum skiff_event_type
 * @node: node that it is about
 * @count: for SKIFF_EVENT_OVERFLOW: events lost; else 1
 * @adapter: adapter by which @node is connected, SKIFF_ADAPTER_ANY for the own node
 *
 * A buffer too small for one event is EINVAL. poll(2) gives POLLIN when there
 * is an event, and POLLHUP when the object is lost or removed. A context's
 * descriptor tells of nodes in the same way: SKIFF_EVENT_OPERATIONAL when
 * @node comes up, SKIFF_EVENT_NOT_OPERATIONAL when its last link goes down.
 */
struct skiff_event {
	__u32 type;
	__u32 node;
	__u32 count;
	__u32 adapter;
};

#endif /* _UAPI_LINUX_SKIFF_H */
