// SPDX-License-Identifier: GPL-2.0
//! QEMU's command line and the devices it is asked to plug. Pure: paths and values in, arguments out.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use serde_json::{json, Value};
use skiff_agent::message::PORT_NAME;

use crate::builder::Disk;
use crate::spec::NodeSpec;
use crate::{tsc, Iommu, Layout};

/// Slot on bus 0 of the root port of adapter 0; the others follow.
const FIRST_ROOT_PORT: u8 = 0x10;

/// The descriptors of the host's connections to a QEMU, as QEMU inherits them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Connections {
    pub(crate) monitor: RawFd,
    pub(crate) console: RawFd,
    pub(crate) agent: RawFd,
}

/// The files of a node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Files<'a> {
    pub(crate) image: &'a Path,
    pub(crate) initramfs: &'a Path,
    /// Of the switch.
    pub(crate) run_dir: &'a Path,
    /// Of the node itself.
    pub(crate) own_dir: &'a Path,
}

/// The guest's address of the root port of an adapter, e.g. `0000:00:10.0`.
pub(crate) fn root_port_address(adapter: usize) -> String {
    format!(
        "0000:00:{:02x}.0",
        usize::from(FIRST_ROOT_PORT).saturating_add(adapter)
    )
}

/// The ids of the functions in an adapter's slot; the NT function comes first.
pub(crate) fn function_ids(adapter: usize, layout: Layout) -> Vec<String> {
    match layout {
        Layout::Chip => vec![format!("ntb{adapter}")],
        Layout::Companion => vec![format!("ntb{adapter}"), format!("ntb{adapter}window")],
    }
}

/// The id of the memory behind an adapter's companion function, if it has one.
fn window_memory_id(adapter: usize, layout: Layout) -> Option<String> {
    (layout == Layout::Companion).then(|| format!("ntbwin{adapter}"))
}

/// What `object-add` is told for that memory.
fn window_memory(spec: &NodeSpec, adapter: usize, port: u8, run_dir: &Path) -> Option<Value> {
    let id = window_memory_id(adapter, spec.layout)?;
    Some(json!({
        "qom-type": "memory-backend-file",
        "id": id,
        "size": spec.aperture,
        "share": true,
        "mem-path": run_dir.join(format!("ntbwin-port{port}")),
    }))
}

/// What `device_add` is told for the functions of an adapter, function 0 last: with it the guest sees the slot.
pub(crate) fn functions(spec: &NodeSpec, adapter: usize, port: u8, run_dir: &Path) -> Vec<Value> {
    let ids = function_ids(adapter, spec.layout);
    let bus = format!("ntbport{adapter}");
    let bridge = json!({
        "driver": "vfio-user-pci",
        "id": ids[0],
        "bus": bus,
        "addr": "0x0.0x0",
        "multifunction": spec.layout == Layout::Companion,
        "rombar": 0,
        "socket": { "type": "unix", "path": run_dir.join(format!("port{port}.sock")) },
    });
    let window = ids.get(1).map(|id| {
        json!({
            "driver": "ivshmem-plain",
            "id": id,
            "bus": bus,
            "addr": "0x0.0x1",
            "multifunction": true,
            "memdev": window_memory_id(adapter, spec.layout),
        })
    });
    window.into_iter().chain([bridge]).collect()
}

/// The file behind a disk of a node.
pub(crate) fn disk_file(own_dir: &Path, name: &str) -> PathBuf {
    own_dir.join(format!("{name}.img"))
}

/// The block node of a disk.
fn disk(disk: &Disk, own_dir: &Path) -> Value {
    let file = json!({
        "driver": "file", "filename": disk_file(own_dir, &disk.name), "discard": "unmap",
    });
    json!({ "driver": "raw", "node-name": disk.name, "file": file, "discard": "unmap" })
}

