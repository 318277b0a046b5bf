// SPDX-License-Identifier: GPL-2.0
/*
 * A kernel client that borrows an NVMe controller and counts its interrupts. It
 * has nothing but the admin queue, whose vector is 0, and one command at a time,
 * so that each command is one interrupt. It does what is written into
 * /sys/module/skiff_aims/parameters/command; the write fails as the function does.
 */

#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/skiff.h>

static uint fdid;
module_param(fdid, uint, 0444);
MODULE_PARM_DESC(fdid, "the device");

static bool exclusive;
module_param(exclusive, bool, 0444);
MODULE_PARM_DESC(exclusive, "nobody else is to borrow it");

static ulong heard;
module_param(heard, ulong, 0444);
MODULE_PARM_DESC(heard, "interrupts of vector 0");

static ulong strange;
module_param(strange, ulong, 0444);
MODULE_PARM_DESC(strange, "interrupts that were not of vector 0 alone");

enum {
	CONFIGURATION = 0x14,
	STATUS = 0x1c,
	QUEUES = 0x24,
	SUBMISSIONS = 0x28,
	COMPLETIONS = 0x30,
	TAIL = 0x1000,
	HEAD = 0x1004,
	REGISTERS = 0x2000,
	/* Entries of 64 and of 16 bytes, and on. */
	ON = 6 << 16 | 4 << 20 | 1,
	READY = 1,
	DEPTH = 8,
	/* Get Features: the number of queues. Changes nothing. */
	GET_FEATURES = 0x0a,
	NUMBER_OF_QUEUES = 0x07,
	PHASE = 1 << 16,
	STATUS_FIELD = 0xfffe0000,
	LIMIT_MS = 5000,
};

static struct skiff_borrowed *device;
static struct skiff_map *map;
static struct skiff_dma *near;
static u32 tail, head, phase;
/* The controller has this module's queue, unless another sharer has given it one. */
static bool started;
static DECLARE_COMPLETION(raised);

static void interrupt(void *data, u64 vectors)
{
	if (vectors == 1)
		heard++;
	else
		strange++;
	complete(&raised);
}

static const struct skiff_borrow_ops ops = { .interrupt = interrupt };

static u8 __iomem *registers(void)
{
	return skiff_map_address(map);
}

static int wait_ready(u32 wanted)
{
	int waited;

	for (waited = 0; waited < LIMIT_MS; waited += 2) {
		if ((readl(registers() + STATUS) & READY) == wanted)
			return 0;
		msleep(2);
	}
	return -ETIMEDOUT;
}

static void write_address(u32 at, u64 address)
{
	writel(lower_32_bits(address), registers() + at);
	writel(upper_32_bits(address), registers() + at + 4);
}

/* The controller begins anew, with this module's queue. */
static int start(void)
{
	int error;

	writel(0, registers() + CONFIGURATION);
	error = wait_ready(0);
	if (error)
		return error;
	memset(near->memory, 0, near->bytes);
	tail = 0;
	head = 0;
	phase = PHASE;
	error = skiff_device_master(device, true);
	if (error)
		return error;
	writel((DEPTH - 1) << 16 | (DEPTH - 1), registers() + QUEUES);
	write_address(SUBMISSIONS, near->address);
	write_address(COMPLETIONS, near->address + PAGE_SIZE);
	writel(ON, registers() + CONFIGURATION);
	started = true;
	return wait_ready(READY);
}

static void submit(void)
{
	__le32 *entry = near->memory + tail * 64;

	memset(entry, 0, 64);
	entry[0] = cpu_to_le32(GET_FEATURES | tail << 16);
	entry[10] = cpu_to_le32(NUMBER_OF_QUEUES);
	tail = (tail + 1) % DEPTH;
	wmb();
	writel(tail, registers() + TAIL);
}

/* Takes the completion: -EAGAIN if there is none, -EIO if the command has failed. */
static int take(void)
{
	__le32 *entry = near->memory + PAGE_SIZE + head * 16;
	u32 status = le32_to_cpu(READ_ONCE(entry[3]));

	if ((status & PHASE) != phase)
		return -EAGAIN;
	head = (head + 1) % DEPTH;
	if (!head)
		phase ^= PHASE;
	writel(head, registers() + HEAD);
	return status & STATUS_FIELD ? -EIO : 0;
}

/* Commands, each after the interrupt of the one before. */
static int command(u32 count)
{
	int error = 0;

	while (count-- && !error) {
		reinit_completion(&raised);
		submit();
		if (!wait_for_completion_timeout(&raised, msecs_to_jiffies(LIMIT_MS)))
			return -ETIMEDOUT;
		error = take();
	}
	return error;
}

/* Commands whose interrupts nobody waits for. */
static int silent(u32 count)
{
	int error = 0, waited;

	while (count-- && !error) {
		submit();
		for (waited = 0; waited < LIMIT_MS; waited += 2) {
			error = take();
			if (error != -EAGAIN)
				break;
			msleep(2);
		}
	}
	return error;
}

static int obey(const char *text)
{
	u64 vectors;
	u32 count;

	if (sscanf(text, "listen %llx", &vectors) == 1)
		return skiff_device_listen(device, vectors);
	if (!strncmp(text, "start", 5))
		return start();
	if (!strncmp(text, "reset", 5))
		return skiff_device_reset(device, 0);
	if (sscanf(text, "command %u", &count) == 1)
		return command(count);
	if (sscanf(text, "silent %u", &count) == 1)
		return silent(count);
	return -EINVAL;
}

static int command_set(const char *text, const struct kernel_param *kp)
{
	return device ? obey(text) : -ENODEV;
}

static const struct kernel_param_ops command_ops = { .set = command_set };
module_param_cb(command, &command_ops, NULL, 0200);
MODULE_PARM_DESC(command, "what to do");

static void give_up(void)
{
	struct skiff_borrowed *borrowed = device;

	if (started)
		writel(0, registers() + CONFIGURATION);
	device = NULL;
	if (!IS_ERR_OR_NULL(near))
		skiff_dma_free(near);
	if (!IS_ERR_OR_NULL(map))
		skiff_unmap(map);
	skiff_return(borrowed);
}

static int __init skiff_aims_init(void)
{
	u32 flags = exclusive ? SKIFF_BORROW_EXCLUSIVE : 0;
	struct skiff_borrowed *made = skiff_borrow(fdid, flags, &ops, NULL, 0);
	int count;

	if (IS_ERR(made))
		return PTR_ERR(made);
	device = made;
	map = skiff_device_bar(device, 0, 0, REGISTERS);
	near = skiff_dma_alloc(device, 2 * PAGE_SIZE, SKIFF_PLACE_CPU, 0);
	count = skiff_device_vectors(device, 1);
	if (!IS_ERR(map) && !IS_ERR(near) && count > 0)
		return 0;
	pr_err("registers %pe, memory %pe, %d vectors\n", map, near, count);
	give_up();
	return -EIO;
}

static void __exit skiff_aims_exit(void)
{
	give_up();
}

module_init(skiff_aims_init);
module_exit(skiff_aims_exit);
MODULE_DESCRIPTION("A kernel client that counts interrupts of an NVMe controller for tests");
MODULE_LICENSE("GPL");
