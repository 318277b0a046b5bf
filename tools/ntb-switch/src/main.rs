// SPDX-License-Identifier: GPL-2.0
//! `ntb-switch`: runs an emulated NTB switch until it gets SIGTERM or SIGINT, its standard input closes, or the control
//! socket says so.

use std::io::{IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use ntb_switch::model::{Layout, PortConfig, Protection, Windows};
use ntb_switch::server::{PortSettings, Server, ServerConfig, WindowMode};

/// An emulated PCI Express switch with non-transparent bridges, for QEMU machines that attach by vfio-user.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Folder for the sockets port<P>.sock, remap.sock and control.sock, and the window files.
    #[arg(long, value_name = "DIR")]
    run_dir: PathBuf,
    /// Number of ports, 1 to 8.
    #[arg(long, value_name = "N")]
    ports: u8,
    /// Which function carries the memory window.
    #[arg(long, value_enum, default_value_t = LayoutArgument::Chip)]
    layout: LayoutArgument,
    /// How the windows translate.
    #[arg(long, value_enum, default_value_t = WindowsArgument::Lut12)]
    windows: WindowsArgument,
    /// Bytes of the memory window, a power of two; K, M and G are understood.
    #[arg(long, value_name = "BYTES", default_value = "1G")]
    aperture: Bytes,
    /// Bytes of the device window, a power of two; K, M and G are understood.
    #[arg(long, value_name = "BYTES", default_value = "64M")]
    device_aperture: Bytes,
    /// Trap every access to the memory windows, instead of having them mapped with a helper's help.
    #[arg(long)]
    trapped: bool,
    /// Protect the ports from each other as a board's EEPROM can; Linux's own ntb_hw_idt does not work then.
    #[arg(long)]
    guarded: bool,
    /// Other settings for one port: P:KEY=VALUE,… with the keys layout, windows, aperture, device-aperture and trapped.
    #[arg(long, value_name = "P:SETTINGS")]
    port: Vec<PortArgument>,
    /// How long a node may take to answer a read of its device registers, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 100)]
    read_timeout: u64,
    /// How long a re-mapping helper may take to confirm a change, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 2000)]
    helper_timeout: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LayoutArgument {
    /// BAR2 of the NT function, as on the chip.
    Chip,
    /// A companion function backed by the file ntbwin-port<P>.
    Companion,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum WindowsArgument {
    /// Both windows by lookup tables of 12 entries.
    Lut12,
    /// The memory window by a lookup table of 24 entries, the device window direct.
    #[value(name = "lut24-direct")]
    Lut24Direct,
}

impl From<LayoutArgument> for Layout {
    fn from(argument: LayoutArgument) -> Self {
        match argument {
            LayoutArgument::Chip => Self::Chip,
            LayoutArgument::Companion => Self::Companion,
        }
    }
}

impl From<WindowsArgument> for Windows {
    fn from(argument: WindowsArgument) -> Self {
        match argument {
            WindowsArgument::Lut12 => Self::Lut12,
            WindowsArgument::Lut24Direct => Self::Lut24Direct,
        }
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bytes(u64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, shift) = match text.char_indices().last() {
            Some((at, 'K' | 'k')) => (&text[..at], 10),
            Some((at, 'M' | 'm')) => (&text[..at], 20),
            Some((at, 'G' | 'g')) => (&text[..at], 30),
            _ => (text, 0),
        };
        let number: u64 = digits
            .parse()
            .map_err(|_| format!("`{text}` is no number of bytes"))?;
        number
            .checked_mul(1 << shift)
            .map(Self)
            .ok_or_else(|| format!("`{text}` is too much"))
    }
}

/// Settings of one port that differ from the others'.
#[derive(Debug, Clone)]
struct PortArgument {
    port: usize,
    settings: Vec<(String, String)>,
}

impl FromStr for PortArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (port, settings) = text.split_once(':').ok_or("P:KEY=VALUE,… is wanted")?;
        let port = port.parse().map_err(|_| format!("`{port}` is no port"))?;
        let settings = settings
            .split(',')
            .map(|setting| {
                let (key, value) = setting.split_once('=').unwrap_or((setting, "true"));
                (key.to_owned(), value.to_owned())
            })
            .collect();
        Ok(Self { port, settings })
    }
}