/// The kernel's command line.
pub(crate) fn cmdline(spec: &NodeSpec, kernel_needs: &str) -> String {
    let mut words = vec![
        "console=ttyS0".to_owned(),
        format!("skiff.name=node{}", spec.index),
        // Whatever is written to the log must stay in it.
        "printk.devkmsg=on".to_owned(),
        "log_buf_len=1M".to_owned(),
        // Nor may the guest doubt it later, when emulated clocks stumble on a loaded host.
        format!("tsc_early_khz={} tsc=reliable", tsc::khz()),
        // Nor may it give up at boot because too few timer ticks came while the host was busy.
        "no_timer_check".to_owned(),
        // Of those that could be plugged in none is (see [`processors`]).
        format!("possible_cpus={}", spec.cpus),
        "panic=0".to_owned(),
        // Who waits for it in vain asks what it is doing, by a key on the console.
        "sysrq_always_enabled".to_owned(),
    ];
    if !kernel_needs.is_empty() {
        words.push(kernel_needs.to_owned());
    }
    if let Iommu::Intel { .. } = spec.iommu {
        words.push("intel_iommu=on".to_owned());
    }
    words.extend(spec.cmdline.iter().cloned());
    words.join(" ")
}

/// The processors of a machine, and room for another one. QEMU emulates the locked instructions of a machine that can have no more
/// than one as if nobody else looked at its memory (`mttcg_start_vcpu_thread`: no `CF_PARALLEL`), so that they order nothing:
/// but its peers do look, and its devices, and Linux takes a locked instruction for a full barrier.
fn processors(cpus: u32) -> String {
    format!("cpus={cpus},maxcpus={}", cpus.max(2))
}

