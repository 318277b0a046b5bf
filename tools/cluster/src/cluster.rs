// SPDX-License-Identifier: GPL-2.0
//! A running cluster: the switch, the nodes and the directory they share.
//!
//! The switch is behind a lock because it can be killed and replaced; nodes guard themselves.

use std::collections::btree_map::Entry;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use ntb_switch::control::ControlClient;

use crate::kernel::KernelFiles;
use crate::machine::Image;
use crate::rundir::RunDir;
use crate::switch::Switch;
use crate::{initramfs, spec, Builder, Error, Finding, Kernel, Node};

/// A running cluster. Dropping it kills everything and removes its files; [`Cluster::stop`] also checks the logs.
#[derive(Debug)]
pub struct Cluster {
    // In the order in which they have to go: machines, the switch they are attached to, the folder of both.
    nodes: Vec<Node>,
    switch: Mutex<Option<Switch>>,
    /// Ends of the switch that nobody asked for.
    accidents: Mutex<Vec<String>>,
    builder: Builder,
    run_dir: RunDir,
}

impl Cluster {
    /// The description of a cluster of two stock nodes with one adapter each, to be changed and started.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn start(builder: Builder) -> Result<Cluster, Error> {
        let specs = spec::resolve(&builder)?;
        let failed = |source| Error::Io {
            what: "make the run directory".to_owned(),
            source,
        };
        let run_dir = RunDir::new().map_err(failed)?;
        let mut kernels: BTreeMap<Kernel, (KernelFiles, PathBuf)> = BTreeMap::new();
        for spec in &specs {
            if let Entry::Vacant(place) = kernels.entry(spec.kernel) {
                let files = KernelFiles::find(spec.kernel)?;
                let archive = run_dir
                    .path()
                    .join(format!("initramfs-{}.cpio", spec.kernel));
                initramfs::build(&archive, &files.modules, &builder.files)?;
                place.insert((files, archive));
            }
        }
        let modules: BTreeMap<Kernel, _> = kernels
            .iter()
            .map(|(kernel, (files, _))| (*kernel, Arc::new(files.modules.clone())))
            .collect();
        let nodes = specs.into_iter().map(|spec| {
            let (files, archive) = &kernels[&spec.kernel];
            let image = Image {
                kernel: files.image.clone(),
                kernel_needs: files.cmdline.clone(),
                initramfs: archive.clone(),
                run_dir: run_dir.path().to_owned(),
                log_dir: run_dir.path().join(format!("node{}", spec.index)),
            };
            let modules = Arc::clone(&modules[&spec.kernel]);
            Node::new(spec, image, modules)
        });
        let nodes: Vec<Node> = nodes.collect();
        let cluster = Cluster {
            nodes,
            switch: Mutex::default(),
            accidents: Mutex::default(),
            builder,
            run_dir,
        };
        if cluster.ports() > 0 {
            cluster.restart_switch()?;
        }
        cluster.for_each(Node::start)?;
        Ok(cluster)
    }

    /// Ports of all nodes.
    fn ports(&self) -> usize {
        self.nodes.iter().map(|node| node.ports().len()).sum()
    }

    /// Does something with all nodes at once; the first error counts.
    fn for_each(&self, act: impl Fn(&Node) -> Result<(), Error> + Sync) -> Result<(), Error> {
        thread::scope(|scope| {
            let workers: Vec<_> = self
                .nodes
                .iter()
                .map(|node| scope.spawn(|| act(node)))
                .collect();
            let results = workers.into_iter().map(|worker| match worker.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            // All are waited for before the first error is returned.
            results.collect::<Vec<_>>().into_iter().collect()
        })
    }

    fn lock_switch(&self) -> MutexGuard<'_, Option<Switch>> {
        self.switch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accidents(&self) -> MutexGuard<'_, Vec<String>> {
        self.accidents
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Every node, by index.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Node `index`, counted from 0.
    ///
    /// # Panics
    /// If there is no such node.
    pub fn node(&self, index: usize) -> &Node {
        &self.nodes[index]
    }

    /// The directory with sockets, logs (`node<N>/console.log`, `switch.log`) and backing files; it exists as long as
    /// the cluster.
    pub fn run_dir(&self) -> &Path {
        self.run_dir.path()
    }

    /// The switch's control connection, if the cluster has a running switch.
    ///
    /// # Errors
    /// [`Error::Config`] if it has none.
    pub fn try_switch(&self) -> Result<Arc<ControlClient>, Error> {
        let switch = self.lock_switch();
        let switch = switch
            .as_ref()
            .ok_or_else(|| Error::Config("the cluster has no running switch".to_owned()))?;
        Ok(Arc::clone(&switch.control))
    }

    /// The switch's control connection. It belongs to the switch that runs now: ask again after a restart.
    ///
    /// # Panics
    /// If the cluster has no running switch.
    #[allow(clippy::expect_used)]
    pub fn switch(&self) -> Arc<ControlClient> {
        self.try_switch()
            .expect("a cluster with adapters and a running switch")
    }

    /// Process id of the switch, if it runs.
    pub fn switch_pid(&self) -> Option<i32> {
        self.lock_switch().as_ref().map(Switch::pid)
    }

    /// Kills the switch process at once, as if the fabric had lost power; the nodes go on.
    ///
    /// # Errors
    /// [`Error::Config`] when there is no running switch.
    pub fn kill_switch(&self) -> Result<(), Error> {
        self.put_switch_away()
            .ok_or_else(|| Error::Config("the cluster has no running switch".to_owned()))
    }

    /// Kills and forgets the switch, if there is one, and notes it if it had ended by itself.
    fn put_switch_away(&self) -> Option<()> {
        let switch = self.lock_switch().take()?;
        self.accidents().extend(switch.ended());
        Some(())
    }

    /// Starts a new switch in place of the killed one. Adapters of running nodes come back by [`Node::unplug_ntb`] and
    /// [`Node::plug_ntb`] or by a fresh start, because QEMU does not reconnect.
    ///
    /// # Errors
    /// [`Error::Timeout`] when it does not get ready; [`Error::Config`] if one runs.
    pub fn restart_switch(&self) -> Result<(), Error> {
        let mut switch = self.lock_switch();
        if switch.is_some() {
            return Err(Error::Config("the switch runs already".to_owned()));
        }
        *switch = Some(Switch::start(
            &self.builder,
            self.ports(),
            self.run_dir.path(),
        )?);
        Ok(())
    }

    /// What is wrong so far: undeclared bad lines in kernel logs, missing required ones, processes that ended by
    /// themselves.
    pub fn log_findings(&self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = thread::scope(|scope| {
            let workers: Vec<_> = self
                .nodes
                .iter()
                .map(|node| scope.spawn(|| node.log_findings()))
                .collect();
            workers
                .into_iter()
                .flat_map(|worker| worker.join().unwrap_or_default())
                .collect()
        });
        let mut accidents = self.accidents().clone();
        accidents.extend(self.lock_switch().as_ref().and_then(Switch::ended));
        findings.extend(accidents.into_iter().map(|end| Finding {
            who: "switch".to_owned(),
            kind: "accident",
            line: format!("it ended with {end}"),
            context: Vec::new(),
        }));
        findings
    }

    /// Kills all nodes and the switch and removes all files, whoever else still holds the cluster.
    pub fn shut_down(&self) {
        for node in &self.nodes {
            // One that does not run needs no kill.
            let _ = node.kill();
        }
        self.put_switch_away();
        self.run_dir.remove();
    }

    /// Powers everything off, removes all files, and checks the kernel logs of every node and boot.
    ///
    /// # Errors
    /// [`Error::Log`] for lines that were not declared with `expect_log`, or required ones that never came.
    pub fn stop(self) -> Result<(), Error> {
        let findings = self.log_findings();
        match findings.is_empty() {
            true => Ok(()),
            false => Err(Error::Log(findings)),
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.shut_down();
    }
}
