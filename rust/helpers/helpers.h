/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Inline functions and macros of the kernel that neither the kernel crate nor
 * its bindings have, as functions. None has a branch of its own. Rust sees them
 * without the prefix, as skiff_ext::bindings::NAME.
 */
#ifndef _SKIFF_HELPERS_H
#define _SKIFF_HELPERS_H

#include <linux/mm_types.h>
#include <linux/spinlock_types.h>
#include <linux/types.h>

struct device;
struct file;
struct file_operations;
struct kiocb;
struct pci_dev;

void skiff_helper_rmb(void);
void skiff_helper_wmb(void);

/* Credentials of the current task, in numbers of the initial user namespace. */
u32 skiff_helper_current_euid_init_ns(void);
u32 skiff_helper_current_egid_init_ns(void);
void skiff_helper_add_taint_user(void);

/* Files. */
struct file *skiff_helper_anon_inode_create_getfile(const char *name, const struct file_operations *fops,
						    void *private, int flags);
bool skiff_helper_kiocb_may_wait(const struct kiocb *kiocb);

/* The driver core's lock of a device. */
void skiff_helper_device_lock(struct device *dev);
void skiff_helper_device_unlock(struct device *dev);

/* PCI functions, see ext/pci.rs. */
u32 skiff_helper_pci_domain_of(const struct pci_dev *dev);

/* Interrupts, see ext/irq. */
void skiff_helper_msi_message(unsigned int irq, u64 *address, u32 *data);
int skiff_helper_irq_use_first_cpu(unsigned int irq);
void skiff_helper_msi_set_message(unsigned int irq, u64 address, u32 data);
void skiff_helper_irq_stay(unsigned int irq);
void skiff_helper_irq_move(unsigned int irq);
bool skiff_helper_pci_msix_on(const struct pci_dev *dev);

/* Pages, see ext/page.rs. */
struct page *skiff_helper_alloc_block(unsigned int order);
struct page *skiff_helper_alloc_single(void);
struct page *skiff_helper_alloc_contig(unsigned long pages);
unsigned long skiff_helper_totalram_pages(void);
u64 skiff_helper_page_to_pfn(const struct page *page);
struct page *skiff_helper_virt_to_page(const void *address);
void *skiff_helper_pfn_to_kaddr(u64 pfn);

/* Memory in one piece, see ext/vmap.rs. */
struct page *skiff_helper_pfn_to_page(u64 pfn);
void *skiff_helper_vmap_kernel(struct page **pages, unsigned int count);
void skiff_helper_vunmap_kernel(const void *address);

/* Spinlocks, see ext/spin.rs. */
unsigned long skiff_helper_spin_lock_irqsave(spinlock_t *lock);
void skiff_helper_spin_unlock_irqrestore(spinlock_t *lock, unsigned long flags);

/* DMA, see ext/iova.rs. */
bool skiff_helper_use_dma_iommu(struct device *dev);
int skiff_helper_dma_mapping_error(struct device *dev, dma_addr_t addr);

/* Virtual memory areas, see ext/vma.rs. */
void skiff_helper_vm_flags_mod(struct vm_area_struct *vma, vm_flags_t set, vm_flags_t clear);
bool skiff_helper_vma_may_share(const struct vm_area_struct *vma);
unsigned long skiff_helper_rlimit_memlock(void);
pgprot_t skiff_helper_pgprot_noncached(pgprot_t prot);

/* Tracepoints, see trace.h. */
void skiff_helper_trace_slot_set(u32 adapter, u32 registers, u32 slot, u32 port, u64 base,
				 u32 uncached);
void skiff_helper_trace_slot_clear(u32 adapter, u32 registers, u32 slot, u32 port);
void skiff_helper_trace_msg_tx(u32 adapter, u32 port, u32 kind, u32 seq, u32 bytes);
void skiff_helper_trace_msg_rx(u32 adapter, u32 port, u32 kind, u32 seq, u32 bytes);
void skiff_helper_trace_connect(u32 outgoing, u32 node, u32 segment, u32 lease, u64 bytes, s32 error);
void skiff_helper_trace_revoke(u32 outgoing, u32 node, u32 segment, u32 lease);
void skiff_helper_trace_peer_up(u32 adapter, u32 port, u32 node, u64 generation, u32 resumed);
void skiff_helper_trace_peer_down(u32 adapter, u32 port, u32 node);

#endif /* _SKIFF_HELPERS_H */
