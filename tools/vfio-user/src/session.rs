// SPDX-License-Identifier: GPL-2.0
//! The worker thread: carries out a client's commands on the device, one after the other, and replies.
//!
//! The session owns what was agreed with the client and what the device said about itself when the connection began. What it said of its regions
//! the reader has, too, once the handshake is done; it never changes. Nothing else is shared.

use std::os::fd::OwnedFd;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;

use tracing::{debug, warn};

use crate::channel::{NoRoom, SendError};
use crate::connection::{Ended, Limits, Shared};
use crate::device::{Device, DeviceInfo, IrqAction, IrqData, RegionAccess, SetIrqs};
use crate::inbox::Message;
use crate::regions::Regions;
use crate::wire::{
    Capabilities, DeviceInfoMessage, Header, IrqDataKind, IrqInfoMessage, Kind, RegionData,
    RegionInfoMessage, RegionRange, RegionWriteMulti, Reply, Request, SetIrqsMessage, Version,
    WireError, MAJOR, MINOR,
};
use crate::Errno;

/// What goes back to the client when a command has succeeded.
#[derive(Default)]
struct Answer {
    payload: Vec<u8>,
    fd: Option<Arc<OwnedFd>>,
}

impl From<Vec<u8>> for Answer {
    fn from(payload: Vec<u8>) -> Self {
        Self { payload, fd: None }
    }
}

/// What was agreed in the handshake.
#[derive(Clone, Copy)]
struct Agreed {
    transfer: u32,
}

struct Session {
    shared: Arc<Shared>,
    device: Arc<dyn Device>,
    limits: Limits,
    info: DeviceInfo,
    regions: Arc<Regions>,
    /// Number of vectors of each interrupt index.
    irqs: Vec<u32>,
    agreed: Option<Agreed>,
}

/// Serves the device until the connection ends.
pub(crate) fn run(shared: &Arc<Shared>, device: &Arc<dyn Device>, limits: Limits) {
    // What the device leaves behind after a panic is its own matter: nobody here looks into it again.
    let worked = catch_unwind(AssertUnwindSafe(|| {
        Session::new(Arc::clone(shared), Arc::clone(device), limits).run();
    }));
    shared.end(match worked {
        Ok(()) => Ended::Closed,
        Err(_) => Ended::Device,
    });
    shared.inbox.discard();
    if catch_unwind(AssertUnwindSafe(|| device.disconnected())).is_err() {
        warn!("the device panicked when its client left");
    }
}

impl Session {
    fn new(shared: Arc<Shared>, device: Arc<dyn Device>, limits: Limits) -> Self {
        let info = device.device_info();
        let regions = Arc::new(Regions::new(&*device, info.num_regions));
        let vectors = |index| device.irq_info(index).map_or(0, |info| info.count);
        let irqs = (0..info.num_irqs).map(vectors).collect();
        Self {
            shared,
            device,
            limits,
            info,
            regions,
            irqs,
            agreed: None,
        }
    }

    /// Works until the inbox is closed.
    fn run(mut self) {
        while let Some(taken) = self.shared.inbox.take() {
            if taken.wake_reader {
                self.shared.channel.wake();
            }
            self.handle(taken.message);
        }
    }

    fn handle(&mut self, message: Message) {
        let Message {
            header,
            payload,
            fds,
        } = message;
        let result = self.answer(header.command, &payload, fds);
        if let Err(errno) = &result {
            debug!(command = header.command, %errno, "a command failed");
        }
        if header.kind == Kind::Command(Reply::Wanted) {
            self.reply(header, result);
        }
    }

    fn reply(&self, command: Header, result: Result<Answer, Errno>) {
        let (kind, answer) = match result {
            Ok(answer) => (Kind::Reply, answer),
            Err(errno) => {
                let errno = u32::try_from(errno.raw_os_error()).unwrap_or(1);
                (Kind::ErrorReply { errno }, Answer::default())
            }
        };
        let Ok(message) = (Header { kind, ..command }).message(&answer.payload) else {
            // Cannot be: no answer is longer than the largest transfer.
            return self.shared.end(Ended::Protocol("an answer is too long"));
        };
        match self.shared.channel.send(message, answer.fd, NoRoom::Queue) {
            Ok(()) | Err(SendError::Gone) => {}
            Err(SendError::NoRoom | SendError::QueueFull) => {
                warn!("the client does not take its replies");
                self.shared
                    .end(Ended::Protocol("the client does not take its replies"));
            }
        }
    }

