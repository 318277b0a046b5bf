// SPDX-License-Identifier: GPL-2.0
//! A file system on a borrowed drive.

use anyhow::ensure;
use anyhow::Result;
use sha2::Digest;
use sha2::Sha256;

use crate::disk;
use crate::disk::MOUNTED;
use crate::frame::Case;
use crate::frame::Context;
use crate::lend;
use crate::lend::BORROWER;
use crate::lend::LENDER;
use crate::lend::NVME;
use crate::nvme;

/// See the module.
pub const FILES: Case = Case {
    name:
        "a file system: files copied in parallel, found whole by the host and after borrowing again",
    run: files,
};

/// Bytes of a file.
const BYTES: u64 = (1 << 20) + 512;
/// Copies that are made at the same time.
const COPIES: u64 = 4;

fn files(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let node = cluster.node(BORROWER);
    let image = cluster.node(LENDER).disk(NVME.name());
    let path = nvme::load(node)?;
    disk::make_file_system(node, &path)?;
    disk::mount(node, &path)?;
    let mut digests = Vec::new();
    for file in 0..COPIES {
        let bytes = lend::sequence(BYTES, file);
        digests.push(format!("{:x}", Sha256::digest(&bytes)));
        node.write(&bytes, &format!("/root/file{file}"))?;
    }
    // Each from another file, twice at a time, the last of all being removed again.
    let copies: Vec<String> = (0..COPIES)
        .map(|file| {
            format!(
                "(mkdir {MOUNTED}/{file} && cp /root/file{file} {MOUNTED}/{file}/one && cp {MOUNTED}/{file}/one {MOUNTED}/{file}/two && sync && cp /root/file{file} {MOUNTED}/{file}/three && rm {MOUNTED}/{file}/three && touch {MOUNTED}/{file}/good) &"
            )
        })
        .collect();
    node.run(&format!(
        "{} wait; cd {MOUNTED}; ls 0/good 1/good 2/good 3/good",
        copies.join(" ")
    ))?
    .check()?;
    node.run(&format!("fstrim {MOUNTED}"))?.check()?;
    disk::unmount(node)?;
    nvme::unload(node)?;
    disk::fsck(&image)?;
    for (file, digest) in digests.iter().enumerate() {
        for copy in ["one", "two"] {
            let found = disk::digest(&image, &format!("/{file}/{copy}"))?;
            ensure!(
                found == *digest,
                "{file}/{copy} has SHA-256 {found}, not {digest}"
            );
        }
    }
    let path = nvme::load(node)?;
    disk::mount(node, &path)?;
    for (file, digest) in digests.iter().enumerate() {
        let line = format!("cd {MOUNTED}/{file} && sha256sum one two | grep -c {digest}");
        let found = node.run(&line)?.check()?;
        ensure!(found.stdout_text().trim() == "2", "{found:?}");
    }
    disk::unmount(node)?;
    nvme::unload(node)
}
