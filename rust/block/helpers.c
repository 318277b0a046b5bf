// SPDX-License-Identifier: GPL-2.0

#include <linux/highmem.h>
#include <linux/io.h>
#include <linux/mm.h>

#include "helpers.h"

u64 skiff_helper_block_page_to_phys(struct page *page)
{
	return page_to_phys(page);
}

void *skiff_helper_block_map_pfn(unsigned long pfn)
{
	return kmap_local_pfn(pfn);
}

void skiff_helper_block_unmap(const void *address)
{
	kunmap_local(address);
}

bool skiff_helper_block_add_to_batch(struct request *request,
				     struct io_comp_batch *batch, bool is_error)
{
	return blk_mq_add_to_batch(request, batch, is_error,
				   blk_mq_end_request_batch);
}

void skiff_helper_block_limits_start_update(struct request_queue *queue,
					    struct queue_limits *limits)
{
	*limits = queue_limits_start_update(queue);
}
