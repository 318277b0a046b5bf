// SPDX-License-Identifier: GPL-2.0
//! What needs no node: formatting, lints, scripts, and the host tests of every crate.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use anyhow::bail;
use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;

use crate::report::Report;

/// A command that must succeed: one result line.
struct Check {
    name: &'static str,
    line: &'static str,
}

/// Run from the top of the tree.
const CHECKS: &[Check] = &[
    Check {
        name: "tools are formatted (rustfmt)",
        line: "cd tools && cargo fmt --all --check",
    },
    Check {
        name: "tools are free of lints (clippy)",
        line: "cd tools && cargo clippy --quiet --workspace --all-targets --locked -- -D warnings",
    },
    Check {
        name: "fuzz targets build",
        line: "for f in tools/*/fuzz; do (cd $f && cargo check --quiet --locked) || exit 1; done",
    },
    Check {
        name: "rooms depend on what is below them only",
        line: "scripts/check-layers",
    },
    Check {
        name: "scripts are free of lints (shellcheck)",
        line: "scripts/check-scripts",
    },
    Check {
        name: "what make install installs works",
        line: "scripts/check-install",
    },
    Check {
        name: "kernel modules are formatted and free of lints",
        line: "scripts/check-modules",
    },
];

/// The top of the tree: the folder that this program's sources were built from, or the working folder.
pub fn top() -> Result<PathBuf> {
    let here = std::env::current_dir()?;
    let top = here
        .ancestors()
        .find(|folder| folder.join("tools/Cargo.toml").exists());
    Ok(top.context("not inside the source tree")?.to_owned())
}

/// Runs what `wanted` picks by its result line's name.
pub fn run(wanted: &dyn Fn(&str) -> bool, report: &Report) -> Result<()> {
    let top = top()?;
    for check in CHECKS {
        let name = format!("host: {}", check.name);
        if wanted(&name) {
            let result = shell(&top, check.line);
            report.result(&name, &result);
        }
    }
    if wanted("host: tests") {
        report.remark("cargo test --workspace");
        unit_tests(&top, report)?;
    }
    Ok(())
}

fn shell(top: &Path, line: &str) -> Result<()> {
    let output = Command::new("bash")
        .args(["-o", "pipefail", "-ec", line])
        .current_dir(top)
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let lines: Vec<&str> = text.lines().collect();
    bail!(
        "{line}: {}\n{}",
        output.status,
        lines[lines.len().saturating_sub(60)..].join("\n")
    )
}

/// One test of one of cargo's test programs.
#[derive(Debug, PartialEq, Eq)]
struct Line<'a> {
    name: &'a str,
    passed: bool,
}

/// Reads a line of libtest's output; `None` for anything but a result. Ignored tests are no result.
fn parse(line: &str) -> Option<Line<'_>> {
    let (name, verdict) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    match verdict {
        "ok" => Some(Line { name, passed: true }),
        "FAILED" => Some(Line {
            name,
            passed: false,
        }),
        _ => None,
    }
}

fn unit_tests(top: &Path, report: &Report) -> Result<()> {
    let output = Command::new("cargo")
        .args([
            "test",
            "--quiet",
            "--workspace",
            "--locked",
            "--no-fail-fast",
            "--",
            "--format=pretty",
        ])
        .current_dir(top.join("tools"))
        .stdin(Stdio::null())
        .output()
        .context("cannot run cargo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut failed = false;
    let mut count = 0;
    for line in text.lines().filter_map(parse) {
        count += 1;
        failed |= !line.passed;
        let result = if line.passed {
            Ok(())
        } else {
            Err(anyhow::anyhow!("see the output below"))
        };
        report.result(&format!("host: {}", line.name), &result);
    }
    if failed || !output.status.success() {
        for line in text
            .lines()
            .filter(|line| parse(line).is_none_or(|line| !line.passed))
        {
            println!("# {line}");
        }
    }
    let whole = (|| {
        ensure!(
            output.status.success(),
            "{}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        ensure!(count > 0, "no test ran");
        Ok(())
    })();
    report.result("host: every test program ran to its end", &whole);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_told_from_the_rest() {
        assert_eq!(
            parse("test a::b ... ok"),
            Some(Line {
                name: "a::b",
                passed: true
            })
        );
        assert_eq!(
            parse("test a::b - should panic ... FAILED"),
            Some(Line {
                name: "a::b - should panic",
                passed: false
            })
        );
        assert_eq!(parse("test a ... ignored"), None);
        assert_eq!(parse("test result: ok. 3 passed; 0 failed"), None);
        assert_eq!(parse("running 3 tests"), None);
    }
}
