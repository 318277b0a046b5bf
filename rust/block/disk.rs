// SPDX-License-Identifier: GPL-2.0

//! A disk: a block device that programs can open.

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

use kernel::{
    bindings,
    device::Device,
    error::{
        from_err_ptr,
        to_result, //
    },
    fmt,
    prelude::*,
    static_lock_class,
    str::CString,
    sync::Arc, //
};

use crate::{
    bindings as own,
    Driver,
    Limits,
    TagSet,
    THIS_MODULE, //
};

/// A disk. Dropping it removes it, which waits for its requests to end; see [`Disk::kill`].
///
/// # Invariants
///
/// `raw` is a disk of `tags` that was added; its queue points to `data`, a boxed `D::Data`.
pub struct Disk<D: Driver> {
    raw: NonNull<bindings::gendisk>,
    data: NonNull<D::Data>,
    /// Last: the disk's queues are gone before it goes.
    _tags: Arc<TagSet<D>>,
}

// SAFETY: A disk may be removed by any thread.
unsafe impl<D: Driver> Send for Disk<D> {}
// SAFETY: What is done through shared references is locked by the block layer.
unsafe impl<D: Driver> Sync for Disk<D> {}

/// A disk that is not added yet, with its data.
struct Unborn<D: Driver> {
    raw: NonNull<bindings::gendisk>,
    data: NonNull<D::Data>,
    _owns: PhantomData<D>,
}

impl<D: Driver> Drop for Unborn<D> {
    fn drop(&mut self) {
        // SAFETY:
        // - Nobody else knows the disk, which goes with its queue, and after it the data, which came from a box.
        unsafe {
            bindings::put_disk(self.raw.as_ptr());
            drop(KBox::from_raw(self.data.as_ptr()));
        }
    }
}

impl<D: Driver> Disk<D> {
    const OPERATIONS: bindings::block_device_operations = bindings::block_device_operations {
        submit_bio: None,
        open: None,
        release: None,
        ioctl: None,
        compat_ioctl: None,
        check_events: None,
        unlock_native_capacity: None,
        getgeo: None,
        set_read_only: None,
        swap_slot_free_notify: None,
        report_zones: None,
        devnode: None,
        alternative_gpt_sector: None,
        get_unique_id: None,
        owner: THIS_MODULE,
        pr_ops: core::ptr::null(),
        free_disk: None,
        poll_bio: None,
    };

    /// Adds `/dev/NAME`, of at most 31 characters, with `sectors` of 512 bytes, below `parent` in sysfs. Its partition table is
    /// read before this returns. Process context.
    pub fn add(
        tags: &Arc<TagSet<D>>,
        parent: Option<&Device>,
        name: fmt::Arguments<'_>,
        sectors: u64,
        limits: &Limits,
        data: D::Data,
    ) -> Result<Self> {
        let name = CString::try_from_fmt(name)?;
        let name = name.to_bytes_with_nul();
        let data = KBox::new(data, GFP_KERNEL)?;
        let mut raw_limits: bindings::queue_limits = pin_init::zeroed();

        limits.apply(&mut raw_limits);
        let data = NonNull::from(KBox::leak(data));
        // SAFETY:
        // - The set and the limits are valid; the class is static.
        let raw = from_err_ptr(unsafe {
            bindings::__blk_mq_alloc_disk(
                tags.raw(),
                &mut raw_limits,
                data.as_ptr().cast(),
                static_lock_class!().as_ptr(),
            )
        });
        let raw = match raw.and_then(|raw| NonNull::new(raw).ok_or(ENOMEM)) {
            Ok(raw) => raw,
            Err(error) => {
                // SAFETY:
                // - It came from the box above, and nobody has it.
                drop(unsafe { KBox::from_raw(data.as_ptr()) });
                return Err(error);
            }
        };
        let unborn = Unborn::<D> {
            raw,
            data,
            _owns: PhantomData,
        };
        // SAFETY:
        // - Nobody else knows the disk yet.
        let disk = unsafe { &mut *raw.as_ptr() };

        disk.fops = &Self::OPERATIONS;
        for (to, from) in disk
            .disk_name
            .get_mut(..name.len())
            .ok_or(EINVAL)?
            .iter_mut()
            .zip(name)
        {
            // CAST: Bytes, whatever a C character is.
            *to = *from as c_char;
        }
        // SAFETY:
        // - The disk is not added yet; the parent is a transparent `struct device` that lives as long as it has children.
        to_result(unsafe {
            bindings::set_capacity(raw.as_ptr(), sectors);
            bindings::device_add_disk(
                parent.map_or(core::ptr::null_mut(), |parent| {
                    core::ptr::from_ref(parent).cast_mut().cast()
                }),
                raw.as_ptr(),
                core::ptr::null_mut(),
            )
        })?;
        core::mem::forget(unborn);
        // INVARIANT: Added, with the data that its queue was made with.
        Ok(Self {
            raw,
            data,
            _tags: tags.clone(),
        })
    }

    /// What the driver keeps for it.
    pub fn data(&self) -> &D::Data {
        // SAFETY:
        // - By the type's invariant.
        unsafe { self.data.as_ref() }
    }

    /// Says that it has another size, in sectors of 512 bytes. Process context.
    pub fn set_capacity(&self, sectors: u64) {
        // SAFETY:
        // - By the type's invariant; the block layer locks.
        unsafe { bindings::set_capacity_and_notify(self.raw.as_ptr(), sectors) };
    }

    /// Changes what its requests may look like, when none is under way. Process context; waits for requests.
    pub fn set_limits(&self, limits: &Limits) -> Result {
        let mut raw_limits: bindings::queue_limits = pin_init::zeroed();

        // SAFETY:
        // - By the type's invariant the disk has a queue, whose limits are locked until they are committed below.
        unsafe {
            let queue = (*self.raw.as_ptr()).queue;

            own::block_limits_start_update(queue, &mut raw_limits);
            limits.apply(&mut raw_limits);
            to_result(bindings::queue_limits_commit_update_frozen(
                queue,
                &mut raw_limits,
            ))
        }
    }

    /// The device is lost: from now on the block layer refuses what is asked of the disk, and who has mounted it is told. Requests
    /// that the driver has, or is given still, are the driver's to fail: it does so after this and before it drops the disk, and
    /// lets go of [`crate::Quiesced`]. Process context.
    pub fn kill(&self) {
        // SAFETY:
        // - By the type's invariant.
        unsafe { bindings::blk_mark_disk_dead(self.raw.as_ptr()) };
    }
}

impl<D: Driver> Drop for Disk<D> {
    fn drop(&mut self) {
        // SAFETY:
        // - By the type's invariant it was added. Once it is deleted its queues are gone, so nobody looks at the data, which came
        //   from a box.
        unsafe {
            bindings::del_gendisk(self.raw.as_ptr());
            bindings::put_disk(self.raw.as_ptr());
            drop(KBox::from_raw(self.data.as_ptr()));
        }
    }
}
