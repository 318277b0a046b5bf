// SPDX-License-Identifier: GPL-2.0
//! The way that every Linux has: a drive exported over NVMe/TCP, between two nodes with a virtual cable.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use skiff_cluster::Builder;
use skiff_cluster::Node;

/// Address of the node with the drive.
const HOME: &str = "10.0.0.1";
/// Address of the node that uses it.
const USER: &str = "10.0.0.2";
/// Name of the exported drive.
const NAME: &str = "skiff-bench";

/// How long the network may take to get ready.
const SOON: Duration = Duration::from_secs(10);

/// Gives two nodes a network card each and a cable between them, which is a socket in `folder`.
pub fn cable(builder: Builder, (home, user): (usize, usize), folder: &Path) -> Builder {
    let path = folder.join("cable").display().to_string();
    let ends = [
        (home, "server=on".to_owned()),
        (user, "server=off,reconnect-ms=100".to_owned()),
    ];
    ends.into_iter().fold(builder, |builder, (node, side)| {
        builder.node(node, |node| {
            node.qemu_arg("-netdev")
                .qemu_arg(format!(
                    "stream,id=cable,addr.type=unix,addr.path={path},{side}"
                ))
                .qemu_arg("-device")
                .qemu_arg("virtio-net-pci,netdev=cable,addr=0x8")
        })
    })
}

/// Exports a disk of `home`, connects `user` to it; gives the name of the disk there.
pub fn connect(home: &Node, user: &Node, disk: &str) -> Result<String> {
    for (node, address, modules) in [
        (home, HOME, ["virtio_net", "nvmet_tcp"]),
        (user, USER, ["virtio_net", "nvme_tcp"]),
    ] {
        for module in modules {
            node.modprobe(module)?;
        }
        node.run(&format!(
            "ifconfig lo up && ifconfig eth0 {address} mtu 9000 up"
        ))?
        .check()?;
    }
    home.run(&export(disk))?.check()?;
    user.wait_for(&format!("ping -c 1 -W 1 {HOME}"), SOON)?;
    let line = format!(
        "echo transport=tcp,traddr={HOME},trsvcid=4420,nqn={NAME},nr_io_queues=1 > /dev/nvme-fabrics"
    );
    user.run(&line)?.check()?;
    // The first disk of all is this one: the node has no drive.
    user.wait_for("test -b /dev/nvme0n1", SOON)?;
    Ok("/dev/nvme0n1".to_owned())
}

/// Shell lines that export a disk (Documentation/nvme of nvmetcli says what the files are).
fn export(disk: &str) -> String {
    format!(
        "mount -t configfs none /sys/kernel/config || exit 1
         cd /sys/kernel/config/nvmet || exit 1
         mkdir subsystems/{NAME} ports/1 && echo 1 > subsystems/{NAME}/attr_allow_any_host &&
         mkdir subsystems/{NAME}/namespaces/1 &&
         echo -n {disk} > subsystems/{NAME}/namespaces/1/device_path &&
         echo 1 > subsystems/{NAME}/namespaces/1/enable &&
         echo ipv4 > ports/1/addr_adrfam && echo tcp > ports/1/addr_trtype &&
         echo {HOME} > ports/1/addr_traddr && echo 4420 > ports/1/addr_trsvcid &&
         ln -s /sys/kernel/config/nvmet/subsystems/{NAME} ports/1/subsystems/{NAME}"
    )
}
