// SPDX-License-Identifier: GPL-2.0
//! The commands of `cluster up`, from a person at a terminal or from a script on standard input.

use std::io::{self, BufRead, IsTerminal, Write};
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, Subcommand};
use ntb_switch::control::LinkState;
use rustyline::error::ReadlineError;
use skiff_cluster::{Cluster, Node};

use crate::{remote, screen, Failure};

/// Which nodes a command is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nodes {
    All,
    One(usize),
}

impl FromStr for Nodes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Nodes::All),
            number => number
                .parse()
                .map(Nodes::One)
                .map_err(|_| format!("{number:?} is neither a node nor `all`")),
        }
    }
}

#[derive(Debug, Parser)]
#[command(
    name = "",
    no_binary_name = true,
    disable_help_flag = true,
    override_usage = "COMMAND [ARGUMENTS]"
)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
enum Command {
    /// A shell on a node; exit or ^D comes back here
    Shell { node: usize },
    /// Run a shell line on a node, or on `all`
    Run {
        nodes: Nodes,
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        line: Vec<String>,
    },
    /// Copy a file into a node, or into `all`
    Put {
        nodes: Nodes,
        local: String,
        remote: String,
    },
    /// Copy a file out of a node
    Get {
        node: usize,
        remote: String,
        local: String,
    },
    /// Load a module, after those it depends on
    Modprobe {
        nodes: Nodes,
        name: String,
        #[arg(trailing_var_arg = true)]
        parameters: Vec<String>,
    },
    /// The last lines of a node's kernel log
    Log {
        node: usize,
        #[arg(default_value_t = 20)]
        lines: usize,
    },
    /// The table of nodes
    Nodes,
    /// What the switch has counted
    Counters,
    /// Let a port's link go down or up
    Link { port: u8, state: String },
    /// Kill a node's QEMU, as a power failure would
    Kill { node: usize },
    /// Start a killed node afresh
    Start { node: usize },
    /// Stop a node's whole QEMU process
    Pause { node: usize },
    /// Let a paused node go on
    Resume { node: usize },
    /// Stop only a node's CPUs
    StopCpus { node: usize },
    /// Let a node's CPUs go on
    ContCpus { node: usize },
    /// Reboot a node from inside
    Reboot { node: usize },
    /// Press a node's reset button
    Reset { node: usize },
    /// Hot-unplug an adapter of a node
    Unplug {
        node: usize,
        #[arg(default_value_t = 0)]
        adapter: usize,
    },
    /// Hot-plug an adapter of a node again
    Plug {
        node: usize,
        #[arg(default_value_t = 0)]
        adapter: usize,
    },
    /// Kill the switch
    KillSwitch,
    /// Start another switch
    RestartSwitch,
    /// What is wrong with the kernel logs so far
    Findings,
    /// Power everything off
    Quit,
}

/// Takes a line apart; a shell line stays as it was typed.
fn parse(line: &str) -> Result<Option<Command>, clap::Error> {
    let words: Vec<&str> = line.split_whitespace().collect();
    if words.is_empty() || line.trim_start().starts_with('#') {
        return Ok(None);
    }
    let mut command = Line::try_parse_from(&words)?.command;
    if let Command::Run { line: rest, .. } = &mut command {
        let after = |text: &str| {
            text.trim_start()
                .split_once(char::is_whitespace)
                .map(|(_, rest)| rest.to_owned())
        };
        if let Some(typed) = after(line).as_deref().and_then(after) {
            *rest = vec![typed.trim().to_owned()];
        }
    }
    Ok(Some(command))
}

/// Reads and carries out commands to the end, each shell line within `limit`; returns how many of a script's commands failed.
///
/// # Errors
/// When standard input cannot be read.
pub fn converse(cluster: &Cluster, limit: Duration) -> Result<usize, Failure> {
    if io::stdin().is_terminal() {
        println!(
            "`help` lists the commands, `shell 0` gives a shell on node 0, ^D ends everything"
        );
        converse_with_person(cluster, limit)?;
        return Ok(0);
    }
    let mut failures = 0;
    for line in io::stdin().lock().lines() {
        match obey(cluster, &line?, limit) {
            Ok(Next::Go) => {}
            Ok(Next::Stop) => break,
            Err(error) => {
                eprintln!("{error}");
                failures += 1;
            }
        }
    }
    Ok(failures)
}

