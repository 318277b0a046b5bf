// SPDX-License-Identifier: GPL-2.0
//! Catches accesses to dead pages: the SIGSEGV handler and the thread that takes its 0xff pages away.
//!
//! The handler does nothing but system calls and atomics under a window's spin lock. The file full of 0xff and the eventfd that wakes the thread
//! are made once, before the first window, and stay for the life of the process; so does what the handler of before is.

use std::os::fd::{BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use libc::{c_int, c_void, siginfo_t};
use rustix::event::{eventfd, EventfdFlags};
use rustix::fs::{fcntl_add_seals, memfd_create, MemfdFlags, SealFlags};
use rustix::io::Errno;

use crate::raw::Saved;
use crate::window::{self, Caught, PAGE_SIZE};

/// How long a dead page shows 0xff after an access, so that the access can be done.
const LENT_FOR: Duration = Duration::from_millis(1);

/// One page of 0xff; mapped privately, so what is written to it is gone with the mapping.
static ONES: AtomicI32 = AtomicI32::new(-1);
/// Wakes the scrubber.
static WAKE: AtomicI32 = AtomicI32::new(-1);
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();
static READY: OnceLock<Result<(), c_int>> = OnceLock::new();

/// Gets everything ready once; an error number if that failed.
pub(crate) fn prepare() -> Result<(), c_int> {
    *READY.get_or_init(|| set_up().map_err(Errno::raw_os_error))
}

fn set_up() -> Result<(), Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let ones = memfd_create("ntb-remap-ones", flags)?;
    if rustix::io::write(&ones, &[0xff; PAGE_SIZE])? != PAGE_SIZE {
        return Err(Errno::NOSPC);
    }
    let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    fcntl_add_seals(&ones, seals)?;
    let wake = eventfd(0, EventfdFlags::CLOEXEC)?;
    let scrubber = wake.try_clone().map_err(|_| Errno::MFILE)?;
    ONES.store(ones.into_raw_fd(), Ordering::Release);
    WAKE.store(wake.into_raw_fd(), Ordering::Release);
    spawn("ntb-remap-scrub", move || scrub(&scrubber))?;
    install_handler()
}

/// Starts a thread that none of the program's signals are delivered to.
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Errno> {
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = all;
    // SAFETY: the set is written by the call.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: the first set was filled just now, the second is written by the call.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(body);
    // SAFETY: the set was written by the call before.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    spawned.map(drop).map_err(|_| Errno::AGAIN)
}

fn scrub(wake: &OwnedFd) {
    let mut count = [0; 8];
    loop {
        match rustix::io::read(wake, &mut count) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => {
                eprintln!("ntb-remap: cannot wait for accesses to dead pages: {errno}");
                return;
            }
        }
        thread::sleep(LENT_FOR);
        window::scrub();
    }
}

fn install_handler() -> Result<(), Errno> {
    // SAFETY: all zeroes is a valid value of the struct.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = on_fault;
    action.sa_sigaction = handler as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the set is written by the call.
    unsafe { libc::sigemptyset(&mut action.sa_mask) };
    // The one of before must be known before ours can run: a fault that is not ours may come at once.
    let mut previous = action;
    // SAFETY: asks only.
    let asked = unsafe { libc::sigaction(libc::SIGSEGV, std::ptr::null(), &mut previous) };
    if asked != 0 {
        return Err(Errno::INVAL);
    }
    let _ = PREVIOUS.set(previous);
    // SAFETY: the handler is async-signal-safe and lives as long as the process.
    let installed = unsafe { libc::sigaction(libc::SIGSEGV, &action, std::ptr::null_mut()) };
    match installed {
        0 => Ok(()),
        _ => Err(Errno::INVAL),
    }
}

extern "C" fn on_fault(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let _errno = Saved::errno();
    // SAFETY: the kernel gives a valid siginfo_t to a handler with SA_SIGINFO.
    let info_ref = unsafe { &*info };
    // SAFETY: SIGSEGV's siginfo_t has an address.
    let addr = unsafe { info_ref.si_addr() };
    match window::catch(addr as usize, ONES.load(Ordering::Acquire)) {
        Caught::Again => {}
        Caught::Lent => wake_scrubber(),
        Caught::Foreign => pass_on(signal, info, context),
    }
}

fn wake_scrubber() {
    // SAFETY: the file descriptor is never closed.
    let wake = unsafe { BorrowedFd::borrow_raw(fd_of(&WAKE)) };
    // Can only fail when the counter is full, and then the scrubber is awake.
    let _ = rustix::io::write(wake, &1_u64.to_ne_bytes());
}

fn fd_of(place: &AtomicI32) -> RawFd {
    place.load(Ordering::Acquire)
}

/// Does with a fault that is none of ours what would have been done without us.
fn pass_on(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let previous = PREVIOUS.get().filter(|previous| {
        previous.sa_sigaction != libc::SIG_DFL && previous.sa_sigaction != libc::SIG_IGN
    });
    let Some(previous) = previous else {
        // The access is tried again and ends the process.
        // SAFETY: the default action needs no handler.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
        return;
    };
    if previous.sa_flags & libc::SA_SIGINFO != 0 {
        // SAFETY: with SA_SIGINFO the kernel would call this address with these arguments.
        let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) =
            unsafe { std::mem::transmute(previous.sa_sigaction) };
        handler(signal, info, context);
    } else {
        // SAFETY: without SA_SIGINFO the kernel would call this address with this argument.
        let handler: extern "C" fn(c_int) = unsafe { std::mem::transmute(previous.sa_sigaction) };
        handler(signal);
    }
}