    fn answer(&mut self, command: u16, payload: &[u8], fds: Vec<OwnedFd>) -> Result<Answer, Errno> {
        let request = Request::decode(command, payload).map_err(|error| match error {
            WireError::Command(_) => Errno::OPNOTSUPP,
            error => {
                debug!(command, %error, "a command is not valid");
                Errno::INVAL
            }
        })?;
        if let Request::Version(version) = request {
            return self.agree(&version);
        }
        let agreed = self.agreed.ok_or(Errno::INVAL)?;
        match request {
            Request::Version(_) => Err(Errno::INVAL),
            Request::DmaMap(map) => {
                let fd = at_most_one(fds)?;
                self.device.dma_map(map.0, fd)?;
                Ok(Answer::default())
            }
            Request::DmaUnmap(unmap) => {
                self.device.dma_unmap(unmap.0)?;
                // Decoded above, so these fields are there; they go back as they came.
                Ok(payload.get(..24).unwrap_or_default().to_vec().into())
            }
            Request::DeviceInfo(_) => Ok(self.device_info()),
            Request::RegionInfo(question) => self.region_info(&question),
            Request::RegionIoFds => Err(Errno::OPNOTSUPP),
            Request::IrqInfo(question) => self.irq_info(question),
            Request::SetIrqs(set) => self.set_irqs(set, fds),
            Request::RegionRead(range) => self.region_read(range, agreed),
            Request::RegionWrite(write) => self.region_write(write),
            Request::RegionWriteMulti(writes) => self.region_write_multi(&writes),
            Request::Reset => {
                self.device.reset()?;
                Ok(Answer::default())
            }
        }
    }

    fn agree(&mut self, version: &Version) -> Result<Answer, Errno> {
        if self.agreed.is_some() || version.major != MAJOR {
            return Err(Errno::INVAL);
        }
        let theirs = version
            .capabilities
            .max_data_xfer_size
            .unwrap_or(Capabilities::DEFAULT_MAX_DATA_XFER_SIZE);
        let ours = self.limits.max_data_xfer_size;
        let transfer = u32::try_from(theirs).unwrap_or(u32::MAX).min(ours);
        if transfer == 0 {
            return Err(Errno::INVAL);
        }
        let capabilities = Capabilities {
            max_msg_fds: Some(self.limits.max_msg_fds.into()),
            max_data_xfer_size: Some(transfer.into()),
            pgsizes: Some(4096),
            max_dma_maps: Some(self.limits.max_dma_maps.into()),
            write_multiple: Some(true),
        };
        // The lowest minor version there is: never above the client's.
        let answer = Version {
            major: MAJOR,
            minor: MINOR,
            capabilities,
        };
        let payload = answer.encode().map_err(|_| Errno::IO)?;
        debug!(?version, transfer, "a client has introduced itself");
        self.agreed = Some(Agreed { transfer });
        self.shared.negotiated(transfer, Arc::clone(&self.regions));
        Ok(payload.into())
    }

    fn device_info(&self) -> Answer {
        let message = DeviceInfoMessage {
            argsz: DeviceInfoMessage::SIZE,
            flags: self.info.flags.bits(),
            num_regions: self.info.num_regions,
            num_irqs: self.info.num_irqs,
        };
        message.encode().into()
    }

