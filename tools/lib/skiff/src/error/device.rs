// SPDX-License-Identifier: GPL-2.0
//! Causes and mends of what goes wrong with lent and borrowed devices, where they differ from those of segments.

use nix::errno::Errno;

use super::Attempt;

/// Why it failed, if that is said in other words than for segments.
pub(super) fn cause(errno: Errno, attempt: Attempt) -> Option<&'static str> {
    use Attempt as A;
    Some(match (attempt, errno) {
        (A::LendAdd { .. }, Errno::EADDRINUSE) => "it is in the pool already",
        (A::LendAdd { .. }, Errno::EBUSY) => "it is a bridge that nodes are reached by",
        (A::LendAdd { .. }, Errno::ENODEV) => {
            "there is no such function, or this node has no adapter"
        }
        (A::LendAdd { .. }, Errno::ENOSPC) => "the pool is full",
        (
            A::LendRemove { .. } | A::LendAvailable { .. } | A::LendUnavailable { .. },
            Errno::ENOENT,
        ) => "this node's pool has no such device",
        (A::LendRemove { .. }, Errno::EBUSY) => "it is available or borrowed",
        (A::LendAvailable { .. }, Errno::EBUSY) => {
            "it is available already, or the driver skiff_lend does not have it"
        }
        (A::LendAvailable { .. }, Errno::EOPNOTSUPP) => "it cannot be lent",
        (A::LendUnavailable { .. }, Errno::EBUSY) => "it is borrowed, or not available",
        (A::LendConnect { .. }, Errno::EBUSY) => "that node sees the pool already",
        (A::LendConnect { .. } | A::LendDisconnect { .. }, Errno::EINVAL) => {
            "this node always sees its own pool"
        }
        (A::LendDisconnect { .. }, Errno::EBUSY) => "that node does not see the pool",
        (
            A::LendAdd { .. }
            | A::LendRemove { .. }
            | A::LendAvailable { .. }
            | A::LendUnavailable { .. }
            | A::LendConnect { .. }
            | A::LendDisconnect { .. },
            Errno::EPERM,
        ) => "only root (CAP_SYS_ADMIN) may lend",
        (A::Borrow { .. }, Errno::EACCES) => {
            "the device's owner, its mode or its list of nodes does not allow it"
        }
        (A::Borrow { .. }, Errno::EBUSY) => {
            "it is unavailable, or somebody else has borrowed it"
        }
        (A::Borrow { .. }, Errno::ENOENT) => "no node that lends to this one has such a device",
        (A::Borrow { .. }, Errno::EPERM) => {
            "nothing keeps it from the memory of its lender, which only root (CAP_SYS_RAWIO) may use"
        }
        (A::GiveBack, Errno::EBUSY) => "segments of it are connected",
        (A::ReleaseExclusive | A::ResetDevice, Errno::EBUSY) => {
            "it is not borrowed exclusively"
        }
        (A::ResetDevice, Errno::EIO) => "the reset has failed",
        (A::DeviceCreate { .. }, Errno::EADDRINUSE) => "it has a segment with that id",
        (A::DeviceConnect { .. }, Errno::ENOENT) => "it has no such segment",
        (A::DeviceBar { .. }, Errno::ENOENT) => "it has no such BAR that holds memory",
        (A::DeviceBar { .. }, Errno::EOPNOTSUPP) => {
            "the adapter has no window for registers of other nodes"
        }
        (A::DeviceMap { .. }, Errno::EBADF) => "the descriptor is not a segment's",
        (A::DeviceMap { .. }, Errno::EBUSY) => {
            "the segment is not prepared for the adapter that leads to the lender"
        }
        (A::DeviceMap { .. }, Errno::ENOSPC) => {
            "the lender has no slot left, or the range is not in one piece and the lender has no IOMMU"
        }
        (A::DeviceMap { .. }, Errno::EOPNOTSUPP) => {
            "the segment is of a device that another node lends"
        }
        (A::DeviceUnmap, Errno::ENOENT) => "it is unmapped already",
        (A::ConfigWrite { .. }, Errno::EPERM) => "borrowers must not write that register",
        (A::Vectors { .. }, Errno::ENOSPC) => "the lender has no interrupt vectors left",
        (A::Vectors { .. }, Errno::EOPNOTSUPP) => "the device has neither MSI-X nor MSI",
        (A::Vector { .. }, Errno::EBADF) => "the descriptor is not open",
        (A::Vector { .. }, Errno::EINVAL) => "the descriptor is not an eventfd",
        (A::Vector { .. }, Errno::ENOENT) => "the device has not been given such a vector",
        (
            A::BorrowInfo
            | A::GiveBack
            | A::ReleaseExclusive
            | A::ResetDevice
            | A::DeviceCreate { .. }
            | A::DeviceConnect { .. }
            | A::DeviceBar { .. }
            | A::DeviceMap { .. }
            | A::DeviceUnmap
            | A::ConfigRead { .. }
            | A::ConfigWrite { .. }
            | A::BusMaster
            | A::Vectors { .. }
            | A::Vector { .. },
            Errno::ECONNRESET,
        ) => "the borrow has ended: it was given back, or its lender, the link or the device is gone",
        _ => return None,
    })
}

/// What helps against what [`cause`] has words for.
pub(super) fn mend(errno: Errno, attempt: Attempt) -> Option<&'static str> {
    use Attempt as A;
    Some(match (attempt, errno) {
        (A::LendAdd { .. }, Errno::EADDRINUSE) => "list the pool: skiff device list",
        (A::LendAdd { .. }, Errno::ENODEV) => "list functions and adapters: lspci -D, skiff links",
        (
            A::LendRemove { .. } | A::LendAvailable { .. } | A::LendUnavailable { .. },
            Errno::ENOENT,
        ) => "list the pool: skiff device list",
        (A::LendRemove { .. }, Errno::EBUSY) => {
            "make it unavailable first: skiff device unavailable, or remove it with --force"
        }
        (A::LendAvailable { .. }, Errno::EBUSY) => {
            "let the command bind the driver: skiff device available"
        }
        (A::LendUnavailable { .. }, Errno::EBUSY) => "take it from its borrowers: --force",
        (_, Errno::EPERM) if !matches!(attempt, A::ConfigWrite { .. }) => "be root",
        (A::Borrow { .. }, Errno::EACCES) => {
            "have the lender add it with a wider --mode and with this node in --nodes; root of another node counts as nobody"
        }
        (A::Borrow { .. }, Errno::EBUSY) => "look at its state: skiff device list",
        (A::Borrow { .. }, Errno::ENOENT) => {
            "have the lender connect to this node: skiff device connect; list what is there: skiff device list"
        }
        (A::GiveBack, Errno::EBUSY) => "disconnect from its segments first",
        (A::ReleaseExclusive | A::ResetDevice, Errno::EBUSY) => "borrow it exclusively",
        (A::DeviceMap { .. }, Errno::EBUSY) => "prepare the segment",
        (A::DeviceMap { .. }, Errno::ENOSPC) => "unmap something, or map smaller ranges",
        (A::Vector { .. }, Errno::ENOENT) => "get vectors first",
        (_, Errno::ECONNRESET) => "borrow it again",
        _ => return None,
    })
}
