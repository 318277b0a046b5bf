// SPDX-License-Identifier: GPL-2.0

#include <linux/io.h>

#include <asm/barrier.h>

#include "helpers.h"

void skiff_helper_client_wmb(void)
{
	wmb();
}

void skiff_helper_client_dma_rmb(void)
{
	dma_rmb();
}

void skiff_helper_client_dma_mb(void)
{
	dma_mb();
}

void skiff_helper_client_write_longs(void __iomem *to, const u64 *from, size_t count)
{
	__iowrite64_copy(to, from, count);
}
