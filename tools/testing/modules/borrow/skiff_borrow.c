// SPDX-License-Identifier: GPL-2.0
/*
 * A kernel client that borrows QEMU's device for teaching (docs/specs/edu.rst of
 * QEMU) and tries all that it can. insmod fails when something is not as it
 * should be, and the log says what. With hold=1 it keeps the device, and shows
 * what becomes of it in /sys/module/skiff_borrow/parameters.
 */

#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/io.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/skiff.h>

static uint fdid;
module_param(fdid, uint, 0444);
MODULE_PARM_DESC(fdid, "the device");

static bool hold;
module_param(hold, bool, 0444);
MODULE_PARM_DESC(hold, "keep the device and everything of it until rmmod");

static bool leave;
module_param(leave, bool, 0444);
MODULE_PARM_DESC(leave, "with hold: give all up when the borrow has ended");

static bool brief;
module_param(brief, bool, 0444);
MODULE_PARM_DESC(brief, "make all that there is to make, and try nothing");

static uint ended;
module_param(ended, uint, 0444);
MODULE_PARM_DESC(ended, "how often the end of the borrow was told");

static uint bounce;
module_param(bounce, uint, 0444);
MODULE_PARM_DESC(bounce, "1: windows are memory, 0: pages are linked");

static int direct;
module_param(direct, int, 0444);
MODULE_PARM_DESC(direct, "what a direct window gives: 0 or an errno");

enum {
	ID = 0x00,
	LIVENESS = 0x04,
	RAISE = 0x60,
	ACKNOWLEDGE = 0x64,
	SOURCE = 0x80,
	TARGET = 0x88,
	COUNT = 0x90,
	COMMAND = 0x98,
	/* Where the device has memory of its own. */
	OWN = 0x40000,
	TO_DEVICE = 1,
	FROM_DEVICE = 3,
	PAGES = 3,
	CHUNKS = 4,
};

static struct skiff_borrowed *device;
static struct skiff_map *map;
static void __iomem *registers;
static struct skiff_dma *near;
static struct skiff_dma *far;
static struct skiff_window *window;
static DECLARE_COMPLETION(raised);
static u64 which;
static bool tried;
static atomic_t churned;
static struct task_struct *threads[CHUNKS];

static void interrupt(void *data, u64 vectors)
{
	which |= vectors;
	complete(&raised);
}

static void give_up(void);

static void left(struct work_struct *work)
{
	give_up();
}

static DECLARE_WORK(leaving, left);

static void event(void *data, u32 type)
{
	if (type != SKIFF_EVENT_ENDED)
		return;
	ended++;
	/* No object may be ended here, and insmod uses them until it has tried all. */
	if (tried && leave)
		schedule_work(&leaving);
}

static const struct skiff_borrow_ops ops = {
	.interrupt = interrupt,
	.event = event,
};

