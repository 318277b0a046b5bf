// SPDX-License-Identifier: GPL-2.0
//! What process 1 does before anything else: file systems, name, environment. Runs once, single-threaded.

use std::fs;
use std::process::Command;

use nix::mount::{mount, MsFlags};

/// Source, target, options. Those that this kernel lacks are left out.
const MOUNTS: &[(&str, &str, &str)] = &[
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    ("devtmpfs", "/dev", "mode=0755"),
    ("devpts", "/dev/pts", "mode=0620,ptmxmode=0666"),
    ("tmpfs", "/dev/shm", "mode=1777"),
    ("tmpfs", "/tmp", "mode=1777"),
    ("tmpfs", "/run", "mode=0755"),
    ("debugfs", "/sys/kernel/debug", ""),
    ("tracefs", "/sys/kernel/tracing", ""),
    ("configfs", "/sys/kernel/config", ""),
    ("cgroup2", "/sys/fs/cgroup", ""),
];

/// Prepares the machine; what fails is said on the console and does not stop the rest.
pub fn set_up() {
    for (kind, target, options) in MOUNTS {
        // In sysfs folders cannot be made: the kernel makes them for what it has.
        if fs::create_dir_all(target).is_err() {
            continue;
        }
        if let Err(error) = mount(
            Some(*kind),
            *target,
            Some(*kind),
            MsFlags::empty(),
            Some(*options),
        ) {
            if !matches!(error, nix::Error::ENODEV | nix::Error::EBUSY) {
                eprintln!("skiff-agent: cannot mount {target}: {error}");
            }
        }
    }
    let name = parameter("skiff.name").unwrap_or_else(|| "node".to_owned());
    if let Err(error) = nix::unistd::sethostname(&name) {
        eprintln!("skiff-agent: cannot set the host name: {error}");
    }
    std::env::set_var(
        "PATH",
        "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin",
    );
    std::env::set_var("HOME", "/root");
    std::env::set_var("TERM", "linux");
    std::env::set_var("HOSTNAME", &name);
    match Command::new("/bin/busybox")
        .args(["ip", "link", "set", "lo", "up"])
        .status()
    {
        Ok(status) if status.success() => {}
        other => eprintln!("skiff-agent: cannot bring up the loop-back device: {other:?}"),
    }
}

/// The value of `key=value` on the kernel's command line.
fn parameter(key: &str) -> Option<String> {
    let line = fs::read_to_string("/proc/cmdline").ok()?;
    line.split_whitespace()
        .find_map(|word| Some(word.strip_prefix(key)?.strip_prefix('=')?.to_owned()))
}
