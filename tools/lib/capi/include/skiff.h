/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * libskiff: memory that nodes joined by PCI Express Non-Transparent Bridges
 * share, and devices that they lend each other. Objects are file descriptors, their structures are those of
 * <linux/skiff.h>; close(2) gives them up.
 *
 * Functions give a negative errno when they fail; skiff_error() says what
 * happened in words. The functions that load, store and copy are inline.
 */
#ifndef _SKIFF_H
#define _SKIFF_H

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/skiff.h>

#ifdef __cplusplus
extern "C" {
#endif

/** SKIFF_MAP_READ_ONLY: flag of skiff_map(): the map may only be read. */
#define SKIFF_MAP_READ_ONLY	(1ULL << 0)

/**
 * struct skiff_map - a segment, or a piece of it, in this process
 * @address: its first byte; others change it at any time, so that it is to be
 *	accessed by the functions below or by other volatile accesses
 * @bytes: its length
 * @pages: first byte of its first page
 * @page_bytes: length of its pages
 */
struct skiff_map {
	volatile unsigned char *address;
	size_t bytes;
	void *pages;
	size_t page_bytes;
};

/**
 * skiff_open - open /dev/skiff
 *
 * Return: a context, or a negative errno.
 */
int skiff_open(void);

/**
 * skiff_command - do an ioctl of <linux/skiff.h>
 * @fd: a context or an object
 * @request: SKIFF_IOC_...
 * @argument: its structure, @size included
 *
 * Return: the new object for the commands that make one, else 0; or a negative
 * errno. Objects are non-blocking.
 */
int skiff_command(int fd, unsigned int request, void *argument);

/**
 * skiff_map - map a segment
 * @segment: a local or a remote segment
 * @offset: first byte, any
 * @bytes: length, not 0
 * @flags: SKIFF_MAP_READ_ONLY, SKIFF_MAP_UNCACHED, SKIFF_MAP_ALL_ONES
 * @map: out: the map, good until skiff_unmap(), also when @segment is closed
 *
 * Return: 0 or a negative errno.
 */
int skiff_map(int segment, uint64_t offset, size_t bytes, uint64_t flags,
	      struct skiff_map *map);

/**
 * skiff_unmap - unmap a segment
 * @map: a map; afterwards it has no bytes
 *
 * Return: 0 or a negative errno.
 */
int skiff_unmap(struct skiff_map *map);

/**
 * skiff_next_event - wait for an event
 * @object: a context, a segment or a borrowed device
 * @timeout_ms: limit of the wait; 0: do not wait; negative: none
 * @event: out: the event
 *
 * Return: 1 with an event, 0 without one in time, or a negative errno;
 * -ECONNRESET when the object is lost, removed or ended and there is no event left.
 */
int skiff_next_event(int object, int timeout_ms, struct skiff_event *event);

/**
 * skiff_error - what the last function that failed in this thread has tried, and why it failed
 *
 * Return: a text that is good until the next failure in this thread; "" before the first.
 */
const char *skiff_error(void);

/**
 * skiff_mend - what helps against that
 *
 * Return: a text as of skiff_error(); "" when nothing general can be said.
 */
const char *skiff_mend(void);

/**
 * skiff_copy_out - copy shared memory to private memory
 * @from: shared
 * @to: private
 * @bytes: length
 *
 * Accesses to shared memory are naturally aligned and up to 16 bytes wide.
 * skiff_read() is the same with a check of the range.
 */
void skiff_copy_out(const volatile void *from, void *to, size_t bytes);

/**
 * skiff_copy_into - copy private memory to shared memory
 * @from: private
 * @to: shared
 * @bytes: length
 *
 * As skiff_copy_out(). skiff_write() is the same with a check of the range.
 */
void skiff_copy_into(const void *from, volatile void *to, size_t bytes);

/* Commands whose structure has nothing but its size to be filled in. */

/** skiff_get_info - state of this node */
static inline int skiff_get_info(int context, struct skiff_info *info)
{
	info->size = sizeof(*info);
	info->__reserved = 0;
	return skiff_command(context, SKIFF_IOC_INFO, info);
}

/** skiff_get_adapter - state of an adapter of this node */
static inline int skiff_get_adapter(int context, uint32_t adapter,
				    struct skiff_adapter_info *info)
{
	info->size = sizeof(*info);
	info->adapter = adapter;
	return skiff_command(context, SKIFF_IOC_ADAPTER_INFO, info);
}

/** skiff_get_node - state of a node */
static inline int skiff_get_node(int context, uint32_t node,
				 struct skiff_node_info *info)
{
	info->size = sizeof(*info);
	info->node = node;
	return skiff_command(context, SKIFF_IOC_NODE_INFO, info);
}

/** skiff_create - make a segment; gives it, and its id in @create */
static inline int skiff_create(int context, struct skiff_segment_create *create)
{
	create->size = sizeof(*create);
	return skiff_command(context, SKIFF_IOC_SEGMENT_CREATE, create);
}

/** skiff_connect - connect to a segment; gives the connection, and the segment's length in @connect */
static inline int skiff_connect(int context, struct skiff_segment_connect *connect)
{
	connect->size = sizeof(*connect);
	return skiff_command(context, SKIFF_IOC_SEGMENT_CONNECT, connect);
}

/** skiff_query - find the available segment with the lowest id from query->id up */
static inline int skiff_query(int context, struct skiff_segment_query *query)
{
	query->size = sizeof(*query);
	return skiff_command(context, SKIFF_IOC_SEGMENT_QUERY, query);
}

/** skiff_prepare - make a segment's memory reachable through an adapter */
static inline int skiff_prepare(int segment, uint32_t adapter)
{
	struct skiff_segment_adapter argument = { sizeof(argument), adapter };

	return skiff_command(segment, SKIFF_IOC_SEGMENT_PREPARE, &argument);
}

/** skiff_set_available - let others connect through an adapter */
static inline int skiff_set_available(int segment, uint32_t adapter)
{
	struct skiff_segment_adapter argument = { sizeof(argument), adapter };

	return skiff_command(segment, SKIFF_IOC_SEGMENT_SET_AVAILABLE, &argument);
}

/** skiff_set_unavailable - let no others connect through an adapter */
static inline int skiff_set_unavailable(int segment, uint32_t adapter)
{
	struct skiff_segment_adapter argument = { sizeof(argument), adapter };

	return skiff_command(segment, SKIFF_IOC_SEGMENT_SET_UNAVAILABLE, &argument);
}

/** skiff_remove - remove a segment; flags: SKIFF_REMOVE_FORCE */
static inline int skiff_remove(int segment, uint32_t flags)
{
	struct skiff_segment_remove argument = { sizeof(argument), flags };

	return skiff_command(segment, SKIFF_IOC_SEGMENT_REMOVE, &argument);
}

/** skiff_revoke - take away the connections of a node, or of all with SKIFF_NODE_LOCAL */
static inline int skiff_revoke(int segment, struct skiff_segment_revoke *revoke)
{
	revoke->size = sizeof(*revoke);
	return skiff_command(segment, SKIFF_IOC_SEGMENT_REVOKE, revoke);
}

/** skiff_get_segment - state of a local segment */
static inline int skiff_get_segment(int segment, struct skiff_segment_info *info)
{
	info->size = sizeof(*info);
	return skiff_command(segment, SKIFF_IOC_SEGMENT_INFO, info);
}

/** skiff_disconnect - end a connection that is not mapped */
static inline int skiff_disconnect(int segment)
{
	struct skiff_remote_disconnect argument = { sizeof(argument), 0 };

	return skiff_command(segment, SKIFF_IOC_REMOTE_DISCONNECT, &argument);
}

/** skiff_get_remote - state of a connection */
static inline int skiff_get_remote(int segment, struct skiff_remote_info *info)
{
	info->size = sizeof(*info);
	return skiff_command(segment, SKIFF_IOC_REMOTE_INFO, info);
}

/*
 * Devices. Lending needs CAP_SYS_ADMIN. The structures that are not passed as
 * such have no results; each wait for the lender takes at most 5 seconds then.
 */

/** skiff_lend_add - add a function of this node to the pool; its id is in @add */
static inline int skiff_lend_add(int context, struct skiff_lend_add *add)
{
	add->size = sizeof(*add);
	return skiff_command(context, SKIFF_IOC_LEND_ADD, add);
}

/** skiff_lend_remove - take a device out of the pool; flags: SKIFF_LEND_FORCE */
static inline int skiff_lend_remove(int context, uint32_t fdid, uint32_t flags)
{
	struct skiff_lend_device argument = { sizeof(argument), flags, fdid, 0 };

	return skiff_command(context, SKIFF_IOC_LEND_REMOVE, &argument);
}

/** skiff_lend_available - let others borrow a device; flags: SKIFF_LEND_UNSAFE */
static inline int skiff_lend_available(int context, uint32_t fdid, uint32_t flags)
{
	struct skiff_lend_device argument = { sizeof(argument), flags, fdid, 0 };

	return skiff_command(context, SKIFF_IOC_LEND_AVAILABLE, &argument);
}

/** skiff_lend_unavailable - let nobody borrow a device; flags: SKIFF_LEND_FORCE */
static inline int skiff_lend_unavailable(int context, uint32_t fdid, uint32_t flags)
{
	struct skiff_lend_device argument = { sizeof(argument), flags, fdid, 0 };

	return skiff_command(context, SKIFF_IOC_LEND_UNAVAILABLE, &argument);
}

/** skiff_lend_connect - show the pool of this node to another one */
static inline int skiff_lend_connect(int context, uint32_t node)
{
	struct skiff_lend_peer argument = { sizeof(argument), 0, node, 0 };

	return skiff_command(context, SKIFF_IOC_LEND_CONNECT, &argument);
}

/** skiff_lend_disconnect - hide the pool of this node from another one */
static inline int skiff_lend_disconnect(int context, uint32_t node)
{
	struct skiff_lend_peer argument = { sizeof(argument), 0, node, 0 };

	return skiff_command(context, SKIFF_IOC_LEND_DISCONNECT, &argument);
}

/** skiff_device_query - find the device with the lowest id from query->from up */
static inline int skiff_device_query(int context, struct skiff_device_query *query)
{
	query->size = sizeof(*query);
	return skiff_command(context, SKIFF_IOC_DEVICE_QUERY, query);
}

/** skiff_device_borrow - borrow a device; gives it */
static inline int skiff_device_borrow(int context, struct skiff_device_borrow *borrow)
{
	borrow->size = sizeof(*borrow);
	return skiff_command(context, SKIFF_IOC_DEVICE_BORROW, borrow);
}

/** skiff_get_device - state of a borrowed device */
static inline int skiff_get_device(int device, struct skiff_device_info *info)
{
	info->size = sizeof(*info);
	return skiff_command(device, SKIFF_IOC_DEVICE_INFO, info);
}

/** skiff_device_return - give a device back whose segments are not connected */
static inline int skiff_device_return(int device)
{
	struct skiff_device_plain argument = { sizeof(argument), 0, 0, 0 };

	return skiff_command(device, SKIFF_IOC_DEVICE_RETURN, &argument);
}

/** skiff_device_release_exclusive - let others borrow the device as well */
static inline int skiff_device_release_exclusive(int device)
{
	struct skiff_device_plain argument = { sizeof(argument), 0, 0, 0 };

	return skiff_command(device, SKIFF_IOC_DEVICE_RELEASE_EXCLUSIVE, &argument);
}

/** skiff_device_reset - reset a device that is borrowed exclusively */
static inline int skiff_device_reset(int device)
{
	struct skiff_device_plain argument = { sizeof(argument), 0, 0, 0 };

	return skiff_command(device, SKIFF_IOC_DEVICE_RESET, &argument);
}

/** skiff_device_segment_create - make memory of the device; flags: enum skiff_access_hints */
static inline int skiff_device_segment_create(int device,
					      struct skiff_device_segment *segment)
{
	segment->size = sizeof(*segment);
	return skiff_command(device, SKIFF_IOC_DEVICE_SEGMENT_CREATE, segment);
}

/** skiff_device_segment_connect - connect to a BAR or to memory of a device; gives a remote segment */
static inline int skiff_device_segment_connect(int device,
					       struct skiff_device_segment *segment)
{
	segment->size = sizeof(*segment);
	return skiff_command(device, SKIFF_IOC_DEVICE_SEGMENT_CONNECT, segment);
}

/** skiff_device_map - map a segment for a device; the address is in @map */
static inline int skiff_device_map(int device, struct skiff_device_map *map)
{
	map->size = sizeof(*map);
	return skiff_command(device, SKIFF_IOC_DEVICE_MAP, map);
}

/** skiff_device_unmap - take memory from a device; map: skiff_device_map.map */
static inline int skiff_device_unmap(int device, uint32_t map)
{
	struct skiff_device_unmap argument = { sizeof(argument), 0, map, 0 };

	return skiff_command(device, SKIFF_IOC_DEVICE_UNMAP, &argument);
}

/** skiff_device_config_read - read 1, 2 or 4 bytes of the configuration space */
static inline int skiff_device_config_read(int device, uint32_t offset,
					   uint32_t width, uint32_t *value)
{
	struct skiff_device_config argument = { sizeof(argument), 0, offset, width, 0, 0 };
	int error = skiff_command(device, SKIFF_IOC_DEVICE_CONFIG_READ, &argument);

	if (error == 0)
		*value = argument.value;
	return error;
}

/** skiff_device_config_write - write 1, 2 or 4 bytes of the configuration space */
static inline int skiff_device_config_write(int device, uint32_t offset,
					    uint32_t width, uint32_t value)
{
	struct skiff_device_config argument = { sizeof(argument), 0, offset, width, value, 0 };

	return skiff_command(device, SKIFF_IOC_DEVICE_CONFIG_WRITE, &argument);
}

/** skiff_device_bus_master - let a device reach memory, or stop it; flags: SKIFF_BUS_MASTER_ON */
static inline int skiff_device_bus_master(int device, uint32_t flags)
{
	struct skiff_device_bus_master argument = { sizeof(argument), flags, 0, 0 };

	return skiff_command(device, SKIFF_IOC_DEVICE_BUS_MASTER, &argument);
}

/** skiff_device_vectors - give a device up to @count interrupt vectors; how many it has */
static inline int skiff_device_vectors(int device, uint32_t count)
{
	struct skiff_device_vectors argument = { sizeof(argument), 0, count, 0 };
	int error = skiff_command(device, SKIFF_IOC_DEVICE_VECTORS, &argument);

	return error < 0 ? error : (int)argument.count;
}

/** skiff_device_vector - signal an eventfd for each interrupt of a vector; -1: none */
static inline int skiff_device_vector(int device, uint32_t index, int eventfd)
{
	struct skiff_device_vector argument = { sizeof(argument), 0, index, eventfd };

	return skiff_command(device, SKIFF_IOC_DEVICE_VECTOR, &argument);
}

/*
 * The data path. Words are naturally aligned single accesses; that they are
 * within the map is asserted, unless NDEBUG is defined.
 */

/** skiff_reaches - whether a range is within a map */
static inline int skiff_reaches(const struct skiff_map *map, size_t offset,
				size_t bytes)
{
	return offset <= map->bytes && bytes <= map->bytes - offset;
}

#define SKIFF_WORD(bits)						\
/** Load one word. */							\
static inline uint##bits##_t skiff_load##bits(				\
	const struct skiff_map *map, size_t offset)			\
{									\
	assert(skiff_reaches(map, offset, bits / 8));			\
	assert((uintptr_t)(map->address + offset) % (bits / 8) == 0);	\
	return *(const volatile uint##bits##_t *)(map->address + offset); \
}									\
									\
/** Store one word; see skiff_flush(). */				\
static inline void skiff_store##bits(					\
	const struct skiff_map *map, size_t offset, uint##bits##_t value) \
{									\
	assert(skiff_reaches(map, offset, bits / 8));			\
	assert((uintptr_t)(map->address + offset) % (bits / 8) == 0);	\
	*(volatile uint##bits##_t *)(map->address + offset) = value;	\
}

SKIFF_WORD(8)
SKIFF_WORD(16)
SKIFF_WORD(32)
SKIFF_WORD(64)
#undef SKIFF_WORD

/**
 * skiff_flush - order stores: those before it reach the bus before those after it
 *
 * It empties the CPU's write-combining buffers. That the peer has the data is
 * only known when it says so.
 */
static inline void skiff_flush(void)
{
	__asm__ volatile("sfence" : : : "memory");
}

/**
 * skiff_read - copy from a map
 *
 * Return: 0, or -EINVAL when that leads out of the map.
 */
static inline int skiff_read(const struct skiff_map *map, size_t offset,
			     void *to, size_t bytes)
{
	if (!skiff_reaches(map, offset, bytes))
		return -EINVAL;
	if (bytes == 8 && (uintptr_t)(map->address + offset) % 8 == 0) {
		uint64_t word = skiff_load64(map, offset);

		__builtin_memcpy(to, &word, sizeof(word));
	} else {
		skiff_copy_out(map->address + offset, to, bytes);
	}
	return 0;
}

/**
 * skiff_write - copy to a map; the stores may be on their way when it returns
 *
 * Return: 0, or -EINVAL when that leads out of the map.
 */
static inline int skiff_write(const struct skiff_map *map, size_t offset,
			      const void *from, size_t bytes)
{
	if (!skiff_reaches(map, offset, bytes))
		return -EINVAL;
	if (bytes == 8 && (uintptr_t)(map->address + offset) % 8 == 0) {
		uint64_t word;

		__builtin_memcpy(&word, from, sizeof(word));
		skiff_store64(map, offset, word);
	} else {
		skiff_copy_into(from, map->address + offset, bytes);
	}
	return 0;
}

#ifdef __cplusplus
}
#endif

#endif /* _SKIFF_H */
