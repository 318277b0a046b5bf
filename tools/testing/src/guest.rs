// SPDX-License-Identifier: GPL-2.0
//! skiff-guest in a node: where it is, and its answers as values.

use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;
use serde::de::DeserializeOwned;
use serde::Deserialize;
use skiff_cluster::Builder;
use skiff_cluster::Node;

/// Where the program is in a node.
pub const PATH: &str = "/bin/skiff-guest";

/// Puts the program into every node.
pub fn install(builder: Builder) -> Builder {
    install_program(builder, "skiff-guest")
}

/// Puts a program into every node's /bin: a file of the folder of programs for nodes (scripts/build-tools).
pub fn install_program(builder: Builder, file: &str) -> Builder {
    let (_, name) = file.rsplit_once('/').unwrap_or(("", file));
    builder.file(program(file), format!("/bin/{name}"))
}

/// A file of the folder of programs for nodes.
pub fn program(file: &str) -> PathBuf {
    let folder = std::env::var_os("SKIFF_GUEST_BIN").map_or_else(default_folder, PathBuf::from);
    folder.join(file)
}

/// A file beside this program.
pub fn beside(name: &str) -> PathBuf {
    std::env::current_exe()
        .unwrap_or_default()
        .with_file_name(name)
}

/// The folder of static programs beside that of this program: target/debug, target/x86_64-unknown-linux-gnu/debug.
fn default_folder() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let profile = own.parent().unwrap_or(&own);
    let name = profile.file_name().unwrap_or_default();
    profile
        .with_file_name("x86_64-unknown-linux-gnu")
        .join(name)
}

/// Runs a command of skiff-guest to its end, which must be good; gives what it printed.
pub fn run(node: &Node, command: &str) -> Result<String> {
    let output = node.run(&format!("exec {PATH} {command}"))?.check()?;
    Ok(output.stdout_text().trim().to_owned())
}

/// The same for commands that print JSON.
pub fn json<T: DeserializeOwned>(node: &Node, command: &str) -> Result<T> {
    let text = run(node, command)?;
    serde_json::from_str(&text).with_context(|| format!("{command} printed {text:?}"))
}

/// The same for commands that print a number.
pub fn value(node: &Node, command: &str) -> Result<u64> {
    number(&run(node, command)?)
}

/// A number as the kernel and C print it: 0x-prefixed or decimal.
pub fn number(text: &str) -> Result<u64> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.with_context(|| format!("{text:?} is no number"))
}

/// Answer of `window hammer` and `window verify`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Seen {
    /// Words that were as expected.
    pub right: u64,
    /// Words of all ones.
    pub all_ones: u64,
    /// Words that were neither.
    pub wrong: u64,
    /// Microseconds; only `hammer` tells.
    #[serde(default)]
    pub micros: u64,
}
