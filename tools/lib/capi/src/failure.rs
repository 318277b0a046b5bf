// SPDX-License-Identifier: GPL-2.0
//! The last error of each thread, as texts that C can read.

use std::cell::RefCell;
use std::ffi::c_char;
use std::ffi::c_int;
use std::ffi::CString;

use skiff::Error;

/// The texts of one failure. A pointer to them is good until the next failure of the thread.
#[derive(Default)]
struct Texts {
    text: CString,
    mend: CString,
}

thread_local! {
    static LAST: RefCell<Texts> = RefCell::default();
}

/// Keeps an error for later questions; gives what the C function is to return.
pub(crate) fn failed(error: Error) -> c_int {
    // Texts of errors have no zero byte.
    let text = CString::new(error.to_string()).unwrap_or_default();
    let mend = CString::new(error.mend().unwrap_or("")).unwrap_or_default();
    LAST.replace(Texts { text, mend });
    -error.errno()
}

/// What was tried and why it failed.
pub(crate) fn text() -> *const c_char {
    LAST.with_borrow(|last| last.text.as_ptr())
}

/// What helps.
pub(crate) fn mend() -> *const c_char {
    LAST.with_borrow(|last| last.mend.as_ptr())
}