/// All arguments of QEMU.
pub(crate) fn arguments(
    spec: &NodeSpec,
    files: Files<'_>,
    kernel_needs: &str,
    connections: Connections,
) -> Vec<OsString> {
    let mut args: Vec<OsString> = Vec::new();
    let mut add = |words: &[&str]| args.extend(words.iter().map(OsString::from));
    let memory = format!("{}M", spec.memory_mib);
    // Instructions are counted in one thread only.
    let counting = spec.qemu_args.iter().any(|arg| arg == "-icount");
    let threads = if counting { "single" } else { "multi" };
    add(&["-name", &format!("node{}", spec.index)]);
    add(&["-nodefaults", "-no-user-config", "-display", "none"]);
    add(&[
        "-machine",
        "q35,memory-backend=ram",
        "-accel",
        &format!("tcg,thread={threads}"),
    ]);
    // Firmware places 64-bit windows by the number of address bits; with fewer, windows of 1 GiB get no room. An emulated
    // string instruction moves a byte (or a word) at a time, and the processor must not say that this is its fast way.
    add(&["-cpu", "max,la57=off,phys-bits=42,erms=off,fsrm=off"]);
    add(&["-smp", &processors(spec.cpus)]);
    add(&[
        "-m",
        &memory,
        "-object",
        &format!("memory-backend-memfd,id=ram,size={memory},share=on"),
    ]);
    for (id, file) in [
        ("monitor", connections.monitor),
        ("console", connections.console),
        ("agent", connections.agent),
    ] {
        add(&["-chardev", &format!("socket,id={id},fd={file}")]);
    }
    add(&[
        "-mon",
        "chardev=monitor,mode=control",
        "-serial",
        "chardev:console",
    ]);
    match spec.iommu {
        Iommu::Off => {}
        Iommu::Intel { remap } => {
            let remap = if remap { "on" } else { "off" };
            add(&[
                "-device",
                &format!("intel-iommu,caching-mode=on,intremap={remap}"),
            ]);
        }
        Iommu::Virtio => add(&["-device", "virtio-iommu-pci,addr=0x3"]),
    }
    add(&["-device", "virtio-serial-pci,id=serial,addr=0x4"]);
    add(&[
        "-device",
        &format!("virtserialport,bus=serial.0,chardev=agent,name={PORT_NAME}"),
    ]);
    for (adapter, port) in spec.ports.iter().enumerate() {
        let slot = usize::from(FIRST_ROOT_PORT).saturating_add(adapter);
        // As fast as the switch's links. Behind a faster port Linux waits for the link after a reset, which QEMU does not
        // report as up when functions are plugged by ACPI.
        add(&[
            "-device",
            &format!("pcie-root-port,id=ntbport{adapter},addr={slot:#x},chassis={slot},slot={slot},x-speed=5,pref64-reserve=4G"),
        ]);
        if let Some(memory) = window_memory(spec, adapter, *port, files.run_dir) {
            add(&["-object", &memory.to_string()]);
        }
        for function in functions(spec, adapter, *port, files.run_dir) {
            add(&["-device", &function.to_string()]);
        }
    }
    for found in &spec.disks {
        add(&["-blockdev", &disk(found, files.own_dir).to_string()]);
    }
    args.extend([
        "-kernel".into(),
        files.image.into(),
        "-initrd".into(),
        files.initramfs.into(),
    ]);
    args.extend(["-append".into(), cmdline(spec, kernel_needs).into()]);
    args.extend(spec.qemu_args.iter().map(OsString::from));
    args
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::resolve;
    use crate::Cluster;

    fn joined(builder: &crate::Builder, node: usize) -> String {
        let spec = &resolve(builder).unwrap()[node];
        let files = Files {
            image: "k".as_ref(),
            initramfs: "i".as_ref(),
            run_dir: "/run/x".as_ref(),
            own_dir: "/run/x/node".as_ref(),
        };
        let connections = Connections {
            monitor: 5,
            console: 6,
            agent: 7,
        };
        let args = arguments(spec, files, "slab_debug=U", connections);
        let words: Vec<_> = args
            .iter()
            .map(|arg| arg.to_string_lossy().into_owned())
            .collect();
        words.join(" ")
    }

    #[test]
    fn function_0_is_plugged_last() {
        let spec = &resolve(&Cluster::builder().layout(Layout::Companion)).unwrap()[1];
        let functions = functions(spec, 0, 1, "/run/x".as_ref());
        assert_eq!(functions[0]["addr"], "0x0.0x1");
        assert_eq!(functions[1]["addr"], "0x0.0x0");
        assert_eq!(functions[1]["socket"]["path"], "/run/x/port1.sock");
        let memory = window_memory(spec, 0, 1, "/run/x".as_ref()).unwrap();
        assert_eq!(
            (&memory["id"], &memory["size"]),
            (&functions[0]["memdev"], &json!(1_u64 << 30))
        );
    }

    #[test]
    fn the_iommu_comes_before_the_devices_it_serves() {
        let line = joined(&Cluster::builder().iommu(Iommu::Intel { remap: true }), 0);
        let (iommu, bridge) = (
            line.find("intel-iommu").unwrap(),
            line.find("vfio-user-pci").unwrap(),
        );
        assert!(iommu < bridge);
        assert!(line.contains("intremap=on") && line.contains("intel_iommu=on"));
    }

    #[test]
    fn locked_instructions_of_one_processor_are_barriers() {
        let line = joined(&Cluster::builder(), 0);
        assert!(line.contains("-smp cpus=1,maxcpus=2") && line.contains("possible_cpus=1"));
        let line = joined(&Cluster::builder().cpus(4), 0);
        assert!(line.contains("-smp cpus=4,maxcpus=4") && line.contains("possible_cpus=4"));
    }

    #[test]
    fn a_disk_is_a_file_of_its_own_node() {
        let builder = Cluster::builder().node(1, |node| node.disk("a", 512));
        assert!(!joined(&builder, 0).contains("-blockdev"));
        assert!(joined(&builder, 1).contains("/run/x/node/a.img"));
    }

    #[test]
    fn nothing_lies_in_shared_memory_files() {
        let line = joined(&Cluster::builder(), 0);
        assert!(line.contains("memory-backend-memfd") && !line.contains("/dev/shm"));
        assert!(line.contains("slab_debug=U"));
    }
}
