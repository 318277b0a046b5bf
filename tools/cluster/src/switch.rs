// SPDX-License-Identifier: GPL-2.0
//! The switch process of a cluster: started, killed, started again.
//!
//! Owns the process and a control connection to it; both change together, behind one lock of the cluster.

use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{mpsc, Arc};
use std::thread;
use std::time::Duration;

use ntb_switch::control::ControlClient;

use crate::process::{describe, Process};
use crate::{places, Builder, Error, WindowMode};

const READY_LIMIT: Duration = Duration::from_secs(20);

/// A running switch. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Switch {
    process: Process,
    /// It ends when this closes.
    _stdin: Option<std::process::ChildStdin>,
    pub(crate) control: Arc<ControlClient>,
}

fn failed(what: &str) -> impl FnOnce(io::Error) -> Error {
    let what = format!("switch: {what}");
    move |source| Error::Io { what, source }
}

impl Switch {
    /// Starts it and waits until it serves `ports` ports in `run_dir`.
    pub(crate) fn start(builder: &Builder, ports: usize, run_dir: &Path) -> Result<Switch, Error> {
        let log_path = run_dir.join("switch.log");
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log_path)
            .map_err(failed("open its log"))?;
        let mut command = Command::new(places::switch()?);
        command
            .arg("--run-dir")
            .arg(run_dir)
            .args(["--ports", &ports.to_string()]);
        command.args([
            "--layout",
            builder.layout.name(),
            "--windows",
            builder.lut.name(),
        ]);
        command.args([
            "--aperture",
            &builder.aperture,
            "--device-aperture",
            &builder.device_aperture,
        ]);
        if builder.windows == WindowMode::Trapped {
            command.arg("--trapped");
        }
        command.args(&builder.switch_args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log);
        tracing::debug!(?command, "starting the switch");
        let (process, pipes) = Process::spawn(command, &[]).map_err(failed("start it"))?;
        let (ready, answer) = mpsc::channel();
        let stdout = pipes
            .stdout
            .ok_or_else(|| failed("read its output")(io::ErrorKind::BrokenPipe.into()))?;
        thread::Builder::new()
            .name("switch output".to_owned())
            .spawn(move || {
                // Read on after that, so that it never blocks on what it says.
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if line.trim() == "ready" {
                        let _ = ready.send(());
                    } else {
                        tracing::info!(line, "switch");
                    }
                }
            })
            .map_err(failed("read its output"))?;
        // The sender goes away with the output.
        let tail = || {
            let said = std::fs::read_to_string(&log_path).unwrap_or_default();
            let lines: Vec<&str> = said.lines().collect();
            format!(
                "\n--- end of its log:\n{}",
                lines[lines.len().saturating_sub(20)..].join("\n")
            )
        };
        match answer.recv_timeout(READY_LIMIT) {
            Ok(()) => {}
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let (who, what) = ("switch".to_owned(), "\"ready\"".to_owned());
                return Err(Error::Timeout {
                    who,
                    what,
                    limit: READY_LIMIT,
                    tail: tail(),
                });
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let end = process
                    .wait(Duration::from_secs(1))
                    .map_or("it closed its output".to_owned(), describe);
                let (who, what) = ("switch".to_owned(), "\"ready\"".to_owned());
                return Err(Error::Gone {
                    who,
                    why: end,
                    what,
                    tail: tail(),
                });
            }
        }
        let control = ControlClient::connect(run_dir.join("control.sock"))
            .map_err(|error| failed("connect to its control socket")(io::Error::other(error)))?;
        Ok(Switch {
            process,
            _stdin: pipes.stdin,
            control: Arc::new(control),
        })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// How it ended by itself, if it did.
    pub(crate) fn ended(&self) -> Option<String> {
        self.process.ended().map(describe)
    }
}
