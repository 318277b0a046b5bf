// SPDX-License-Identifier: GPL-2.0
//! What the command understands. Numbers are checked here for form only; their ranges belong to the kernel.

pub mod device;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::Parser;
use clap::Subcommand;
use clap::ValueEnum;
use clap::ValueHint;
use clap_complete::Shell;
use skiff::ConnectOptions;
use skiff::Node;

/// Shows the fabric, makes, fills, copies and watches shared segments, lends and borrows devices
///
/// Nodes are named by their number, this node also by "local". Numbers may be given with the
/// prefix 0x, lengths with the suffixes K, M and G. The device node /dev/skiff is open to root and
/// to the group skiff.
#[derive(Debug, Parser)]
#[command(name = "skiff", version, propagate_version = true)]
pub struct Arguments {
    /// Print JSON, one value a line, errors too
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the nodes that are known
    Nodes,
    /// List the adapters of this node, their slots, their memory and their links
    Links,
    /// List the available segments that this user may connect to
    Segments(List),
    /// Make, fill, copy or watch one segment
    #[command(subcommand)]
    Segment(Segment),
    /// Lend PCI functions of this node, list and borrow those of other nodes
    #[command(subcommand)]
    Device(device::Device),
    /// Print a completion script for a shell
    Completion {
        shell: Shell,
        /// For the command by this name
        #[arg(long, value_enum, default_value = "skiff")]
        of: Face,
    },
    /// Write the man pages of this command to a folder
    Man {
        #[arg(value_hint = ValueHint::DirPath)]
        folder: PathBuf,
    },
}

/// By which name the command is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Face {
    Skiff,
    #[value(name = "smartio_tool")]
    SmartioTool,
}

#[derive(Debug, Subcommand)]
pub enum Segment {
    /// Make a segment of this node's memory
    Create(Create),
    /// Copy a file to a segment
    Put(Copy),
    /// Copy a segment to a file
    Get(Copy),
    /// Connect to a segment and print what happens to the connection until it is lost
    Watch(Watch),
}

#[derive(Debug, Args)]
pub struct List {
    /// Only those of this node
    #[arg(value_parser = node)]
    pub node: Option<Node>,
    #[command(flatten)]
    pub reach: Reach,
}

/// A segment lives as long as the process that made it, or a connection to it: use --hold
#[derive(Debug, Args)]
pub struct Create {
    /// Id; without it the kernel chooses one
    #[arg(long, value_parser = number)]
    pub id: Option<u32>,
    /// Length; without it the file's
    #[arg(long, value_parser = bytes, required_unless_present = "file")]
    pub bytes: Option<u64>,
    /// Fill it from this file
    #[arg(long, value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// Who may connect, octal, as for files
    #[arg(long, value_parser = mode, default_value = "600")]
    pub mode: u32,
    /// Nodes that may connect, separated by commas; without it all
    #[arg(long, value_delimiter = ',')]
    pub nodes: Vec<u32>,
    /// Prepare it for this adapter only
    #[arg(long)]
    pub adapter: Option<u32>,
    /// Let others connect
    #[arg(long)]
    pub available: bool,
    /// Keep it, and print what happens to it, until SIGTERM, SIGINT, or the end of stdin if that is a pipe
    #[arg(long)]
    pub hold: bool,
    /// Print the SHA-256 of what was copied from the file
    #[arg(long, requires = "file")]
    pub sha256: bool,
}

#[derive(Debug, Args)]
pub struct Copy {
    /// Node that owns the segment
    #[arg(value_parser = node)]
    pub node: Node,
    /// Id of the segment
    #[arg(value_parser = number)]
    pub id: u32,
    /// File; - for stdin or stdout
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// First byte in the segment
    #[arg(long, value_parser = bytes, default_value = "0")]
    pub offset: u64,
    /// Length; without it the file's or what the segment has behind the offset
    #[arg(long, value_parser = bytes)]
    pub bytes: Option<u64>,
    /// Map it uncached instead of write-combining
    #[arg(long)]
    pub uncached: bool,
    /// Print the SHA-256 of what was copied
    #[arg(long)]
    pub sha256: bool,
    #[command(flatten)]
    pub reach: Reach,
}