fn converse_with_person(cluster: &Cluster, limit: Duration) -> Result<(), Failure> {
    let mut editor = rustyline::DefaultEditor::new()?;
    loop {
        match editor.readline("cluster> ") {
            Ok(line) => {
                editor.add_history_entry(&line)?;
                match obey(cluster, &line, limit) {
                    Ok(Next::Go) => {}
                    Ok(Next::Stop) => return Ok(()),
                    Err(error) => eprintln!("{error}"),
                }
            }
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

enum Next {
    Go,
    Stop,
}

fn obey(cluster: &Cluster, line: &str, limit: Duration) -> Result<Next, Failure> {
    match parse(line) {
        Ok(Some(Command::Quit)) => return Ok(Next::Stop),
        Ok(Some(command)) => act(cluster, command, limit)?,
        Ok(None) => {}
        Err(error) if !error.use_stderr() => print!("{error}"),
        Err(error) => return Err(error.to_string().trim_end().to_owned().into()),
    }
    io::stdout().flush()?;
    Ok(Next::Go)
}

fn find(cluster: &Cluster, node: usize) -> Result<&Node, Failure> {
    cluster
        .nodes()
        .get(node)
        .ok_or_else(|| format!("there is no node {node}").into())
}

fn select(cluster: &Cluster, nodes: Nodes) -> Result<Vec<&Node>, Failure> {
    match nodes {
        Nodes::All => Ok(cluster.nodes().iter().collect()),
        Nodes::One(node) => Ok(vec![find(cluster, node)?]),
    }
}

fn act(cluster: &Cluster, command: Command, limit: Duration) -> Result<(), Failure> {
    let node = |index| find(cluster, index);
    match command {
        Command::Shell { node: index } => {
            node(index)?;
            remote::shell_in(cluster.run_dir(), index)?;
        }
        Command::Run { nodes, line } => {
            let nodes = select(cluster, nodes)?;
            let mut worst = None;
            for node in &nodes {
                let output = node.shell(&line.join(" ")).timeout(limit).run()?;
                print!("{}", screen::output(&output, nodes.len()));
                worst = Some(output.status)
                    .filter(|status| !status.success())
                    .or(worst);
            }
            if let Some(status) = worst {
                return Err(format!("`{}` failed: {status}", line.join(" ")).into());
            }
        }
        Command::Put {
            nodes,
            local,
            remote,
        } => {
            for node in select(cluster, nodes)? {
                node.put(&local, &remote)?;
            }
        }
        Command::Get {
            node: index,
            remote,
            local,
        } => node(index)?.get(&remote, &local)?,
        Command::Modprobe {
            nodes,
            name,
            parameters,
        } => {
            let words: Vec<String> = std::iter::once(name).chain(parameters).collect();
            for node in select(cluster, nodes)? {
                node.modprobe(&words.join(" "))?;
            }
        }
        Command::Log { node: index, lines } => {
            let log = node(index)?.kernel_log();
            for line in &log[log.len().saturating_sub(lines)..] {
                println!("{line}");
            }
        }
        Command::Nodes => print!("{}", screen::nodes(cluster)),
        Command::Counters => print!(
            "{}",
            screen::counters(&cluster.try_switch()?.all_counters()?)?
        ),
        Command::Link { port, state } => {
            let state = match state.as_str() {
                "up" => LinkState::Up,
                "down" => LinkState::Down,
                other => return Err(format!("a link is up or down, not {other}").into()),
            };
            cluster.try_switch()?.set_link(port, state)?;
        }
        Command::Kill { node: index } => node(index)?.kill()?,
        Command::Start { node: index } => node(index)?.start()?,
        Command::Pause { node: index } => node(index)?.pause()?,
        Command::Resume { node: index } => node(index)?.resume()?,
        Command::StopCpus { node: index } => node(index)?.stop_cpus()?,
        Command::ContCpus { node: index } => node(index)?.cont_cpus()?,
        Command::Reboot { node: index } => node(index)?.reboot()?,
        Command::Reset { node: index } => node(index)?.reset()?,
        Command::Unplug {
            node: index,
            adapter,
        } => node(index)?.unplug_ntb(adapter)?,
        Command::Plug {
            node: index,
            adapter,
        } => node(index)?.plug_ntb(adapter)?,
        Command::KillSwitch => cluster.kill_switch()?,
        Command::RestartSwitch => cluster.restart_switch()?,
        Command::Findings => {
            let findings = cluster.log_findings();
            for finding in &findings {
                println!("{finding}");
            }
            println!("{} finding(s)", findings.len());
        }
        Command::Quit => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Option<Command> {
        parse(line).unwrap()
    }

    #[test]
    fn a_shell_line_stays_as_it_was_typed() {
        let line = r#"  run  all   echo "a  b" | wc -c;  ls -l "#;
        let expected = r#"echo "a  b" | wc -c;  ls -l"#.to_owned();
        assert_eq!(
            parsed(line),
            Some(Command::Run {
                nodes: Nodes::All,
                line: vec![expected]
            })
        );
    }

    #[test]
    fn empty_lines_and_comments_do_nothing() {
        for line in ["", "   ", "# run 0 reboot"] {
            assert_eq!(parsed(line), None);
        }
    }

    #[test]
    fn commands_have_defaults() {
        assert_eq!(
            parsed("unplug 1"),
            Some(Command::Unplug {
                node: 1,
                adapter: 0
            })
        );
        assert_eq!(parsed("stop-cpus 2"), Some(Command::StopCpus { node: 2 }));
    }

    #[test]
    fn mistakes_are_explained() {
        assert!(parse("run x ls")
            .unwrap_err()
            .to_string()
            .contains("neither a node nor `all`"));
        assert!(parse("explode")
            .unwrap_err()
            .to_string()
            .contains("explode"));
        assert!(!parse("help").unwrap_err().use_stderr());
    }
}
