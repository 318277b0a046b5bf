// SPDX-License-Identifier: GPL-2.0
//! The command as a program, on a machine without the kernel module.

use std::path::Path;
use std::process::Command;
use std::process::Output;

fn skiff(words: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_skiff"))
        .args(words.split_whitespace())
        .output()
        .expect("the command starts")
}

/// The command by its other name.
fn smartio_tool(words: &str) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let link = folder.path().join("smartio_tool");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_skiff"), &link).expect("a link");
    Command::new(link)
        .args(words.split_whitespace())
        .output()
        .expect("the command starts")
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("UTF-8")
}

/// The device must be missing for these tests; where the module is loaded they say so.
fn without_device() -> bool {
    let there = Path::new(skiff::DEVICE).exists();
    if there {
        eprintln!("skipped: {} is there", skiff::DEVICE);
    }
    !there
}

#[test]
fn a_missing_module_is_named_with_its_mend() {
    if !without_device() {
        return;
    }
    for words in [
        "nodes",
        "links",
        "segments",
        "segment create --bytes 4K",
        "segment watch 0 7",
        "segment get 0 7 -",
        "device list",
        "device info 40000",
        "device add 03:00.0",
        "device available 40000",
        "device unavailable 03:00.0 --force",
        "device remove 40000",
        "device connect 1",
        "device disconnect 1",
        "device borrow 80000",
        "device lspci 80000",
    ] {
        let output = skiff(words);
        assert_eq!(output.status.code(), Some(1), "{words}");
        assert!(output.stdout.is_empty(), "{words}");
        assert_eq!(
            stderr(&output),
            "skiff: cannot open /dev/skiff: the kernel module is not there (ENOENT)\n  \
             help: load the module: modprobe skiff\n",
            "{words}"
        );
    }
}

#[test]
fn smartio_tool_speaks_for_itself() {
    if !without_device() {
        return;
    }
    for words in [
        "list",
        "add 03:00.0",
        "available --force 03:00.0",
        "connect 8",
        "lspci 80000",
    ] {
        let output = smartio_tool(words);
        assert_eq!(output.status.code(), Some(1), "{words}");
        let said = stderr(&output);
        assert!(
            said.starts_with("smartio_tool: cannot open /dev/skiff"),
            "{words}: {said}"
        );
    }
    let nothing = smartio_tool("add-filter ffff:ffff:ffffff");
    assert_eq!(
        stderr(&nothing),
        "smartio_tool: nothing is like ffff:ffff:ffffff\n  \
         help: list the functions with their ids: lspci -Dnn\n"
    );
}

#[test]
fn errors_are_json_if_that_is_wanted() {
    if !without_device() {
        return;
    }
    let output = skiff("--json nodes");
    assert_eq!(output.status.code(), Some(1));
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).expect("JSON");
    assert_eq!(error["errno"], "ENOENT");
    assert_eq!(error["mend"], "load the module: modprobe skiff");
}

#[test]
fn a_missing_file_is_named() {
    let output = skiff("segment put 0 7 /nowhere/at/all");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        "skiff: cannot open /nowhere/at/all: No such file or directory (os error 2)\n"
    );
}

#[test]
fn wrong_usage_has_a_code_of_its_own() {
    for words in [
        "",
        "segment put 0",
        "segment get all 7 f",
        "node",
        "device add 80000",
        "device info 03:00.0",
        "device available nvme0",
    ] {
        assert_eq!(skiff(words).status.code(), Some(2), "{words}");
    }
    for words in ["", "nodes", "connect 5", "add 80000", "add-filter :"] {
        assert_eq!(smartio_tool(words).status.code(), Some(2), "{words}");
    }
}

#[test]
fn each_shell_gets_a_completion() {
    for shell in ["bash", "zsh", "fish"] {
        let output = skiff(&format!("completion {shell}"));
        assert!(output.status.success(), "{shell}");
        let script = String::from_utf8_lossy(&output.stdout);
        assert!(script.contains("watch"), "{shell}");
        let output = skiff(&format!("completion {shell} --of smartio_tool"));
        let script = String::from_utf8_lossy(&output.stdout);
        assert!(script.contains("unavailable-filter"), "{shell}");
    }
}

#[test]
fn each_command_gets_a_man_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = skiff(&format!("man {}", folder.path().display()));
    assert!(output.status.success(), "{}", stderr(&output));
    for name in [
        "skiff.1",
        "skiff-nodes.1",
        "skiff-segment-put.1",
        "skiff-device-borrow.1",
        "smartio_tool.1",
        "smartio_tool-available.1",
    ] {
        let page = std::fs::read_to_string(folder.path().join(name)).expect(name);
        assert!(page.contains(".TH"), "{name}");
    }
}
