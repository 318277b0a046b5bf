// SPDX-License-Identifier: GPL-2.0
//! The packets between the switch and the re-mapping helper, and their fixed little-endian layout; no I/O.
//!
//! A connection (SOCK_SEQPACKET, one packet a message) belongs to one mapping of a window: the helper opens it and says [`Hello`]; the switch
//! then sends one [`Update`] at a time and waits for its [`Done`]. A window starts all dead. Decoding never panics and allocates no more than
//! the largest packet holds.

use thiserror::Error;

/// Version of the packets; both sides must be of the same.
pub const VERSION: u32 = 1;
/// Most pieces in one update.
pub const MAX_PIECES: usize = 128;
/// Most bytes in a window's name.
pub const MAX_NAME: usize = 64;
/// Largest window, in bytes.
pub const MAX_WINDOW: u64 = 1 << 30;
/// Largest packet of any kind, in bytes: a receive buffer of this size holds every valid one.
pub const MAX_PACKET: usize = UPDATE_HEAD + MAX_PIECES * PIECE;
/// Pages of this size are the unit of every offset and length of a piece, in bytes.
pub const PAGE: u64 = 4096;

const MAGIC: u32 = u32::from_le_bytes(*b"ntbw");
const HELLO: u32 = 1;
const UPDATE: u32 = 2;
const DONE: u32 = 3;

/// magic, kind.
const HEAD: usize = 8;
/// head, version, pid, offset, length, name length, reserved; the name's bytes follow.
const HELLO_HEAD: usize = HEAD + 4 + 4 + 8 + 8 + 4 + 4;
/// head, id, number of pieces, reserved; the pieces follow.
const UPDATE_HEAD: usize = HEAD + 8 + 4 + 4;
/// window offset, length, file offset, kind of target, reserved.
const PIECE: usize = 8 + 8 + 8 + 4 + 4;
/// head, id, dead accesses, status, reserved.
const DONE_SIZE: usize = HEAD + 8 + 8 + 4 + 4;

const TARGET_DEAD: u32 = 0;
const TARGET_FILE: u32 = 1;

/// Why a packet is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WireError {
    /// Its length does not fit what it says it holds.
    #[error("a packet of {0} bytes does not hold what it should")]
    Length(usize),
    /// It is none of ours, or of another kind than expected.
    #[error("not the expected kind of packet")]
    Kind,
    /// The other side speaks another version.
    #[error("version {0} of the packets instead of {VERSION}")]
    Version(u32),
    /// More pieces than [`MAX_PIECES`].
    #[error("{0} pieces in one update")]
    Pieces(usize),
    /// A piece is empty, not made of whole pages, or its end overflows.
    #[error("piece {0} is not a range of whole pages")]
    Piece(usize),
    /// The name of the window is empty, too long or not UTF-8.
    #[error("the window's name is not valid")]
    Name,
    /// The window's place or length is not valid: see [`Hello`].
    #[error("the window's range is not valid")]
    Window,
    /// A reserved field is not 0 or a target is unknown.
    #[error("a field has an unknown value")]
    Field,
}

/// First packet of a connection, helper to switch: a window has been mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Process that has mapped it, as it sees itself.
    pub pid: u32,
    /// Name of the mapped file without directories, such as `ntbwin-port3`; 1 to [`MAX_NAME`] bytes.
    pub window: String,
    /// Where in the window (the file) the mapping begins, in bytes, a multiple of [`PAGE`].
    pub offset: u64,
    /// Length of the mapping in bytes, a multiple of [`PAGE`], 1 page to [`MAX_WINDOW`].
    pub len: u64,
}

/// What a piece of a window shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Nothing: reads give all ones, writes vanish, both are counted.
    Dead,
    /// The file that comes with the update.
    File {
        /// Where in the file the piece begins, in bytes, a multiple of [`PAGE`].
        offset: u64,
    },
}

