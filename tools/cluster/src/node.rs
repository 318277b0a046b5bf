// SPDX-License-Identifier: GPL-2.0
//! One node: a QEMU machine and the agent inside it, through kills and fresh starts.
//!
//! The current machine is behind a lock that is held only to look at it or replace it; whoever talks to it holds a
//! reference of its own. What has to do with files, hot-plug and logs is in the modules below.

mod errors;
mod files;
mod hotplug;
mod logs;
mod watch;

pub use errors::PortError;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;
use skiff_agent::message::{Power, Request, PORT_NAME};

use crate::kernel::Modules;
use crate::klog::KernelLog;
use crate::machine::{Image, Machine};
use crate::qemu::disk_file;
use crate::scan::Expected;
use crate::spec::NodeSpec;
use crate::{Command, Error, Iommu, Kernel, Output};

/// How often a condition inside a node is looked at, if looking is quick: at least half of its time a node must get on.
const POLL: Duration = Duration::from_millis(50);

/// Patience with a guest that is asked to reboot, before the boot itself.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(30);

/// A node of a cluster. All methods may be called from several threads.
#[derive(Debug)]
pub struct Node {
    spec: NodeSpec,
    image: Image,
    modules: Arc<Modules>,
    log: Arc<KernelLog>,
    machine: Mutex<Option<Arc<Machine>>>,
    boot_time: Mutex<Duration>,
    expected: Mutex<Vec<Expected>>,
    /// Ends of QEMU that nobody asked for.
    accidents: Mutex<Vec<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Node {
    /// A node that does not run yet.
    pub(crate) fn new(spec: NodeSpec, image: Image, modules: Arc<Modules>) -> Node {
        let expected = Mutex::new(spec.expected.clone());
        Node {
            spec,
            image,
            modules,
            log: Arc::default(),
            machine: Mutex::default(),
            boot_time: Mutex::default(),
            expected,
            accidents: Mutex::default(),
        }
    }

    /// Its index in the cluster, from 0.
    pub fn index(&self) -> usize {
        self.spec.index
    }

    /// The kernel it boots.
    pub fn kernel(&self) -> Kernel {
        self.spec.kernel
    }

    /// Its memory in MiB.
    pub fn memory_mib(&self) -> u32 {
        self.spec.memory_mib
    }

    /// The port (partition index) of its adapter `adapter`.
    ///
    /// # Panics
    /// If it has no such adapter.
    pub fn port(&self, adapter: usize) -> u8 {
        self.spec.ports[adapter]
    }

    /// The ports of all its adapters.
    pub fn ports(&self) -> &[u8] {
        &self.spec.ports
    }

    /// The file behind a disk of its description.
    pub fn disk(&self, name: &str) -> PathBuf {
        disk_file(&self.image.log_dir, name)
    }

    /// From the start (or reset) of its machine to the first word of its agent, for the current boot.
    pub fn boot_time(&self) -> Duration {
        *lock(&self.boot_time)
    }

    /// Process id of its QEMU, if it runs.
    pub fn pid(&self) -> Option<i32> {
        lock(&self.machine)
            .as_ref()
            .map(|machine| machine.process().pid())
    }

    /// What it is called in messages.
    pub(crate) fn who(&self) -> String {
        format!("node {}", self.spec.index)
    }

    /// The current machine.
    pub(crate) fn machine(&self) -> Result<Arc<Machine>, Error> {
        lock(&self.machine)
            .clone()
            .ok_or_else(|| Error::Config(format!("{} does not run", self.who())))
    }

    /// Runs a shell line to its end, with a limit of 60 s.
    ///
    /// # Errors
    /// A failing command is not an error, see [`Output::check`]; an unreachable node is.
    pub fn run(&self, line: &str) -> Result<Output, Error> {
        self.shell(line).run()
    }

    /// Runs a shell line as [`run`](Self::run) does, with the driver off the agent's port meanwhile: what the line prints is
    /// told when the port is back.
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    pub fn run_cut_off(&self, line: &str) -> Result<Output, Error> {
        self.run(&format!(
            "port=$(grep -lx {PORT_NAME} /sys/class/virtio-ports/*/name) || exit
            device=$(readlink -f ${{port%/name}}/device)
            driver=/sys/bus/virtio/drivers/virtio_console
            echo ${{device##*/}} > $driver/unbind || exit
            ({line})
            result=$?
            echo ${{device##*/}} > $driver/bind && exit $result"
        ))
    }

    /// Asks the machine to sleep, and waits for the answer: a refusal, or that it has slept. Who does not want it to sleep for
    /// good sets `/sys/power/pm_test` before.
    ///
    /// The agent's port does not sleep with it: Linux's `virtio_console` throws away what is under way in either direction
    /// when it suspends (`virtcons_freeze`).
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    pub fn sleep(&self) -> Result<Output, Error> {
        self.run_cut_off("echo mem > /sys/power/state")
    }

    /// A shell line, to be refined and run.
    pub fn shell(&self, line: &str) -> Command {
        let mut command = self.command(["/bin/sh", "-c", line]);
        command.set_title(line);
        command
    }

    /// A program with its arguments, to be refined and run.
    pub fn command<I, S>(&self, argv: I) -> Command
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        Command::new(
            self.spec.index,
            self.machine(),
            argv.into_iter().map(Into::into).collect(),
        )
    }

    /// Loads a module of the node's /lib/modules after those it depends on; `name` may be followed by parameters.
    /// What is loaded already is left alone.
    ///
    /// # Errors
    /// [`Error::Missing`] for an unknown module, [`Error::Failed`] when the kernel refuses one.
    pub fn modprobe(&self, name: &str) -> Result<(), Error> {
        let (name, parameters) = name.split_once(' ').unwrap_or((name, ""));
        let plan = self.modules.plan(name)?;
        let steps = plan.iter().enumerate().map(|(at, module)| {
            let parameters = if at.saturating_add(1) == plan.len() { parameters } else { "" };
            format!("{{ [ -d /sys/module/{module} ] || insmod /lib/modules/{module}.ko {parameters}; }}")
        });
        let script: Vec<String> = steps.collect();
        if script.is_empty() {
            return Ok(());
        }
        self.run(&script.join(" && "))?.check().map(drop)
    }

    /// Waits until a shell line succeeds, trying it every 50 ms, less often if it takes longer itself.
    ///
    /// # Errors
    /// [`Error::Timeout`] with the line's last output.
    pub fn wait_for(&self, line: &str, limit: Duration) -> Result<Output, Error> {
        let start = Instant::now();
        loop {
            let output = self.run(line)?;
            if output.status.success() {
                return Ok(output);
            }
            if start.elapsed() >= limit {
                let (status, said, complained) =
                    (output.status, output.stdout_text(), output.stderr_text());
                let tail = format!("\n--- the last time: {status}\n{said}{complained}");
                return Err(Error::Timeout {
                    who: self.who(),
                    what: format!("success of `{line}`"),
                    limit,
                    tail,
                });
            }
            thread::sleep(POLL.max(output.elapsed));
        }
    }

    /// Whether its QEMU runs (also when paused).
    pub fn is_running(&self) -> bool {
        lock(&self.machine)
            .as_ref()
            .is_some_and(|machine| machine.process().ended().is_none())
    }

    /// Starts a killed node in a fresh QEMU and waits for its agent.
    ///
    /// # Errors
    /// As [`crate::Builder::start`]; [`Error::Config`] if it runs.
    pub fn start(&self) -> Result<(), Error> {
        if self.is_running() {
            return Err(Error::Config(format!("{} runs already", self.who())));
        }
        self.put_away();
        let machine = Arc::new(Machine::start(
            &self.spec,
            &self.image,
            Arc::clone(&self.log),
        )?);
        *lock(&self.machine) = Some(Arc::clone(&machine));
        self.finish_boot(&machine, 0, machine.started())
    }

    /// Waits for the agent later than the first `before`, and does what has to be done first in every boot.
    fn finish_boot(&self, machine: &Machine, before: u32, since: Instant) -> Result<(), Error> {
        machine.wait_agent(before, self.spec.boot_limit)?;
        *lock(&self.boot_time) = since.elapsed();
        if self.spec.iommu == Iommu::Virtio {
            self.modprobe("virtio_iommu")?;
        }
        // Whatever happens to it next, its boot log is here.
        self.sync_log();
        tracing::info!(
            node = self.spec.index,
            seconds = since.elapsed().as_secs_f32(),
            "booted"
        );
        Ok(())
    }

    /// Forgets the machine, if there is one, and notes it if its end was an accident.
    fn put_away(&self) -> Option<Arc<Machine>> {
        let machine = lock(&self.machine).take()?;
        lock(&self.accidents).extend(machine.unexpected_end());
        machine.kill();
        Some(machine)
    }

    /// Kills its QEMU at once, as if the node had lost power. [`Node::start`] starts it afresh.
    ///
    /// # Errors
    /// [`Error::Config`] if it does not run.
    pub fn kill(&self) -> Result<(), Error> {
        self.put_away()
            .map(drop)
            .ok_or_else(|| Error::Config(format!("{} does not run", self.who())))
    }

    fn signal(&self, signal: Signal) -> Result<(), Error> {
        let what = || format!("{}: send {signal} to QEMU", self.who());
        self.machine()?
            .process()
            .signal(signal)
            .map_err(|source| Error::Io {
                what: what(),
                source,
            })
    }

    /// Stops its whole QEMU process (SIGSTOP) and waits until all its threads stand still: the node answers nothing,
    /// its memory stays.
    ///
    /// # Errors
    /// [`Error::Config`] if it does not run; [`Error::Timeout`] if it does not stop.
    pub fn pause(&self) -> Result<(), Error> {
        const LIMIT: Duration = Duration::from_secs(10);
        self.signal(Signal::SIGSTOP)?;
        let deadline = Instant::now() + LIMIT;
        while !self.machine()?.process().is_stopped() {
            if Instant::now() >= deadline {
                return Err(Error::Timeout {
                    who: self.who(),
                    what: "stopped QEMU".to_owned(),
                    limit: LIMIT,
                    tail: String::new(),
                });
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Ends [`Node::pause`].
    ///
    /// # Errors
    /// [`Error::Config`] if it does not run.
    pub fn resume(&self) -> Result<(), Error> {
        self.signal(Signal::SIGCONT)
    }

    /// Stops only its virtual CPUs (QMP stop): its devices still answer.
    ///
    /// # Errors
    /// [`Error::Qmp`].
    pub fn stop_cpus(&self) -> Result<(), Error> {
        self.machine()?.monitor("stop", json!({})).map(drop)
    }

    /// Ends [`Node::stop_cpus`].
    ///
    /// # Errors
    /// [`Error::Qmp`].
    pub fn cont_cpus(&self) -> Result<(), Error> {
        self.machine()?.monitor("cont", json!({})).map(drop)
    }

    /// Reboots the guest from inside, in the same QEMU, and waits for its agent.
    ///
    /// # Errors
    /// [`Error::Timeout`] with the end of the console log.
    pub fn reboot(&self) -> Result<(), Error> {
        let machine = self.machine()?;
        self.sync_log();
        let before = machine.link.sessions();
        machine.qmp.forget_events();
        machine.link.tell(Request::Power(Power::Reboot));
        machine.wait_event("RESET", SHUTDOWN_LIMIT)?;
        self.finish_boot(&machine, before, Instant::now())
    }

    /// Presses the reset button (QMP system_reset) and waits for the agent: no driver gets to clean up.
    ///
    /// # Errors
    /// [`Error::Timeout`] with the end of the console log.
    pub fn reset(&self) -> Result<(), Error> {
        let machine = self.machine()?;
        let before = machine.link.sessions();
        machine.monitor("system_reset", json!({}))?;
        self.finish_boot(&machine, before, Instant::now())
    }
}