#define expect(condition)							\
	do {									\
		if (!(condition)) {						\
			pr_err("%s:%d: not so: %s\n", __func__, __LINE__, #condition); \
			return -EIO;						\
		}								\
	} while (0)

static int show_id(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%x\n", registers ? readl(registers + ID) : 0);
}

static const struct kernel_param_ops id_ops = { .get = show_id };
module_param_cb(id, &id_ops, NULL, 0444);
MODULE_PARM_DESC(id, "the id register, as it is now");

static int show_master(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%d\n", device ? skiff_device_master(device, true) : 0);
}

static const struct kernel_param_ops master_ops = { .get = show_master };
module_param_cb(master, &master_ops, NULL, 0444);
MODULE_PARM_DESC(master, "what turning bus mastering on gives now");

/* A map, a vector, memory on both sides and a window. */
static int make(void)
{
	map = skiff_device_bar(device, 0, 0, PAGE_SIZE);
	expect(!IS_ERR(map));
	registers = skiff_map_address(map);
	expect(skiff_device_listen(device, 1) == -ENOENT);
	expect(skiff_device_vectors(device, 4) == 1);
	expect(!skiff_device_listen(device, 1));
	/* Bus mastering carries the interrupt as it does data. */
	expect(!skiff_device_master(device, true));
	near = skiff_dma_alloc(device, PAGES * PAGE_SIZE - 1, SKIFF_PLACE_CPU, 0);
	expect(!IS_ERR(near) && near->bytes == PAGES * PAGE_SIZE);
	far = skiff_dma_alloc(device, PAGE_SIZE, SKIFF_PLACE_DEVICE, 0);
	expect(!IS_ERR(far) && far->bytes == PAGE_SIZE);
	window = skiff_window_create(device, CHUNKS, 2 * PAGE_SIZE, 0);
	expect(!IS_ERR(window));
	bounce = !!skiff_window_memory(window);
	return 0;
}

static int try_registers(void)
{
	u32 value = 0;

	expect(skiff_device_bar(device, 1, 0, PAGE_SIZE) == ERR_PTR(-ENOENT));
	expect(skiff_device_bar(device, 6, 0, PAGE_SIZE) == ERR_PTR(-ENOENT));
	expect(skiff_device_bar(device, 0, 1, PAGE_SIZE) == ERR_PTR(-EINVAL));
	expect(skiff_device_bar(device, 0, 0, 0) == ERR_PTR(-EINVAL));
	expect(skiff_device_bar(device, 0, SZ_1M, PAGE_SIZE) == ERR_PTR(-EINVAL));
	expect(skiff_device_bar(device, 0, 0, ~0ULL) == ERR_PTR(-EINVAL));
	expect((readl(registers + ID) & 0xff) == 0xed);
	writel(0x12345678, registers + LIVENESS);
	expect(readl(registers + LIVENESS) == ~0x12345678);
	expect(!skiff_device_config_read(device, 0, 4, &value));
	expect(value == 0x11e81234);
	expect(skiff_device_config_read(device, 2, 4, &value) == -EINVAL);
	expect(skiff_device_config_write(device, 4, 2, 7) == -EPERM);
	expect(skiff_device_config_write(device, 0x3c, 1, 0x100) == -EINVAL);
	expect(!skiff_device_config_write(device, 0x3c, 1, 0x5a));
	return 0;
}

static int try_vectors(void)
{
	int round;

	expect(skiff_device_vectors(device, 0) == -EINVAL);
	expect(skiff_device_listen(device, 2) == -ENOENT);
	for (round = 1; round <= 3; round++) {
		writel(round, registers + RAISE);
		expect(wait_for_completion_timeout(&raised, 10 * HZ));
		expect(which == 1);
		writel(round, registers + ACKNOWLEDGE);
	}
	expect(!skiff_device_listen(device, 0));
	writel(1, registers + RAISE);
	expect(!wait_for_completion_timeout(&raised, HZ / 5));
	writel(1, registers + ACKNOWLEDGE);
	return 0;
}

/* Has the device copy a page. */
static int copy(u64 source, u64 target, u32 command)
{
	int tries = 2000;

	writeq(source, registers + SOURCE);
	writeq(target, registers + TARGET);
	writeq(PAGE_SIZE, registers + COUNT);
	writel(command, registers + COMMAND);
	while (readl(registers + COMMAND) & 1) {
		expect(tries--);
		usleep_range(1000, 2000);
	}
	return 0;
}

/* From one address of the device to another, by its own memory. */
static int copy_through(u64 source, u64 target)
{
	return copy(source, OWN, TO_DEVICE) ?: copy(OWN, target, FROM_DEVICE);
}

static void fill(u32 *words, u32 seed)
{
	int at;

	for (at = 0; at < PAGE_SIZE / 4; at++)
		words[at] = seed * 2654435761u + at;
}

static int try_memory(void)
{
	u32 *pattern = (u32 *)get_zeroed_page(GFP_KERNEL);
	int error = -EIO;

	expect(pattern);
	expect(skiff_dma_alloc(device, 0, SKIFF_PLACE_CPU, 0) == ERR_PTR(-EINVAL));
	expect(skiff_dma_alloc(device, PAGE_SIZE, 2, 0) == ERR_PTR(-EINVAL));
	expect(IS_ERR(skiff_dma_alloc(device, ~0ULL, SKIFF_PLACE_CPU, 0)));
	expect(IS_ERR(skiff_dma_alloc(device, ~0ULL, SKIFF_PLACE_DEVICE, 0)));
	expect(!memchr_inv(near->memory, 0, near->bytes));
	fill(near->memory, 1);
	expect(!copy_through(near->address, near->address + PAGE_SIZE));
	expect(!memcmp(near->memory, near->memory + PAGE_SIZE, PAGE_SIZE));
	expect(!memchr_inv(near->memory + 2 * PAGE_SIZE, 0, PAGE_SIZE));
	fill(pattern, 2);
	memcpy_toio(far->io, pattern, PAGE_SIZE);
	wmb();
	error = copy_through(far->address, near->address + 2 * PAGE_SIZE);
	expect(!error && !memcmp(near->memory + 2 * PAGE_SIZE, pattern, PAGE_SIZE));
	free_page((unsigned long)pattern);
	return 0;
}

/* What was freed at the lender can be had again, more often than the lender allows at a time. */
static int try_again(void)
{
	struct skiff_dma *memory;
	int round;

	for (round = 0; round < 100; round++) {
		memory = skiff_dma_alloc(device, PAGE_SIZE, SKIFF_PLACE_DEVICE, 0);
		expect(!IS_ERR(memory));
		expect(!readl(memory->io));
		writel(1, memory->io);
		skiff_dma_free(memory);
	}
	return 0;
}

/* The device copies from chunk 1 to chunk 2 of a window whose chunks are memory. */
static int try_bounce(void)
{
	u8 *memory = skiff_window_memory(window);
	u64 address = skiff_window_address(window);

	expect(skiff_window_link(window, 0, 0, 0, 1) == -EOPNOTSUPP);
	fill((u32 *)(memory + 2 * PAGE_SIZE), 3);
	expect(!copy_through(address + 2 * PAGE_SIZE, address + 4 * PAGE_SIZE));
	expect(!memcmp(memory + 2 * PAGE_SIZE, memory + 4 * PAGE_SIZE, PAGE_SIZE));
	return 0;
}

static int link_pages(u32 chunk, u32 page, struct page *start, u32 pages)
{
	unsigned long flags;
	int error;

	/* Any context will do. */
	local_irq_save(flags);
	error = skiff_window_link(window, chunk, page, page_to_phys(start), pages);
	local_irq_restore(flags);
	return error;
}

static int commit_pages(u32 chunk, u32 pages)
{
	unsigned long flags;
	int error;

	local_irq_save(flags);
	error = skiff_window_commit(window, chunk, pages);
	local_irq_restore(flags);
	return error;
}

static void unlink_pages(u32 chunk, u32 pages)
{
	unsigned long flags;

	local_irq_save(flags);
	skiff_window_unlink(window, chunk, pages);
	local_irq_restore(flags);
}

/* The device copies from chunk 1, two pages that lie apart, to chunk 2, two pages that lie together. */
static int try_pages(struct page *first, struct page *second, struct page *both)
{
	u64 address = skiff_window_address(window);
	u8 *target = page_address(both);

	expect(link_pages(CHUNKS, 0, first, 1) == -EINVAL);
	expect(link_pages(1, 1, first, 1) == -EINVAL);
	expect(link_pages(1, 2, first, 1) == -EINVAL);
	expect(link_pages(1, 0, first, 0) == -EINVAL);
	expect(link_pages(1, 0, first, 3) == -EINVAL);
	expect(link_pages(1, 0, first, ~0) == -EINVAL);
	expect(skiff_window_link(window, 1, 0, page_to_phys(first) + 8, 1) == -EINVAL);
	expect(commit_pages(1, 1) == -EINVAL);
	expect(commit_pages(CHUNKS, 1) == -EINVAL);
	/* There is nothing to be unlinked. */
	unlink_pages(1, 2);
	unlink_pages(CHUNKS, 2);
	expect(!link_pages(1, 0, first, 1));
	expect(link_pages(1, 0, first, 1) == -EINVAL);
	expect(!link_pages(1, 1, second, 1));
	expect(link_pages(1, 2, first, 1) == -EINVAL);
	expect(commit_pages(1, 1) == -EINVAL);
	expect(!commit_pages(1, 2));
	expect(!link_pages(2, 0, both, 2));
	expect(!commit_pages(2, 2));
	fill(page_address(first), 4);
	fill(page_address(second), 5);
	expect(!copy_through(address + 2 * PAGE_SIZE, address + 4 * PAGE_SIZE));
	expect(!copy_through(address + 3 * PAGE_SIZE, address + 5 * PAGE_SIZE));
	expect(!memcmp(page_address(first), target, PAGE_SIZE));
	expect(!memcmp(page_address(second), target + PAGE_SIZE, PAGE_SIZE));
	unlink_pages(2, 2);
	memset(target, 0, 2 * PAGE_SIZE);
	/* Now nobody reaches them; what the device makes of that is its business. */
	expect(!copy_through(address + 2 * PAGE_SIZE, address + 4 * PAGE_SIZE));
	expect(!memchr_inv(target, 0, 2 * PAGE_SIZE));
	/* Once more, the other way round. */
	expect(!link_pages(2, 0, second, 1));
	expect(!commit_pages(2, 1));
	expect(!copy_through(address + 2 * PAGE_SIZE, address + 4 * PAGE_SIZE));
	expect(!memcmp(page_address(first), page_address(second), PAGE_SIZE));
	unlink_pages(1, 2);
	unlink_pages(2, 1);
	return 0;
}

static int try_linked(void)
{
	struct page *first = alloc_page(GFP_KERNEL);
	struct page *second = alloc_page(GFP_KERNEL);
	struct page *both = alloc_pages(GFP_KERNEL, 1);
	int error;

	expect(first && second && both);
	error = try_pages(first, second, both);
	if (error)
		/* Whatever is linked there may still be reached. */
		return error;
	__free_page(first);
	__free_page(second);
	__free_pages(both, 1);
	return 0;
}

/* Links and unlinks in a chunk of its own, as fast as it can. */
static int churn(void *data)
{
	u32 chunk = (unsigned long)data;
	struct page *page = alloc_pages(GFP_KERNEL, 1);
	int error = page ? 0 : -ENOMEM;

	while (!kthread_should_stop() && !error) {
		error = link_pages(chunk, 0, page, 1) ?: link_pages(chunk, 1, page + 1, 1) ?: commit_pages(chunk, 2);
		unlink_pages(chunk, 2);
		if (!error)
			atomic_inc(&churned);
		cond_resched();
	}
	/* The adapter may have gone. */
	if (error == -ENODEV)
		error = 0;
	else if (error)
		pr_err("chunk %u: %d\n", chunk, error);
	while (!kthread_should_stop())
		msleep(20);
	if (page)
		__free_pages(page, 1);
	return error;
}

static void stop_threads(void)
{
	int at;

	for (at = 0; at < CHUNKS; at++) {
		if (threads[at] && kthread_stop(threads[at]))
			pr_err("the thread of chunk %d has failed\n", at);
		threads[at] = NULL;
	}
}

static int start_threads(void)
{
	int at;

	for (at = 0; at < CHUNKS; at++) {
		threads[at] = kthread_run(churn, (void *)(unsigned long)at, "churn/%d", at);
		if (IS_ERR(threads[at])) {
			threads[at] = NULL;
			return -ENOMEM;
		}
	}
	return 0;
}

static int try_threads(void)
{
	expect(!start_threads());
	msleep(500);
	stop_threads();
	expect(atomic_read(&churned) > 4 * CHUNKS);
	return 0;
}

static int try_window(void)
{
	expect(skiff_window_create(device, 0, PAGE_SIZE, 0) == ERR_PTR(-EINVAL));
	expect(skiff_window_create(device, 1, PAGE_SIZE - 1, 0) == ERR_PTR(-EINVAL));
	expect(IS_ERR(skiff_window_create(device, ~0, PAGE_SIZE, 0)));
	return bounce ? try_bounce() : try_linked() ?: try_threads();
}

static int page_of(struct skiff_window *all, u64 start, u64 *address)
{
	unsigned long flags;
	int error;

	/* Any context will do. */
	local_irq_save(flags);
	error = skiff_window_page(all, start, address);
	local_irq_restore(flags);
	return error;
}

/* The device copies from one page of this node's memory to another, until it must not any more. */
static int try_pages_of_all(struct skiff_window *all, struct page *first, struct page *second)
{
	u64 from = 0, to = 0;

	expect(page_of(all, page_to_phys(first) + 8, &from) == -EINVAL);
	expect(page_of(all, 1ULL << 50, &from) == -ENXIO);
	/* What a PC has below 1 MiB for its screen is no memory. */
	expect(page_of(all, 0xa0000, &from) == -ENXIO);
	expect(!page_of(all, page_to_phys(first), &from));
	expect(!page_of(all, page_to_phys(second), &to));
	expect(skiff_window_link(all, 0, 0, page_to_phys(first), 1) == -EOPNOTSUPP);
	expect(!skiff_window_memory(all));
	fill(page_address(first), 6);
	memset(page_address(second), 0, PAGE_SIZE);
	expect(!copy_through(from, to));
	expect(!memcmp(page_address(first), page_address(second), PAGE_SIZE));
	expect(!skiff_window_shut(all, 0));
	/* Once is enough. */
	expect(!skiff_window_shut(all, 0));
	memset(page_address(second), 0, PAGE_SIZE);
	expect(!copy_through(from, to));
	expect(!memchr_inv(page_address(second), 0, PAGE_SIZE));
	return 0;
}

static int try_direct(void)
{
	struct page *first = alloc_page(GFP_KERNEL);
	struct page *second = alloc_page(GFP_KERNEL);
	struct skiff_window *all;
	u64 address;
	int error;

	expect(first && second);
	expect(skiff_window_page(window, 0, &address) == -EOPNOTSUPP);
	expect(skiff_window_shut(window, 0) == -EOPNOTSUPP);
	all = skiff_window_direct(device, 0);
	direct = PTR_ERR_OR_ZERO(all);
	if (!direct) {
		error = try_pages_of_all(all, first, second);
		skiff_window_free(all);
		if (error)
			/* Whoever has the pages next is not to find out what the device makes of them. */
			return error;
	}
	__free_page(first);
	__free_page(second);
	return 0;
}

static int try_all(void)
{
	return try_registers() ?: try_vectors() ?: try_memory() ?: try_again() ?: try_window() ?: try_direct();
}

static void give_up(void)
{
	struct skiff_borrowed *borrowed = device;

	device = NULL;
	registers = NULL;
	stop_threads();
	if (!IS_ERR_OR_NULL(window))
		skiff_window_free(window);
	if (!IS_ERR_OR_NULL(far))
		skiff_dma_free(far);
	if (!IS_ERR_OR_NULL(near))
		skiff_dma_free(near);
	if (!IS_ERR_OR_NULL(map))
		skiff_unmap(map);
	skiff_return(borrowed);
}

static int __init skiff_borrow_init(void)
{
	int error;

	expect(skiff_borrow(fdid, 2, &ops, NULL, 0) == ERR_PTR(-EINVAL));
	expect(skiff_borrow(fdid, 0, &ops, NULL, 60001) == ERR_PTR(-EINVAL));
	expect(skiff_borrow(~0, 0, &ops, NULL, 0) == ERR_PTR(-ENOENT));
	device = skiff_borrow(fdid, SKIFF_BORROW_EXCLUSIVE, &ops, NULL, 0);
	if (IS_ERR(device)) {
		pr_err("cannot borrow %x: %ld\n", fdid, PTR_ERR(device));
		return PTR_ERR(device);
	}
	error = make();
	if (!error && !brief)
		error = try_all();
	if (!error && hold && !bounce)
		error = start_threads();
	tried = true;
	if (error || !hold)
		give_up();
	return error;
}

static void __exit skiff_borrow_exit(void)
{
	flush_work(&leaving);
	if (device)
		give_up();
}

module_init(skiff_borrow_init);
module_exit(skiff_borrow_exit);
MODULE_DESCRIPTION("A kernel client that borrows a device for tests");
MODULE_LICENSE("GPL");
