// SPDX-License-Identifier: GPL-2.0
/*
 * The symbols of include/linux/skiff.h, whose functions are in
 * rust/skiff/kapi/ffi. The header's types are seen here, so that symbols have
 * versions with CONFIG_MODVERSIONS.
 */

#include <linux/export.h>
#include <linux/skiff.h>

EXPORT_SYMBOL_GPL(skiff_node);
EXPORT_SYMBOL_GPL(skiff_find_device);

EXPORT_SYMBOL_GPL(skiff_channel_open);
EXPORT_SYMBOL_GPL(skiff_channel_send);
EXPORT_SYMBOL_GPL(skiff_channel_close);

EXPORT_SYMBOL_GPL(skiff_segment_create);
EXPORT_SYMBOL_GPL(skiff_segment_address);
EXPORT_SYMBOL_GPL(skiff_segment_offer);
EXPORT_SYMBOL_GPL(skiff_segment_withdraw);
EXPORT_SYMBOL_GPL(skiff_segment_remove);
EXPORT_SYMBOL_GPL(skiff_segment_connect);
EXPORT_SYMBOL_GPL(skiff_remote_bytes);
EXPORT_SYMBOL_GPL(skiff_remote_map);
EXPORT_SYMBOL_GPL(skiff_disconnect);

EXPORT_SYMBOL_GPL(skiff_map_address);
EXPORT_SYMBOL_GPL(skiff_unmap);

EXPORT_SYMBOL_GPL(skiff_borrow);
EXPORT_SYMBOL_GPL(skiff_return);
EXPORT_SYMBOL_GPL(skiff_release_exclusive);
EXPORT_SYMBOL_GPL(skiff_device_reset);
EXPORT_SYMBOL_GPL(skiff_device_master);
EXPORT_SYMBOL_GPL(skiff_device_config_read);
EXPORT_SYMBOL_GPL(skiff_device_config_write);
EXPORT_SYMBOL_GPL(skiff_device_vectors);
EXPORT_SYMBOL_GPL(skiff_device_listen);
EXPORT_SYMBOL_GPL(skiff_device_bar);
EXPORT_SYMBOL_GPL(skiff_dma_alloc);
EXPORT_SYMBOL_GPL(skiff_dma_free);

EXPORT_SYMBOL_GPL(skiff_window_create);
EXPORT_SYMBOL_GPL(skiff_window_direct);
EXPORT_SYMBOL_GPL(skiff_window_address);
EXPORT_SYMBOL_GPL(skiff_window_memory);
EXPORT_SYMBOL_GPL(skiff_window_link);
EXPORT_SYMBOL_GPL(skiff_window_commit);
EXPORT_SYMBOL_GPL(skiff_window_unlink);
EXPORT_SYMBOL_GPL(skiff_window_page);
EXPORT_SYMBOL_GPL(skiff_window_shut);
EXPORT_SYMBOL_GPL(skiff_window_free);