#[derive(Debug, Args)]
pub struct Watch {
    /// Node that owns the segment
    #[arg(value_parser = node)]
    pub node: Node,
    /// Id of the segment
    #[arg(value_parser = number)]
    pub id: u32,
    /// End after this many events
    #[arg(long)]
    pub count: Option<u64>,
    #[command(flatten)]
    pub reach: Reach,
}

/// How a peer is reached.
#[derive(Debug, Args)]
pub struct Reach {
    /// Adapter to take; without it the first one that reaches the node
    #[arg(long)]
    pub adapter: Option<u32>,
    /// Limit of the wait for the peer in seconds, 0.001 to 60
    #[arg(long, value_parser = seconds, default_value = "5")]
    pub timeout: Duration,
}

impl Reach {
    pub fn options(&self) -> ConnectOptions {
        let options = ConnectOptions::new().timeout(self.timeout);
        match self.adapter {
            Some(adapter) => options.adapter(adapter),
            None => options,
        }
    }
}

/// A node's number, or "local".
pub fn node(word: &str) -> Result<Node, String> {
    match word {
        "local" => Ok(Node::Local),
        word => number(word)
            .map(Node::Number)
            .map_err(|_| String::from("neither a node's number nor \"local\"")),
    }
}

/// A number, decimal or with 0x.
fn number(word: &str) -> Result<u32, String> {
    match word.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => word.parse(),
    }
    .map_err(|e| e.to_string())
}

/// A length with an optional suffix.
fn bytes(word: &str) -> Result<u64, String> {
    let (digits, unit) = match word.as_bytes().last() {
        Some(b'K' | b'k') => (&word[..word.len() - 1], 1 << 10),
        Some(b'M' | b'm') => (&word[..word.len() - 1], 1 << 20),
        Some(b'G' | b'g') => (&word[..word.len() - 1], 1 << 30),
        _ => (word, 1),
    };
    let number = match digits.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    number
        .map_err(|e| e.to_string())?
        .checked_mul(unit)
        .ok_or_else(|| String::from("too large"))
}

/// Permission bits, octal.
pub fn mode(word: &str) -> Result<u32, String> {
    u32::from_str_radix(word, 8).map_err(|e| e.to_string())
}

/// A time in seconds.
pub fn seconds(word: &str) -> Result<Duration, String> {
    let seconds: f64 = word.parse().map_err(|_| String::from("no number"))?;
    if !(0.001..=60.0).contains(&seconds) {
        return Err(String::from("not within 0.001 and 60"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn nodes() {
        assert_eq!(node("local"), Ok(Node::Local));
        assert_eq!(node("0"), Ok(Node::Number(0)));
        assert_eq!(node("0x3f"), Ok(Node::Number(63)));
        assert!(node("-1").is_err());
        assert!(node("all").is_err());
    }

    #[test]
    fn lengths() {
        assert_eq!(bytes("1"), Ok(1));
        assert_eq!(bytes("4K"), Ok(4096));
        assert_eq!(bytes("0x10M"), Ok(16 << 20));
        assert_eq!(bytes("2g"), Ok(2 << 30));
        assert!(bytes("").is_err());
        assert!(bytes("M").is_err());
        assert!(bytes("1.5M").is_err());
        assert_eq!(bytes("17179869184G"), Err(String::from("too large")));
    }

    #[test]
    fn modes_and_times() {
        assert_eq!(mode("640"), Ok(0o640));
        assert!(mode("8").is_err());
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert!(seconds("0").is_err());
        assert!(seconds("61").is_err());
        assert!(seconds("NaN").is_err());
    }

    #[test]
    fn create_needs_a_length_or_a_file() {
        let parse = |words: &str| Arguments::try_parse_from(words.split(' '));
        assert!(parse("skiff segment create").is_err());
        assert!(parse("skiff segment create --bytes 1").is_ok());
        assert!(parse("skiff segment create --file f").is_ok());
        assert!(parse("skiff segment create --bytes 1 --sha256").is_err());
    }
}