    fn region_info(&self, question: &RegionInfoMessage) -> Result<Answer, Errno> {
        if question.index >= self.info.num_regions {
            return Err(Errno::INVAL);
        }
        let info = self.device.region_info(question.index)?;
        let mut message = RegionInfoMessage {
            argsz: 0,
            flags: info.access.bits(),
            index: question.index,
            size: info.size,
            offset: 0,
            areas: Vec::new(),
        };
        let mut fd = None;
        if let Some(mapping) = info.mapping {
            message.flags |= RegionInfoMessage::FLAG_MMAP;
            message.offset = mapping.offset;
            message.areas = mapping.areas;
            fd = Some(mapping.fd);
        }
        message.argsz = u32::try_from(message.full_size()).map_err(|_| Errno::OVERFLOW)?;
        if question.argsz < message.argsz {
            // The client asks again with more room; only then does it get the rest.
            message.areas.clear();
            fd = None;
        }
        let payload = message.encode();
        Ok(Answer { payload, fd })
    }

    fn irq_info(&self, question: IrqInfoMessage) -> Result<Answer, Errno> {
        if question.index >= self.info.num_irqs {
            return Err(Errno::INVAL);
        }
        let info = self.device.irq_info(question.index)?;
        let message = IrqInfoMessage {
            argsz: IrqInfoMessage::SIZE,
            flags: info.flags.bits(),
            index: question.index,
            count: info.count,
        };
        Ok(message.encode().into())
    }

    fn set_irqs(&self, set: SetIrqsMessage<'_>, fds: Vec<OwnedFd>) -> Result<Answer, Errno> {
        let vectors = usize::try_from(set.index)
            .ok()
            .and_then(|index| self.irqs.get(index))
            .ok_or(Errno::INVAL)?;
        let end = set.start.checked_add(set.count).ok_or(Errno::INVAL)?;
        if end > *vectors {
            return Err(Errno::INVAL);
        }
        let data = match set.data {
            IrqDataKind::None => IrqData::None,
            IrqDataKind::Bool(bytes) => {
                IrqData::Bool(bytes.iter().map(|byte| *byte != 0).collect())
            }
            IrqDataKind::Eventfds
                if fds.is_empty() || u32::try_from(fds.len()) == Ok(set.count) =>
            {
                IrqData::Eventfds(fds)
            }
            IrqDataKind::Eventfds => return Err(Errno::INVAL),
        };
        let switches_off = set.action == IrqAction::Trigger && set.data == IrqDataKind::None;
        if set.count == 0 && !switches_off {
            return Err(Errno::INVAL);
        }
        self.device.set_irqs(SetIrqs {
            index: set.index,
            start: set.start,
            count: set.count,
            action: set.action,
            data,
        })?;
        Ok(Answer::default())
    }

    fn region_read(&self, range: RegionRange, agreed: Agreed) -> Result<Answer, Errno> {
        if range.count > agreed.transfer {
            return Err(Errno::INVAL);
        }
        self.regions.check(range, RegionAccess::READ)?;
        let mut data = vec![0; usize::try_from(range.count).map_err(|_| Errno::INVAL)?];
        self.device
            .region_read(range.region, range.offset, &mut data)?;
        let answer = RegionData {
            offset: range.offset,
            region: range.region,
            data: &data,
        };
        Ok(answer.encode().map_err(|_| Errno::INVAL)?.into())
    }

    fn region_write(&self, write: RegionData<'_>) -> Result<Answer, Errno> {
        let range = write.range().map_err(|_| Errno::INVAL)?;
        self.regions.check(range, RegionAccess::WRITE)?;
        self.device
            .region_write(range.region, range.offset, write.data)?;
        Ok(range.encode().into())
    }

    fn region_write_multi(&self, multi: &RegionWriteMulti) -> Result<Answer, Errno> {
        for write in &multi.writes {
            let range = write.range;
            self.regions.check(range, RegionAccess::WRITE)?;
            self.device
                .region_write(range.region, range.offset, write.bytes())?;
        }
        Ok(RegionWriteMulti::encode_reply(multi.writes.len()).into())
    }
}

fn at_most_one(fds: Vec<OwnedFd>) -> Result<Option<OwnedFd>, Errno> {
    let mut fds = fds.into_iter();
    let first = fds.next();
    match fds.next() {
        None => Ok(first),
        Some(_) => Err(Errno::INVAL),
    }
}
