// SPDX-License-Identifier: GPL-2.0
//! Turns the kernel's header into Rust, so that the header is the only definition of the ABI.

use std::env;
use std::error::Error;
use std::path::PathBuf;
use std::process::Command;

/// The header, seen from this crate.
const HEADER: &str = "../../../include/uapi/linux/skiff.h";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={HEADER}");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let status = Command::new("bindgen")
        .arg(HEADER)
        .args(["--allowlist-file", ".*/linux/skiff.h"])
        .args([
            "--use-core",
            "--with-derive-default",
            "--with-derive-partialeq",
        ])
        .args(["--default-enum-style", "consts", "--no-prepend-enum-name"])
        // The command numbers are calls of a macro, which only the compiler can evaluate.
        .arg("--clang-macro-fallback")
        .arg("--clang-macro-fallback-build-dir")
        .arg(&out)
        .arg("--output")
        .arg(out.join("uapi.rs"))
        .status()
        .map_err(|e| format!("cannot run bindgen: {e}; install the package bindgen"))?;
    if !status.success() {
        return Err(format!("bindgen failed on {HEADER}: {status}").into());
    }
    Ok(())
}
