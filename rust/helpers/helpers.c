// SPDX-License-Identifier: GPL-2.0

#include <linux/anon_inodes.h>
#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/uidgid.h>
#include <linux/user_namespace.h>
#include <asm/barrier.h>
#include <linux/cpumask.h>
#include <linux/device.h>
#include <linux/dma-mapping.h>
#include <linux/gfp.h>
#include <linux/interrupt.h>
#include <linux/iommu-dma.h>
#include <linux/irq.h>
#include <linux/mm.h>
#include <linux/msi.h>
#include <linux/panic.h>
#include <linux/pci.h>
#include <linux/spinlock.h>
#include <linux/topology.h>
#include <linux/vmalloc.h>

#include "helpers.h"

void skiff_helper_rmb(void)
{
	rmb();
}

void skiff_helper_wmb(void)
{
	wmb();
}

u32 skiff_helper_current_euid_init_ns(void)
{
	return from_kuid(&init_user_ns, current_euid());
}

u32 skiff_helper_current_egid_init_ns(void)
{
	return from_kgid(&init_user_ns, current_egid());
}

void skiff_helper_add_taint_user(void)
{
	add_taint(TAINT_USER, LOCKDEP_STILL_OK);
}

struct file *skiff_helper_anon_inode_create_getfile(const char *name, const struct file_operations *fops,
						    void *private, int flags)
{
	return anon_inode_create_getfile(name, fops, private, flags, NULL);
}

bool skiff_helper_kiocb_may_wait(const struct kiocb *kiocb)
{
	return !(kiocb->ki_flags & IOCB_NOWAIT) && !(kiocb->ki_filp->f_flags & O_NONBLOCK);
}

void skiff_helper_device_lock(struct device *dev)
{
	device_lock(dev);
}

void skiff_helper_device_unlock(struct device *dev)
{
	device_unlock(dev);
}

u32 skiff_helper_pci_domain_of(const struct pci_dev *dev)
{
	return pci_domain_nr(dev->bus);
}

void skiff_helper_msi_message(unsigned int irq, u64 *address, u32 *data)
{
	struct msi_msg message;

	get_cached_msi_msg(irq, &message);
	*address = ((u64)message.address_hi << 32) | message.address_lo;
	*data = message.data;
}

int skiff_helper_irq_use_first_cpu(unsigned int irq)
{
	return irq_set_affinity(irq, cpumask_of(0));
}

void skiff_helper_msi_set_message(unsigned int irq, u64 address, u32 data)
{
	struct msi_msg message = {
		.address_lo = lower_32_bits(address),
		.address_hi = upper_32_bits(address),
		.data = data,
	};

	pci_write_msi_msg(irq, &message);
}

void skiff_helper_irq_stay(unsigned int irq)
{
	irq_set_status_flags(irq, IRQ_NO_BALANCING);
}

void skiff_helper_irq_move(unsigned int irq)
{
	irq_clear_status_flags(irq, IRQ_NO_BALANCING);
}

bool skiff_helper_pci_msix_on(const struct pci_dev *dev)
{
	return dev->msix_enabled;
}

struct page *skiff_helper_alloc_block(unsigned int order)
{
	return alloc_pages(GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN | __GFP_NORETRY, order);
}

struct page *skiff_helper_alloc_single(void)
{
	return alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN | __GFP_RETRY_MAYFAIL);
}

struct page *skiff_helper_alloc_contig(unsigned long pages)
{
	return alloc_contig_pages(pages, GFP_KERNEL | __GFP_NOWARN, numa_mem_id(), NULL);
}

unsigned long skiff_helper_totalram_pages(void)
{
	return totalram_pages();
}

u64 skiff_helper_page_to_pfn(const struct page *page)
{
	return page_to_pfn(page);
}

struct page *skiff_helper_virt_to_page(const void *address)
{
	return virt_to_page(address);
}

void *skiff_helper_pfn_to_kaddr(u64 pfn)
{
	return page_address(pfn_to_page(pfn));
}

struct page *skiff_helper_pfn_to_page(u64 pfn)
{
	return pfn_to_page(pfn);
}

void *skiff_helper_vmap_kernel(struct page **pages, unsigned int count)
{
	return vmap(pages, count, VM_MAP, PAGE_KERNEL);
}

void skiff_helper_vunmap_kernel(const void *address)
{
	vunmap(address);
}

unsigned long skiff_helper_spin_lock_irqsave(spinlock_t *lock)
{
	unsigned long flags;

	spin_lock_irqsave(lock, flags);
	return flags;
}

void skiff_helper_spin_unlock_irqrestore(spinlock_t *lock, unsigned long flags)
{
	spin_unlock_irqrestore(lock, flags);
}

bool skiff_helper_use_dma_iommu(struct device *dev)
{
	return use_dma_iommu(dev);
}

int skiff_helper_dma_mapping_error(struct device *dev, dma_addr_t addr)
{
	return dma_mapping_error(dev, addr);
}

void skiff_helper_vm_flags_mod(struct vm_area_struct *vma, vm_flags_t set, vm_flags_t clear)
{
	vm_flags_mod(vma, set, clear);
}

bool skiff_helper_vma_may_share(const struct vm_area_struct *vma)
{
	return vma->vm_flags & VM_MAYSHARE;
}

unsigned long skiff_helper_rlimit_memlock(void)
{
	return rlimit(RLIMIT_MEMLOCK);
}

pgprot_t skiff_helper_pgprot_noncached(pgprot_t prot)
{
	return pgprot_noncached(prot);
}
