// SPDX-License-Identifier: GPL-2.0
//! In-node tests of the kernel test modules (tools/testing/modules).

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::path::PathBuf;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use nix::errno::Errno;

use crate::ktap::Report;
use crate::pci::Mapping;

/// Argument of skiff_hello's ioctl (tools/testing/modules/hello).
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct Hello {
    input: u64,
    output: u64,
}

nix::ioctl_readwrite!(hello_call, b's', 1, Hello);
nix::ioctl_none!(hello_unknown, b's', 0x7f);
nix::ioctl_none!(fail_nth_chain, b's', 2);

/// skiff_hello answers with its input exclusive-or this.
const HELLO_KEY: u64 = 0x534b_4946_465f_4f4b;
/// First word of the page that skiff_hello maps.
const HELLO_MAGIC: u64 = 0x4b43_4f4c_4c45_4821;

fn open(path: &str) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .with_context(|| format!("cannot open {path}"))
}

/// Tests of the hello module: device, ioctl, mmap.
pub fn hello() -> Result<()> {
    const DEVICE: &str = "/dev/skiff_hello";
    let mut report = Report::start();
    report.test("hello: the device opens", || open(DEVICE).map(drop));
    report.test("hello: the ioctl answers", || {
        let file = open(DEVICE)?;
        for input in [0, 1, u64::MAX, 0x0123_4567_89ab_cdef] {
            let mut argument = Hello { input, output: 0 };
            // SAFETY: The request's number encodes the size of `Hello`, and the reference is to one that lives through the call.
            unsafe { hello_call(file.as_raw_fd(), &mut argument) }?;
            ensure!(
                argument.output == input ^ HELLO_KEY,
                "{input:#x} gave {:#x}",
                argument.output
            );
        }
        Ok(())
    });
    report.test("hello: an unknown ioctl is ENOTTY", || {
        let file = open(DEVICE)?;
        // SAFETY: The request has no argument.
        let result = unsafe { hello_unknown(file.as_raw_fd()) };
        ensure!(result == Err(Errno::ENOTTY), "got {result:?}");
        Ok(())
    });
    report.test("hello: the page is shared between two maps", || {
        let one = Mapping::open(PathBuf::from(DEVICE), 4096)?;
        let other = Mapping::open(PathBuf::from(DEVICE), 4096)?;
        ensure!(
            one.read::<u64>(0)? == HELLO_MAGIC,
            "the page begins with {:#x}",
            one.read::<u64>(0)?
        );
        one.write(4088, 0x5aa5_u64)?;
        ensure!(
            other.read::<u64>(4088)? == 0x5aa5,
            "a store through one map is not seen through the other"
        );
        one.write(4088, 0_u64)?;
        Ok(())
    });
    report.test("hello: a map beyond the page is refused", || {
        ensure!(
            Mapping::open(PathBuf::from(DEVICE), 8192).is_err(),
            "two pages were mapped"
        );
        Ok(())
    });
    report.finish()
}

/// Fails the first, second, … allocation of the chain in skiff_faults until a run ends without an injection.
pub fn fail_nth() -> Result<()> {
    /// A chain that is longer than this never ends.
    const LIMIT: u32 = 1000;
    let injector = Path::new("/proc/self/fail-nth");
    let mut report = Report::start();
    report.test(
        "fail-nth: every injected failure is ENOMEM, and the chain ends",
        || {
            let file = open("/dev/skiff_faults")?;
            let mut injected = 0;
            for nth in 1..=LIMIT {
                fs::write(injector, nth.to_string()).context("no /proc/self/fail-nth")?;
                // SAFETY: The request has no argument.
                let result = unsafe { fail_nth_chain(file.as_raw_fd()) };
                // What is left of the count tells whether the injection happened: 0 means that it did.
                let left: u32 = fs::read_to_string(injector)?.trim().parse()?;
                fs::write(injector, "0")?;
                match (result, left) {
                    (Err(Errno::ENOMEM), 0) => injected += 1,
                    (Ok(_), left) if left > 0 => {
                        ensure!(injected > 0, "no allocation was failed at all");
                        println!("# {injected} allocations failed one by one");
                        return Ok(());
                    }
                    other => anyhow::bail!("allocation {nth}: {other:?}"),
                }
            }
            anyhow::bail!("no run without injection in {LIMIT}")
        },
    );
    report.finish()
}
