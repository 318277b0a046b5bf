// SPDX-License-Identifier: GPL-2.0
//! Re-points parts of a window that QEMU has mapped, on request of the switch; loaded into an unmodified QEMU by LD_PRELOAD.
//!
//! With NTB_REMAP_SOCKET (the path of the switch's SOCK_SEQPACKET socket) in the environment, a shared mapping of a file whose name contains
//! "ntbwin" becomes a window: it is dead at first, and shows what the switch asks for over the mapping's own connection (package
//! ntb-remap, `wire`). A dead page is not accessible; an access to it is caught, sees a private page full of 0xff, and is counted.
//!
//! * [`interpose`] stands in for mmap and munmap; every other mapping passes through it untouched;
//! * [`window`] holds the table of windows and all that changes them, each under its own spin lock, which a signal handler may take;
//! * [`fault`] is the SIGSEGV handler and the thread that takes 0xff pages away again;
//! * [`connection`] is the thread that serves one window's connection.
//!
//! Limits. A system call that is given a dead page as its buffer (say, a device model that reads a disk right into a window) fails with EFAULT
//! and is not counted. A hypervisor that runs the guest's loads in hardware gets EFAULT as well: this is for TCG. A program that installs
//! a SIGSEGV handler after the first window has been mapped takes ours away; QEMU's system emulators install none.
//! Memory locks and advice (mlock, madvise) given for a window do not survive a change of what it shows.

mod connection;
mod fault;
mod interpose;
mod raw;
mod window;
