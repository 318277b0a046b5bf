/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Barriers and a copy, as functions. Rust sees them without the prefix, as
 * bindings::NAME, beside the API of skiff.ko.
 */
#ifndef _SKIFF_CLIENT_HELPERS_H
#define _SKIFF_CLIENT_HELPERS_H

#include <linux/skiff.h>

void skiff_helper_client_wmb(void);
void skiff_helper_client_dma_rmb(void);
void skiff_helper_client_dma_mb(void);
void skiff_helper_client_write_longs(void __iomem *to, const u64 *from, size_t count);

#endif /* _SKIFF_CLIENT_HELPERS_H */
