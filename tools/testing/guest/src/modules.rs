// SPDX-License-Identifier: GPL-2.0
//! In-node tests of the kernel test modules (tools/testing/modules).

use std::fs::File;
use std::fs::OpenOptions;
use std::os::fd::AsRawFd;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use nix::errno::Errno;

use crate::allocation::injector::Injection;
use crate::allocation::injector::Injector;
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
const HELLO_KEY: u64 = 0x5c1f_f0c0_ffee_1dea;
/// First word of the page that skiff_hello maps.
const HELLO_MAGIC: u64 = 0x6f6c_6c65_4866_6b53;

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
    report.test(
        "hello: the page is shared by the maps of one open file",
        || {
            let file = open(DEVICE)?;
            let one = Mapping::of(&file, 4096)?;
            let other = Mapping::of(&file, 4096)?;
            let foreign = Mapping::of(&open(DEVICE)?, 4096)?;
            let magic = one.read::<u64>(0)?;
            ensure!(magic == HELLO_MAGIC, "the page begins with {magic:#x}");
            one.write(4088, 0x5aa5_u64)?;
            ensure!(
                other.read::<u64>(4088)? == 0x5aa5,
                "a store through one map is not seen through the other"
            );
            ensure!(
                foreign.read::<u64>(4088)? == 0,
                "another open file sees it too"
            );
            Ok(())
        },
    );
    report.test("hello: a map beyond the page is refused", || {
        ensure!(
            Mapping::of(&open(DEVICE)?, 8192).is_err(),
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
    /// What the chain returns when it got through, and the least number of its allocations.
    const CHAIN: i32 = 4;
    let mut report = Report::start();
    report.test(
        "fail-nth: every injected failure is survived or ENOMEM, and the chain ends",
        || {
            let file = open("/dev/skiff_faults")?;
            let injector = Injector::new()?;
            let (mut injected, mut refused) = (0, 0);
            for nth in 1..=LIMIT {
                // SAFETY: The request has no argument.
                let call = || unsafe { fail_nth_chain(file.as_raw_fd()) };
                let (result, injection) = injector.call(nth, call)?;
                let hit = injection == Injection::Hit;
                match result {
                    Err(Errno::ENOMEM) if hit => (injected, refused) = (injected + 1, refused + 1),
                    // A point that the kernel has a way round.
                    Ok(CHAIN) if hit => injected += 1,
                    Ok(CHAIN) => {
                        println!(
                            "# {injected} failures injected one by one, {refused} of them ENOMEM"
                        );
                        ensure!(
                            refused >= CHAIN,
                            "only {refused} allocations of the chain failed"
                        );
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
