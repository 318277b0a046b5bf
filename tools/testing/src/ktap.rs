// SPDX-License-Identifier: GPL-2.0
//! Reads what a test program in a node printed as KTAP (Documentation/dev-tools/ktap.rst in the kernel source), flat.

use anyhow::bail;
use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;

/// One result of a KTAP report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The test's name.
    pub name: String,
    /// Whether it passed.
    pub passed: bool,
    /// The diagnostics (`# …`) before it.
    pub diagnostics: Vec<String>,
}

/// Reads a whole report. A version line must come first, and as many results as the plan says.
///
/// # Errors
///
/// Text that is no complete report: a program that died half-way has not passed.
pub fn parse(text: &str) -> Result<Vec<Line>> {
    let mut lines = text.lines();
    ensure!(
        lines.next() == Some("KTAP version 1"),
        "no KTAP version line"
    );
    let (mut results, mut plan, mut diagnostics) = (Vec::new(), None, Vec::new());
    for line in lines {
        let (passed, rest) = if let Some(rest) = line.strip_prefix("ok ") {
            (true, rest)
        } else if let Some(rest) = line.strip_prefix("not ok ") {
            (false, rest)
        } else if let Some(count) = line.strip_prefix("1..") {
            ensure!(plan.is_none(), "two plans");
            plan = Some(
                count
                    .trim()
                    .parse::<usize>()
                    .with_context(|| format!("bad plan {line:?}"))?,
            );
            continue;
        } else {
            diagnostics.extend(line.strip_prefix("# ").map(str::to_owned));
            continue;
        };
        let (number, name) = rest.split_once(' ').unwrap_or((rest, ""));
        let number: usize = number
            .parse()
            .with_context(|| format!("no number in {line:?}"))?;
        ensure!(
            number == results.len() + 1,
            "result {number} follows result {}",
            results.len()
        );
        results.push(Line {
            name: name.trim_start_matches("- ").to_owned(),
            passed,
            diagnostics: std::mem::take(&mut diagnostics),
        });
    }
    match plan {
        None => bail!(
            "the report ends without a plan after {} results",
            results.len()
        ),
        Some(plan) => ensure!(
            plan == results.len(),
            "{} results where {plan} were planned",
            results.len()
        ),
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_report_is_read() {
        let lines =
            parse("KTAP version 1\nok 1 first\n# because\nnot ok 2 - second one\n1..2\n").unwrap();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].passed && lines[0].diagnostics.is_empty());
        assert_eq!(lines[1].name, "second one");
        assert_eq!(lines[1].diagnostics, ["because"]);
        assert!(!lines[1].passed);
    }

    #[test]
    fn what_is_cut_short_is_refused() {
        for text in [
            "",
            "ok 1 x\n1..1\n",
            "KTAP version 1\nok 1 x\n",
            "KTAP version 1\nok 1 x\n1..2\n",
            "KTAP version 1\nok 2 x\n1..1",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(ok |not ok |1\\.\\.|# |[0-9a-z \n]){0,40}") {
            let _ = parse(&text);
        }
    }
}
