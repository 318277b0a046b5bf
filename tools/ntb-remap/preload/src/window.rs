// SPDX-License-Identifier: GPL-2.0
//! The windows of this process: which address ranges they are, what each page shows, and every change of it.
//!
//! A fixed table of statics, so that a signal handler can search it without a lock and nothing is ever freed. A window's own spin lock protects all
//! its other fields and every change of its mapping; whoever holds it touches no window memory, so the SIGSEGV handler can always get it. A
//! thread that goes on after the window was given up notices by the generation.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use libc::{c_int, c_void};
use packets::wire::{MAX_WINDOW, PAGE};

use crate::raw;

/// Most windows at a time.
const WINDOWS: usize = 16;
/// Bytes of a page.
pub(crate) const PAGE_SIZE: usize = PAGE as usize;
const WORDS: usize = (MAX_WINDOW / PAGE / 64) as usize;
/// Most 0xff pages in one window at a time: each takes two of the process's mappings (vm.max_map_count, 65530 by default).
const MOST_LENT: u32 = 512;

/// One bit a page.
struct Bits([AtomicU64; WORDS]);

impl Bits {
    const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; WORDS])
    }

    fn get(&self, page: usize) -> bool {
        self.0[page / 64].load(Ordering::Relaxed) & (1 << (page % 64)) != 0
    }

    /// Sets or clears the bits of a range of pages and tells how many of them were set before.
    fn assign(&self, begin: usize, end: usize, value: bool) -> u32 {
        let mut before = 0;
        let mut page = begin;
        while page < end {
            let count = (64 - page % 64).min(end - page);
            let mask = (u64::MAX >> (64 - count)) << (page % 64);
            let word = &self.0[page / 64];
            let old = word.load(Ordering::Relaxed);
            before += (old & mask).count_ones();
            word.store(
                if value { old | mask } else { old & !mask },
                Ordering::Relaxed,
            );
            page += count;
        }
        before
    }

    /// The next run of set bits in a range of pages.
    fn next_run(&self, begin: usize, end: usize) -> Option<(usize, usize)> {
        let mut page = begin;
        while page < end {
            let word = self.0[page / 64].load(Ordering::Relaxed) >> (page % 64);
            if word == 0 {
                page = (page / 64 + 1) * 64;
                continue;
            }
            let first = page + word.trailing_zeros() as usize;
            let mut last = first;
            while last < end && self.get(last) {
                last += 1;
            }
            return (first < end).then_some((first, last));
        }
        None
    }
}

/// One mapping of a window file.
pub(crate) struct Window {
    locked: AtomicBool,
    /// First address; 0 when this entry of the table is free. Read without the lock as well.
    start: AtomicUsize,
    /// Length in bytes. Read without the lock as well.
    len: AtomicUsize,
    /// Counts the windows that this entry has held.
    generation: AtomicU64,
    /// The window's connection, -1 when there is none.
    socket: AtomicI32,
    dead_accesses: AtomicU64,
    /// Pages that show a file.
    live: Bits,
    /// Dead pages that show 0xff for the moment.
    lent: Bits,
    lent_count: AtomicU32,
}

/// A window as long as it is the one that it was.
#[derive(Clone, Copy)]
pub(crate) struct Handle {
    window: &'static Window,
    generation: u64,
}

static TABLE: [Window; WINDOWS] = [const { Window::new() }; WINDOWS];

struct Locked(&'static Window);

impl Drop for Locked {
    fn drop(&mut self) {
        self.0.locked.store(false, Ordering::Release);
    }
}

/// What a caught access turned out to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caught {
    /// No window's business.
    Foreign,
    /// The access can be tried again.
    Again,
    /// The access can be tried again and will see a 0xff page, which must be taken away later.
    Lent,
}

/// Takes a mapping of whole pages into the table, all dead. None if the table is full or the change of the mapping failed; errno tells then.
///
/// # Safety
/// The range must be a mapping of this process that is not in the table and that only its owner, by the stand-ins, will unmap.
pub(crate) unsafe fn adopt(start: usize, len: usize) -> Option<Handle> {
    for window in &TABLE {
        let locked = window.lock();
        if window.start.load(Ordering::Relaxed) != 0 {
            continue;
        }
        // SAFETY: the caller hands the range over.
        if !unsafe { map_dead(start, len) } {
            return None;
        }
        window.dead_accesses.store(0, Ordering::Relaxed);
        window.socket.store(-1, Ordering::Relaxed);
        let generation = window.generation.fetch_add(1, Ordering::Relaxed) + 1;
        window.len.store(len, Ordering::Release);
        window.start.store(start, Ordering::Release);
        drop(locked);
        return Some(Handle { window, generation });
    }
    raw::set_errno(libc::ENOMEM);
    None
}