/// One piece of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Where the piece begins, in bytes from the begin of the *mapping* (not of the file), a multiple of [`PAGE`].
    pub offset: u64,
    /// Its length in bytes, a multiple of [`PAGE`], not 0.
    pub len: u64,
    /// What it shows from now on.
    pub target: Target,
}

/// Switch to helper: show something else in parts of the window. The pieces take effect in their order.
///
/// The one file that [`Target::File`] pieces mean comes with the packet as SCM_RIGHTS; none comes when all pieces are dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// Chosen by the switch, repeated in the answer.
    pub id: u64,
    /// 1 to [`MAX_PIECES`] pieces.
    pub pieces: Vec<Piece>,
}

/// Helper to switch: an update has been carried out or has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// The update's id.
    pub id: u64,
    /// 0, or the errno of what failed. After a failure the whole window is dead: a part that still showed what it must not any more would be worse.
    pub status: u32,
    /// How many accesses to dead pages have been caught since the window was mapped.
    pub dead_accesses: u64,
}

/// Takes fixed fields off the front of a packet whose length has been checked against them.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        match self.0.split_at_checked(N) {
            Some((head, rest)) => {
                out.copy_from_slice(head);
                self.0 = rest;
            }
            None => self.0 = &[],
        }
        out
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }

    /// Checks the head of a packet that must have at least `len` bytes.
    fn head(&mut self, kind: u32, len: usize) -> Result<(), WireError> {
        if self.0.len() < len {
            return Err(WireError::Length(self.0.len()));
        }
        if self.u32() != MAGIC || self.u32() != kind {
            return Err(WireError::Kind);
        }
        Ok(())
    }

    fn reserved(&mut self) -> Result<(), WireError> {
        match self.u32() {
            0 => Ok(()),
            _ => Err(WireError::Field),
        }
    }
}

fn head(kind: u32, capacity: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(capacity);
    put32(&mut out, MAGIC);
    put32(&mut out, kind);
    out
}

fn put32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Whether `offset..offset + len` is a non-empty range of whole pages.
fn is_page_range(offset: u64, len: u64) -> bool {
    len != 0 && offset % PAGE == 0 && len % PAGE == 0 && offset.checked_add(len).is_some()
}

impl Hello {
    /// Lays the packet out.
    ///
    /// # Errors
    /// The name or the range is not valid.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        self.check()?;
        let mut out = head(HELLO, HELLO_HEAD + self.window.len());
        put32(&mut out, VERSION);
        put32(&mut out, self.pid);
        put64(&mut out, self.offset);
        put64(&mut out, self.len);
        put32(
            &mut out,
            u32::try_from(self.window.len()).map_err(|_| WireError::Name)?,
        );
        put32(&mut out, 0);
        out.extend_from_slice(self.window.as_bytes());
        Ok(out)
    }

    /// Reads a packet.
    ///
    /// # Errors
    /// Every [`WireError`] that concerns a hello.
    pub fn decode(packet: &[u8]) -> Result<Self, WireError> {
        let mut fields = Fields(packet);
        fields.head(HELLO, HELLO_HEAD)?;
        let version = fields.u32();
        if version != VERSION {
            return Err(WireError::Version(version));
        }
        let pid = fields.u32();
        let offset = fields.u64();
        let len = fields.u64();
        let name_len = fields.u32();
        fields.reserved()?;
        let name = fields.0;
        if usize::try_from(name_len) != Ok(name.len()) {
            return Err(WireError::Length(packet.len()));
        }
        if name.len() > MAX_NAME {
            return Err(WireError::Name);
        }
        let window = std::str::from_utf8(name)
            .map_err(|_| WireError::Name)?
            .to_owned();
        let hello = Self {
            pid,
            window,
            offset,
            len,
        };
        hello.check()?;
        Ok(hello)
    }

    fn check(&self) -> Result<(), WireError> {
        if self.window.is_empty() || self.window.len() > MAX_NAME {
            return Err(WireError::Name);
        }
        if !is_page_range(self.offset, self.len) || self.len > MAX_WINDOW {
            return Err(WireError::Window);
        }
        Ok(())
    }
}

