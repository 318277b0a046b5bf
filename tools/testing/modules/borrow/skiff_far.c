// SPDX-License-Identifier: GPL-2.0
/*
 * A kernel client that maps a page of another node's segment. Its first word can
 * be read and written as /sys/module/skiff_far/parameters/word.
 */

#include <linux/io.h>
#include <linux/module.h>
#include <linux/skiff.h>

static uint node;
module_param(node, uint, 0444);
MODULE_PARM_DESC(node, "the segment's owner");

static uint id;
module_param(id, uint, 0444);
MODULE_PARM_DESC(id, "the segment's id");

static struct skiff_remote *remote;
static struct skiff_map *map;

static int get_word(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%x\n", map ? readl(skiff_map_address(map)) : 0);
}

static int set_word(const char *value, const struct kernel_param *kp)
{
	u32 word;
	int error = kstrtou32(value, 0, &word);

	if (!error && map) {
		writel(word, skiff_map_address(map));
		wmb();
	}
	return error;
}

static const struct kernel_param_ops word_ops = {
	.get = get_word,
	.set = set_word,
};
module_param_cb(word, &word_ops, NULL, 0644);
MODULE_PARM_DESC(word, "the first word of the segment");

static int __init skiff_far_init(void)
{
	struct skiff_map *mapped;

	remote = skiff_segment_connect(node, id, NULL, NULL, 0);
	if (IS_ERR(remote))
		return PTR_ERR(remote);
	mapped = skiff_remote_map(remote, 0, PAGE_SIZE, SKIFF_MAP_WC);
	if (IS_ERR(mapped)) {
		skiff_disconnect(remote);
		return PTR_ERR(mapped);
	}
	map = mapped;
	return 0;
}

static void __exit skiff_far_exit(void)
{
	skiff_unmap(map);
	skiff_disconnect(remote);
}

module_init(skiff_far_init);
module_exit(skiff_far_exit);
MODULE_DESCRIPTION("A kernel client that maps a segment for tests");
MODULE_LICENSE("GPL");
