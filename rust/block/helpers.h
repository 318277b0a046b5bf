/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Inline functions and macros of the block layer that neither the kernel crate
 * nor its bindings have, as functions and constants. None has a branch of its
 * own. Rust sees the functions without the prefix, as bindings::NAME.
 */
#ifndef _SKIFF_BLOCK_HELPERS_H
#define _SKIFF_BLOCK_HELPERS_H

#include <linux/blk-mq.h>
#include <linux/blkdev.h>

/* Pages of a request. */
u64 skiff_helper_block_page_to_phys(struct page *page);
void *skiff_helper_block_map_pfn(unsigned long pfn);
void skiff_helper_block_unmap(const void *address);

/* Requests that end together. */
bool skiff_helper_block_add_to_batch(struct request *request,
				     struct io_comp_batch *batch, bool is_error);

/* Limits of a queue, for queue_limits_commit_update_frozen(). */
void skiff_helper_block_limits_start_update(struct request_queue *queue,
					    struct queue_limits *limits);

#ifdef __BINDGEN__
static const u8 SKIFF_BLK_STS_NOTSUPP = (__force u8)BLK_STS_NOTSUPP;
static const u8 SKIFF_BLK_STS_TIMEOUT = (__force u8)BLK_STS_TIMEOUT;
static const u8 SKIFF_BLK_STS_NOSPC = (__force u8)BLK_STS_NOSPC;
static const u8 SKIFF_BLK_STS_TARGET = (__force u8)BLK_STS_TARGET;
static const u8 SKIFF_BLK_STS_MEDIUM = (__force u8)BLK_STS_MEDIUM;
static const u8 SKIFF_BLK_STS_PROTECTION = (__force u8)BLK_STS_PROTECTION;
static const u8 SKIFF_BLK_STS_RESOURCE = (__force u8)BLK_STS_RESOURCE;
static const u8 SKIFF_BLK_STS_IOERR = (__force u8)BLK_STS_IOERR;

static const u32 SKIFF_REQ_OP_MASK = (__force u32)REQ_OP_MASK;
static const u32 SKIFF_REQ_OP_READ = (__force u32)REQ_OP_READ;
static const u32 SKIFF_REQ_OP_WRITE = (__force u32)REQ_OP_WRITE;
static const u32 SKIFF_REQ_OP_FLUSH = (__force u32)REQ_OP_FLUSH;
static const u32 SKIFF_REQ_OP_DISCARD = (__force u32)REQ_OP_DISCARD;
static const u32 SKIFF_REQ_OP_WRITE_ZEROES = (__force u32)REQ_OP_WRITE_ZEROES;
static const u32 SKIFF_REQ_FUA = (__force u32)REQ_FUA;
static const u32 SKIFF_REQ_POLLED = (__force u32)REQ_POLLED;

static const u32 SKIFF_BLK_FEAT_WRITE_CACHE = (__force u32)BLK_FEAT_WRITE_CACHE;
static const u32 SKIFF_BLK_FEAT_FUA = (__force u32)BLK_FEAT_FUA;
static const u32 SKIFF_BLK_FEAT_ROTATIONAL = (__force u32)BLK_FEAT_ROTATIONAL;
#endif

#endif /* _SKIFF_BLOCK_HELPERS_H */