/// Gives up all windows that overlap a range which is about to be unmapped or mapped over; what sticks out of the range becomes ordinary memory.
pub(crate) fn release(start: usize, len: usize) {
    let end = start.saturating_add(len);
    for window in &TABLE {
        if !window.overlaps(start, end) {
            continue;
        }
        let _locked = window.lock();
        if window.overlaps(start, end) {
            window.give_up(start, end);
        }
    }
}

/// Deals with a failed access to `addr`. Safe to call in a signal handler.
pub(crate) fn catch(addr: usize, ones: RawFd) -> Caught {
    for window in &TABLE {
        if !window.contains(addr) {
            continue;
        }
        let _locked = window.lock();
        if window.contains(addr) {
            return window.lend(addr, ones);
        }
    }
    Caught::Foreign
}

/// Takes all 0xff pages away.
pub(crate) fn scrub() {
    for window in &TABLE {
        if window.lent_count.load(Ordering::Relaxed) == 0 {
            continue;
        }
        let _locked = window.lock();
        window.take_back();
    }
}

impl Window {
    const fn new() -> Self {
        Self {
            locked: AtomicBool::new(false),
            start: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
            generation: AtomicU64::new(0),
            socket: AtomicI32::new(-1),
            dead_accesses: AtomicU64::new(0),
            live: Bits::new(),
            lent: Bits::new(),
            lent_count: AtomicU32::new(0),
        }
    }

