// SPDX-License-Identifier: GPL-2.0
//! Results as text or as JSON, each line flushed: other programs wait for them.

use std::io;
use std::io::Write;

use serde::Serialize;
use serde_json::json;

use crate::error::Error;

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Json,
}

/// Where results go.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    program: &'static str,
    form: Form,
}

impl Output {
    /// Of the command by the name of `program`.
    pub fn new(program: &'static str, json: bool) -> Self {
        Self {
            program,
            form: if json { Form::Json } else { Form::Text },
        }
    }

    /// Prints one thing: `text` is made of `value` if text is wanted.
    pub fn line<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Error> {
        self.print(io::stdout().lock(), value, text)
            .map_err(Error::Print)
    }

    /// Like [`Output::line`], but to stderr: stdout is taken by the data.
    pub fn beside<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Error> {
        self.print(io::stderr().lock(), value, text)
            .map_err(Error::Print)
    }

    fn print<T: Serialize>(
        &self,
        mut to: impl Write,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> io::Result<()> {
        match self.form {
            Form::Text => writeln!(to, "{}", text(value))?,
            Form::Json => {
                serde_json::to_writer(&mut to, value)?;
                writeln!(to)?;
            }
        }
        to.flush()
    }

    /// Prints a list: as a table with a head, or as a JSON array.
    pub fn table<T: Serialize, const N: usize>(
        &self,
        list: &[T],
        head: [&str; N],
        row: impl Fn(&T) -> [String; N],
    ) -> Result<(), Error> {
        self.line(&list, |list| {
            let rows: Vec<_> = list.iter().map(row).collect();
            table(head.map(String::from), &rows)
        })
    }

    /// Prints what went wrong.
    pub fn error(&self, error: &Error) {
        // There is nowhere to say that stderr is gone.
        let _ = match self.form {
            Form::Text => {
                let mend = error.mend().map(|mend| format!("\n  help: {mend}"));
                writeln!(
                    io::stderr(),
                    "{}: {error}{}",
                    self.program,
                    mend.as_deref().unwrap_or("")
                )
            }
            Form::Json => writeln!(
                io::stderr(),
                "{}",
                json!({
                    "error": error.to_string(),
                    "errno": error.errno(),
                    "mend": error.mend(),
                })
            ),
        };
    }
}

/// Columns as wide as their widest word, two spaces apart.
fn table<const N: usize>(head: [String; N], rows: &[[String; N]]) -> String {
    let all = || std::iter::once(&head).chain(rows);
    let widths: [usize; N] =
        std::array::from_fn(|column| all().map(|row| row[column].len()).max().unwrap_or(0));
    let line = |row: &[String; N]| {
        let words: Vec<_> = row
            .iter()
            .zip(widths)
            .map(|(word, width)| format!("{word:<width$}"))
            .collect();
        words.join("  ").trim_end().to_owned()
    };
    all().map(line).collect::<Vec<_>>().join("\n")
}

/// A list of numbers, "-" when it is empty.
pub fn numbers(list: &[u32]) -> String {
    if list.is_empty() {
        return String::from("-");
    }
    let words: Vec<_> = list.iter().map(u32::to_string).collect();
    words.join(",")
}

/// A length in the largest unit that divides it.
pub fn length(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    for (unit, name) in UNITS {
        if bytes >= unit && bytes % unit == 0 {
            return format!("{} {name}", bytes / unit);
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [["0", "up"], ["10", "down"]].map(|row| row.map(String::from));
        assert_eq!(
            table(["node", "state"].map(String::from), &rows),
            "node  state\n0     up\n10    down"
        );
    }

    #[test]
    fn lengths_have_whole_units() {
        assert_eq!(length(0), "0 B");
        assert_eq!(length(1023), "1023 B");
        assert_eq!(length(64 << 20), "64 MiB");
        assert_eq!(length((1 << 20) + 1), "1048577 B");
        assert_eq!(length(3 << 10), "3 KiB");
    }

    #[test]
    fn lists_of_numbers() {
        assert_eq!(numbers(&[]), "-");
        assert_eq!(numbers(&[0, 3]), "0,3");
    }
}
