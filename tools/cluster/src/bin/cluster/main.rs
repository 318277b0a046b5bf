// SPDX-License-Identifier: GPL-2.0
//! Starts a cluster of emulated nodes and lets a person, or a script, work with it.
//!
//! `up` owns the cluster; everything else reaches it through the socket in its run directory.

mod describe;
mod prompt;
mod remote;
mod screen;
mod server;
mod terminal;
mod wire;
mod words;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use skiff_cluster::Cluster;
use tracing_subscriber::EnvFilter;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Emulated nodes on an emulated PCI Express switch with non-transparent bridges.
#[derive(Debug, Parser)]
#[command(name = "cluster", version)]
struct Cli {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Start a cluster and read commands from the terminal, or from standard input as a script
    Up(describe::Description),
    /// Start a cluster, run one command on every node, and leave with the worst exit code
    Run {
        #[command(flatten)]
        description: describe::Description,
        /// The command; one word is a shell line
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// A shell on a node of a cluster that is up in another terminal
    Shell {
        #[command(flatten)]
        which: Which,
        /// The node, from 0
        node: usize,
    },
    /// Run a command on a node of a cluster that is up in another terminal
    Exec {
        #[command(flatten)]
        which: Which,
        /// The node, from 0
        node: usize,
        /// The command; one word is a shell line
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// The clusters that are up
    List,
}

#[derive(Debug, Args)]
struct Which {
    /// Run directory of the cluster, as `cluster list` shows it [default: the only one that is up]
    #[arg(long)]
    cluster: Option<std::path::PathBuf>,
}

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    log.with_ansi(std::io::stderr().is_terminal()).init();
    let result = match Cli::parse().action {
        Action::Up(description) => up(description),
        Action::Run {
            description,
            command,
        } => run(description, &command),
        Action::Shell { which, node } => remote::shell(which.cluster, node),
        Action::Exec {
            which,
            node,
            command,
        } => remote::exec(which.cluster, node, shell_line(&command)),
        Action::List => remote::list(),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("cluster: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One word is a shell line as it is; several are words that the shell must not take apart.
fn shell_line(words: &[String]) -> String {
    match words {
        [line] => line.clone(),
        words => words
            .iter()
            .map(|word| words::quote(word))
            .collect::<Vec<_>>()
            .join(" "),
    }
}

/// An exit code that a process can have.
fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

fn start(description: describe::Description) -> Result<Cluster, Failure> {
    skiff_cluster::exit_on_signals()?;
    let cluster = description.builder()?;
    eprintln!("starting {}", description.words());
    Ok(cluster.start()?)
}

fn up(description: describe::Description) -> Result<ExitCode, Failure> {
    let limit = description.limit();
    let cluster = Arc::new(start(description)?);
    server::start(&cluster)?;
    print!("{}", screen::nodes(&cluster));
    let failures = prompt::converse(&cluster, limit)?;
    let clean = finish(&cluster);
    Ok(if failures == 0 && clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Says what is wrong with the kernel logs; true if nothing is.
fn finish(cluster: &Cluster) -> bool {
    let findings = cluster.log_findings();
    for finding in &findings {
        eprintln!("{finding}");
    }
    cluster.shut_down();
    findings.is_empty()
}

fn run(description: describe::Description, command: &[String]) -> Result<ExitCode, Failure> {
    let limit = description.limit();
    let cluster = start(description)?;
    let line = shell_line(command);
    let results: Vec<_> = std::thread::scope(|scope| {
        let line = &line;
        let run =
            |node| scope.spawn(move || skiff_cluster::Node::shell(node, line).timeout(limit).run());
        let workers: Vec<_> = cluster.nodes().iter().map(run).collect();
        workers.into_iter().map(|worker| worker.join()).collect()
    });
    let mut worst = 0;
    for (index, result) in results.into_iter().enumerate() {
        match result {
            Ok(Ok(output)) => {
                print!("{}", screen::output(&output, cluster.nodes().len()));
                worst = worst.max(output.status.code());
            }
            Ok(Err(error)) => {
                eprintln!("cluster: {error}");
                worst = worst.max(1);
            }
            Err(_) => return Err(format!("the thread of node {index} panicked").into()),
        }
    }
    if !finish(&cluster) {
        worst = worst.max(1);
    }
    Ok(exit_code(worst))
}