impl PortArgument {
    fn apply(&self, to: &mut PortSettings) -> Result<(), String> {
        let config = &mut to.config;
        for (key, value) in &self.settings {
            match key.as_str() {
                "layout" => config.layout = LayoutArgument::from_str(value, false)?.into(),
                "windows" => config.windows = WindowsArgument::from_str(value, false)?.into(),
                "aperture" => config.memory_aperture = value.parse::<Bytes>()?.0,
                "device-aperture" => config.device_aperture = value.parse::<Bytes>()?.0,
                "trapped" => {
                    to.mode = match value.as_str() {
                        "true" => WindowMode::Trapped,
                        "false" => WindowMode::Mapped,
                        _ => return Err(format!("trapped is true or false, not `{value}`")),
                    }
                }
                _ => return Err(format!("`{key}` is no setting of a port")),
            }
        }
        Ok(())
    }
}

impl Arguments {
    fn server_config(&self) -> Result<ServerConfig, String> {
        let settings = PortSettings {
            config: PortConfig {
                layout: self.layout.into(),
                windows: self.windows.into(),
                memory_aperture: self.aperture.0,
                device_aperture: self.device_aperture.0,
            },
            mode: if self.trapped {
                WindowMode::Trapped
            } else {
                WindowMode::Mapped
            },
        };
        let mut ports = vec![settings; self.ports.into()];
        for argument in &self.port {
            let port = ports.get_mut(argument.port).ok_or_else(|| {
                format!("--port {}: there are {} ports", argument.port, self.ports)
            })?;
            argument
                .apply(port)
                .map_err(|why| format!("--port {}: {why}", argument.port))?;
        }
        Ok(ServerConfig {
            run_dir: self.run_dir.clone(),
            ports,
            protection: if self.guarded {
                Protection::Guarded
            } else {
                Protection::Open
            },
            read_timeout: Duration::from_millis(self.read_timeout),
            helper_timeout: Duration::from_millis(self.helper_timeout),
            most_pieces: ServerConfig::MOST_PIECES,
        })
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    // Blocked before there are other threads, which inherit it: the signals are taken from the descriptor alone.
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.thread_block()?;
    let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;

    let server = Server::start(&arguments.server_config()?)?;
    let mut out = std::io::stdout();
    writeln!(out, "ready")?;
    out.flush()?;

    let mut input = std::io::stdin();
    loop {
        let woken = server.wait(&[signals.as_fd(), input.as_fd()])?;
        // Whatever is typed is ignored; the end of the input ends the switch, as a signal or the control socket does.
        if woken != [false, true] || input.read(&mut [0; 256])? == 0 {
            return Ok(());
        }
    }
}

fn main() -> ExitCode {
    let filter =
        tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ntb-switch: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<ServerConfig, String> {
        let arguments = ["ntb-switch", "--run-dir", "/run/x"]
            .iter()
            .chain(arguments);
        Arguments::try_parse_from(arguments)
            .map_err(|e| e.to_string())?
            .server_config()
    }

    #[test]
    fn defaults_are_the_chip_with_large_mapped_windows() {
        let config = parse(&["--ports", "2"]).unwrap();
        assert_eq!(config.ports.len(), 2);
        assert_eq!(config.ports[1].config.layout, Layout::Chip);
        assert_eq!(config.ports[1].config.memory_aperture, 1 << 30);
        assert_eq!(config.ports[1].config.device_aperture, 64 << 20);
        assert_eq!(config.ports[1].mode, WindowMode::Mapped);
        assert_eq!(config.protection, Protection::Open);
        assert_eq!(config.read_timeout, ServerConfig::READ_TIMEOUT);
        assert_eq!(config.helper_timeout, ServerConfig::HELPER_TIMEOUT);
    }

    #[test]
    fn one_port_can_differ() {
        let config = parse(&[
            "--ports",
            "3",
            "--trapped",
            "--port",
            "1:layout=companion,aperture=16M,trapped=false",
            "--port",
            "2:windows=lut24-direct,device-aperture=128K",
        ])
        .unwrap();
        assert_eq!(config.ports[0].mode, WindowMode::Trapped);
        assert_eq!(config.ports[1].config.layout, Layout::Companion);
        assert_eq!(config.ports[1].config.memory_aperture, 16 << 20);
        assert_eq!(config.ports[1].mode, WindowMode::Mapped);
        assert_eq!(config.ports[2].config.windows, Windows::Lut24Direct);
        assert_eq!(config.ports[2].config.device_aperture, 128 << 10);
    }

    #[test]
    fn nonsense_is_refused() {
        for wrong in [
            &["--ports", "2", "--port", "2:trapped"][..],
            &["--ports", "2", "--port", "1:colour=red"],
            &["--ports", "2", "--port", "1:trapped=perhaps"],
            &["--ports", "2", "--port", "1"],
            &["--ports", "2", "--aperture", "1T"],
            &["--ports", "2", "--aperture", "99999999999G"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