impl Update {
    /// Lays the packet out.
    ///
    /// # Errors
    /// The pieces are too many, or one of them is not valid.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        if self.pieces.is_empty() || self.pieces.len() > MAX_PIECES {
            return Err(WireError::Pieces(self.pieces.len()));
        }
        let count =
            u32::try_from(self.pieces.len()).map_err(|_| WireError::Pieces(self.pieces.len()))?;
        let mut out = head(UPDATE, UPDATE_HEAD + self.pieces.len() * PIECE);
        put64(&mut out, self.id);
        put32(&mut out, count);
        put32(&mut out, 0);
        for (index, piece) in self.pieces.iter().enumerate() {
            piece.check(index)?;
            put64(&mut out, piece.offset);
            put64(&mut out, piece.len);
            let (offset, kind) = match piece.target {
                Target::Dead => (0, TARGET_DEAD),
                Target::File { offset } => (offset, TARGET_FILE),
            };
            put64(&mut out, offset);
            put32(&mut out, kind);
            put32(&mut out, 0);
        }
        Ok(out)
    }

    /// Reads a packet.
    ///
    /// # Errors
    /// Every [`WireError`] that concerns an update.
    pub fn decode(packet: &[u8]) -> Result<Self, WireError> {
        let mut fields = Fields(packet);
        fields.head(UPDATE, UPDATE_HEAD)?;
        let id = fields.u64();
        let count = usize::try_from(fields.u32()).unwrap_or(usize::MAX);
        fields.reserved()?;
        if count == 0 || count > MAX_PIECES {
            return Err(WireError::Pieces(count));
        }
        if fields.0.len() != count * PIECE {
            return Err(WireError::Length(packet.len()));
        }
        let mut pieces = Vec::with_capacity(count);
        for index in 0..count {
            let offset = fields.u64();
            let len = fields.u64();
            let file_offset = fields.u64();
            let target = match (fields.u32(), file_offset) {
                (TARGET_DEAD, 0) => Target::Dead,
                (TARGET_FILE, offset) => Target::File { offset },
                _ => return Err(WireError::Field),
            };
            fields.reserved()?;
            let piece = Piece {
                offset,
                len,
                target,
            };
            piece.check(index)?;
            pieces.push(piece);
        }
        Ok(Self { id, pieces })
    }

    /// Whether a file must come with the packet.
    pub fn needs_file(&self) -> bool {
        self.pieces
            .iter()
            .any(|piece| matches!(piece.target, Target::File { .. }))
    }
}

impl Piece {
    fn check(&self, index: usize) -> Result<(), WireError> {
        let file_fits = match self.target {
            Target::Dead => true,
            Target::File { offset } => is_page_range(offset, self.len),
        };
        if file_fits && is_page_range(self.offset, self.len) {
            Ok(())
        } else {
            Err(WireError::Piece(index))
        }
    }
}

impl Done {
    /// Lays the packet out.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = head(DONE, DONE_SIZE);
        put64(&mut out, self.id);
        put64(&mut out, self.dead_accesses);
        put32(&mut out, self.status);
        put32(&mut out, 0);
        out
    }

    /// Reads a packet.
    ///
    /// # Errors
    /// The packet has another length or kind, or a reserved field is set.
    pub fn decode(packet: &[u8]) -> Result<Self, WireError> {
        let mut fields = Fields(packet);
        fields.head(DONE, DONE_SIZE)?;
        if packet.len() != DONE_SIZE {
            return Err(WireError::Length(packet.len()));
        }
        let id = fields.u64();
        let dead_accesses = fields.u64();
        let status = fields.u32();
        fields.reserved()?;
        Ok(Self {
            id,
            status,
            dead_accesses,
        })
    }
}