    fn lock(&'static self) -> Locked {
        while self
            .locked
            .compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            // SAFETY: takes nothing and may be called in a signal handler.
            unsafe { libc::sched_yield() };
        }
        Locked(self)
    }

    fn contains(&self, addr: usize) -> bool {
        self.overlaps(addr, addr.saturating_add(1))
    }

    fn overlaps(&self, start: usize, end: usize) -> bool {
        let own = self.start.load(Ordering::Acquire);
        let len = self.len.load(Ordering::Acquire);
        own != 0 && own < end && start < own.saturating_add(len)
    }

    fn pages(&self) -> usize {
        self.len.load(Ordering::Relaxed) / PAGE_SIZE
    }

    /// Under the lock: makes a range of pages dead.
    fn bury(&self, begin: usize, end: usize) -> bool {
        let start = self.start.load(Ordering::Relaxed) + begin * PAGE_SIZE;
        // SAFETY: the range is part of this window: callers check it against the window's length under the lock.
        let done = unsafe { map_dead(start, (end - begin) * PAGE_SIZE) };
        if done {
            self.live.assign(begin, end, false);
            self.forget_lent(begin, end);
        }
        done
    }

    fn forget_lent(&self, begin: usize, end: usize) {
        let gone = self.lent.assign(begin, end, false);
        self.lent_count.fetch_sub(gone, Ordering::Relaxed);
    }

    /// Under the lock: lets the page of `addr` show 0xff for a while.
    fn lend(&'static self, addr: usize, ones: RawFd) -> Caught {
        let start = self.start.load(Ordering::Relaxed);
        let page = (addr - start) / PAGE_SIZE;
        if self.live.get(page) {
            // Changed between the access and now.
            return Caught::Again;
        }
        self.dead_accesses.fetch_add(1, Ordering::Relaxed);
        if self.lent.get(page) {
            return Caught::Again;
        }
        if self.lent_count.load(Ordering::Relaxed) >= MOST_LENT {
            self.take_back();
        }
        let place = start + page * PAGE_SIZE;
        // SAFETY: the page is part of this window, and dead: nobody has anything in it.
        let done = unsafe {
            map_fixed(
                place,
                PAGE_SIZE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE,
                ones,
                0,
            )
        };
        if done {
            self.lent.assign(page, page + 1, true);
            self.lent_count.fetch_add(1, Ordering::Relaxed);
        } else {
            // Out of mappings: make room. The access comes back.
            self.take_back();
        }
        Caught::Lent
    }

    /// Under the lock: takes all 0xff pages away. One that cannot be taken away now stays in the list for the next time.
    fn take_back(&self) {
        let mut from = 0;
        while let Some((begin, end)) = self.lent.next_run(from, self.pages()) {
            self.bury(begin, end);
            from = end;
        }
    }

    /// Under the lock: all dead. What cannot be made dead must not be left to a guest that thinks it is: then the process ends.
    fn bury_all(&self) {
        for _ in 0..1000 {
            if self.bury(0, self.pages()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        eprintln!("ntb-remap: cannot take a window away from the guest");
        std::process::abort();
    }

    /// Under the lock: no window any more. Its parts outside of `start..end` stay mapped and become ordinary private memory.
    fn give_up(&self, start: usize, end: usize) {
        self.bury_all();
        let own = self.start.load(Ordering::Relaxed);
        let own_end = own + self.len.load(Ordering::Relaxed);
        for (from, to) in [(own, start.min(own_end)), (end.max(own), own_end)] {
            if from < to {
                let prot = libc::PROT_READ | libc::PROT_WRITE;
                let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
                // SAFETY: a part of this window.
                if !unsafe { map_fixed(from, to - from, prot, flags, -1, 0) } {
                    eprintln!("ntb-remap: the rest of a window that was unmapped in part is not accessible");
                }
            }
        }
        let socket = self.socket.swap(-1, Ordering::Relaxed);
        if socket >= 0 {
            // SAFETY: the connection's thread takes the number away under the lock before it closes the socket.
            let socket = unsafe { BorrowedFd::borrow_raw(socket) };
            // Its thread ends; that the other side is gone already is as good.
            let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
        }
        self.start.store(0, Ordering::Release);
        self.len.store(0, Ordering::Release);
    }
}

impl Handle {
    /// The window under its lock, if it is still the same.
    fn locked(&self) -> Option<Locked> {
        let locked = self.window.lock();
        let same = self.window.generation.load(Ordering::Relaxed) == self.generation
            && self.window.start.load(Ordering::Relaxed) != 0;
        same.then_some(locked)
    }

    /// Makes `socket` the connection that ends with the window. False if the window is gone already.
    pub(crate) fn connected(&self, socket: BorrowedFd<'_>) -> bool {
        let locked = self.locked();
        if locked.is_some() {
            self.window
                .socket
                .store(socket.as_raw_fd(), Ordering::Relaxed);
        }
        locked.is_some()
    }

    /// The connection is about to be closed: the window is dead from now on.
    pub(crate) fn disconnected(&self) {
        if let Some(_locked) = self.locked() {
            self.window.socket.store(-1, Ordering::Relaxed);
            self.window.bury_all();
        }
    }

    /// Length of the window in bytes; none if it is gone.
    pub(crate) fn len(&self) -> Option<u64> {
        let _locked = self.locked()?;
        u64::try_from(self.window.len.load(Ordering::Relaxed)).ok()
    }

    pub(crate) fn dead_accesses(&self) -> u64 {
        self.window.dead_accesses.load(Ordering::Relaxed)
    }

    /// Makes the whole window dead.
    pub(crate) fn bury_all(&self) {
        if let Some(_locked) = self.locked() {
            self.window.bury_all();
        }
    }

    /// Makes a part of the window dead; whole pages.
    pub(crate) fn bury(&self, offset: usize, len: usize) -> Result<(), c_int> {
        let _locked = self.locked().ok_or(libc::ENODEV)?;
        let (begin, end) = self.window_pages(offset, len)?;
        if self.window.bury(begin, end) {
            Ok(())
        } else {
            Err(raw::errno())
        }
    }

    /// Lets a part of the window show a file; whole pages.
    pub(crate) fn show(
        &self,
        offset: usize,
        len: usize,
        file: BorrowedFd<'_>,
        file_offset: i64,
    ) -> Result<(), c_int> {
        let _locked = self.locked().ok_or(libc::ENODEV)?;
        let (begin, end) = self.window_pages(offset, len)?;
        let start = self.window.start.load(Ordering::Relaxed) + offset;
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the range is part of the window, as checked just now, under the lock.
        let done = unsafe {
            map_fixed(
                start,
                len,
                prot,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                file_offset,
            )
        };
        if !done {
            return Err(raw::errno());
        }
        self.window.live.assign(begin, end, true);
        self.window.forget_lent(begin, end);
        Ok(())
    }

    /// Under the lock: the pages of a range, if they are within the window.
    fn window_pages(&self, offset: usize, len: usize) -> Result<(usize, usize), c_int> {
        let end = offset.checked_add(len).ok_or(libc::EINVAL)?;
        let whole = offset % PAGE_SIZE == 0 && len % PAGE_SIZE == 0;
        if !whole || len == 0 || end > self.window.len.load(Ordering::Relaxed) {
            return Err(libc::EINVAL);
        }
        Ok((offset / PAGE_SIZE, end / PAGE_SIZE))
    }
}

/// Maps something over a range; false and errno if that failed.
///
/// # Safety
/// The range must belong to the caller: what was mapped there is gone.
unsafe fn map_fixed(
    start: usize,
    len: usize,
    prot: c_int,
    flags: c_int,
    fd: RawFd,
    offset: i64,
) -> bool {
    let flags = flags | libc::MAP_FIXED;
    // SAFETY: the caller answers for the range.
    let result = unsafe { raw::mmap(start as *mut c_void, len, prot, flags, fd, offset) };
    result != libc::MAP_FAILED
}

/// Maps nothing over a range: it costs no memory and one entry in the process's list of mappings.
///
/// # Safety
/// As for [`map_fixed`].
unsafe fn map_dead(start: usize, len: usize) -> bool {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: the caller answers for the range.
    unsafe { map_fixed(start, len, libc::PROT_NONE, flags, -1, 0) }
}
