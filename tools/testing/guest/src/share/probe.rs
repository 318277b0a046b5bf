// SPDX-License-Identifier: GPL-2.0
//! Loads and stores that may raise SIGBUS, and tell so.
//!
//! Each access leaves the address to go on at in a register; the handler of SIGBUS goes there and marks another one. Nothing
//! is shared between threads, and the mapping stays as it is.

use anyhow::Result;
use nix::libc;
use nix::sys::signal::sigaction;
use nix::sys::signal::SaFlags;
use nix::sys::signal::SigAction;
use nix::sys::signal::SigHandler;
use nix::sys::signal::SigSet;
use nix::sys::signal::Signal;
use std::arch::asm;
use std::ffi::c_int;
use std::ffi::c_void;

/// What `r11` holds while an access is under way, so that the handler leaves other faults alone.
const UNDER_WAY: i64 = 0x534b_4946_4642_5553;
/// What the handler puts there.
const FAULTED: i64 = 1;

/// An access raised SIGBUS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusError;

extern "C" fn handler(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: With SA_SIGINFO the third argument is the interrupted context, which is this thread's alone until the handler
    // returns.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    if registers[libc::REG_R11 as usize] == UNDER_WAY {
        registers[libc::REG_R11 as usize] = FAULTED;
        registers[libc::REG_RIP as usize] = registers[libc::REG_R10 as usize];
    } else {
        // SAFETY: abort may be called in a signal handler.
        unsafe { libc::abort() };
    }
}

/// Takes over SIGBUS for the whole process. Outside of [`load`] and [`store`] it ends the process, as it does by default.
pub fn catch_bus_errors() -> Result<()> {
    let action = SigAction::new(
        SigHandler::SigAction(handler),
        SaFlags::SA_SIGINFO,
        SigSet::empty(),
    );
    // SAFETY: The handler only changes registers of the thread that it interrupted, or aborts.
    unsafe { sigaction(Signal::SIGBUS, &action) }?;
    Ok(())
}

/// Loads 32 bits.
///
/// # Safety
/// `at` is aligned and inside a mapping of this process that may be read.
pub unsafe fn load(at: *const u32) -> Result<u32, BusError> {
    let (value, mark): (u32, i64);
    // SAFETY: By the contract only memory that may be read is read; on SIGBUS the handler goes on behind the load.
    unsafe {
        asm!(
            "lea r10, [rip + 2f]",
            "mov {value:e}, dword ptr [{at}]",
            "2:",
            at = in(reg) at,
            value = out(reg) value,
            inout("r11") UNDER_WAY => mark,
            out("r10") _,
            options(nostack, readonly, preserves_flags),
        );
    }
    if mark == FAULTED {
        Err(BusError)
    } else {
        Ok(value)
    }
}

/// Stores 32 bits.
///
/// # Safety
/// `at` is aligned and inside a mapping of this process that may be written, and nothing of this process relies on what is
/// there.
pub unsafe fn store(at: *mut u32, value: u32) -> Result<(), BusError> {
    let mark: i64;
    // SAFETY: By the contract only memory that may be written is written; on SIGBUS the handler goes on behind the store.
    unsafe {
        asm!(
            "lea r10, [rip + 2f]",
            "mov dword ptr [{at}], {value:e}",
            "2:",
            at = in(reg) at,
            value = in(reg) value,
            inout("r11") UNDER_WAY => mark,
            out("r10") _,
            options(nostack, preserves_flags),
        );
    }
    if mark == FAULTED {
        Err(BusError)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::mman::mmap;
    use nix::sys::mman::munmap;
    use nix::sys::mman::MapFlags;
    use nix::sys::mman::ProtFlags;
    use std::fs::File;
    use std::num::NonZeroUsize;

    #[test]
    fn a_page_behind_the_end_of_a_file_is_a_bus_error_and_the_one_before_is_not() {
        catch_bus_errors().unwrap();
        let path = std::env::temp_dir().join(format!("probe.{}", std::process::id()));
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .unwrap();
        std::fs::remove_file(&path).unwrap();
        file.set_len(4096).unwrap();
        let length = NonZeroUsize::new(8192).unwrap();
        let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: No address is asked for, so nothing is replaced.
        let start = unsafe { mmap(None, length, prot, MapFlags::MAP_SHARED, &file, 0) }.unwrap();
        let word = |at: usize| start.as_ptr().cast::<u32>().wrapping_byte_add(at);
        for _ in 0..3 {
            // SAFETY: The words are aligned and inside of the mapping, here and below.
            assert_eq!(unsafe { store(word(8), 77) }, Ok(()));
            // SAFETY: As above.
            assert_eq!(unsafe { load(word(8)) }, Ok(77));
            // SAFETY: As above.
            assert_eq!(unsafe { load(word(4096)) }, Err(BusError));
            // SAFETY: As above.
            assert_eq!(unsafe { store(word(8188), 1) }, Err(BusError));
        }
        // SAFETY: The range is what was mapped, and nobody uses it any more.
        unsafe { munmap(start, 8192) }.unwrap();
    }
}
