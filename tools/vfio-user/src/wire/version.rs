// SPDX-License-Identifier: GPL-2.0
//! The first message of a connection: protocol version and capabilities, the latter as JSON.

use serde::{Deserialize, Serialize};

use super::bytes::{Input, Output};
use super::WireError;

/// Longest JSON text of a version message that is looked at, in bytes with the closing NUL.
pub const MAX_VERSION_TEXT: usize = 16384;

/// What one side can do and how much it takes. What is absent has the default of docs/vfio-user.rst; what is unknown is ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Most file descriptors in one message; default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_msg_fds: Option<u64>,
    /// Largest data of one access, in bytes; default 1 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_data_xfer_size: Option<u64>,
    /// Bit n set: pieces of memory may be multiples of 2^n bytes; default 4096.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pgsizes: Option<u64>,
    /// Most pieces of memory mapped at a time; default 65535.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_dma_maps: Option<u64>,
    /// Whether REGION_WRITE_MULTI may be used; default no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_multiple: Option<bool>,
}

impl Capabilities {
    /// Default of `max_data_xfer_size`, in bytes.
    pub const DEFAULT_MAX_DATA_XFER_SIZE: u64 = 1 << 20;
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Text {
    #[serde(default)]
    capabilities: Capabilities,
}

/// The version message, the same for both directions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Version {
    /// Major version; both sides must agree on it.
    pub major: u16,
    /// Minor version; the server answers with one that is not above the client's.
    pub minor: u16,
    /// What the sender can do.
    pub capabilities: Capabilities,
}

impl Version {
    /// Lays the message out.
    ///
    /// # Errors
    /// Never in practice; JSON encoding of plain numbers does not fail.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        let text = Text {
            capabilities: self.capabilities.clone(),
        };
        let text = serde_json::to_vec(&text).map_err(|_| WireError::Text)?;
        let mut out = Vec::with_capacity(5 + text.len());
        out.put16(self.major);
        out.put16(self.minor);
        out.extend_from_slice(&text);
        out.push(0);
        Ok(out)
    }

    /// Reads a message. Without any text all capabilities are the defaults.
    ///
    /// # Errors
    /// The text is too long, not closed by a NUL, not JSON, or a known capability is not of its type.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut input = Input::new(payload);
        let major = input.u16()?;
        let minor = input.u16()?;
        let text = input.rest();
        if text.len() > MAX_VERSION_TEXT {
            return Err(WireError::Long);
        }
        let capabilities = match text.split_last() {
            None => Capabilities::default(),
            Some((0, text)) => {
                let text: Text = serde_json::from_slice(text).map_err(|_| WireError::Text)?;
                text.capabilities
            }
            Some(_) => return Err(WireError::Text),
        };
        Ok(Self {
            major,
            minor,
            capabilities,
        })
    }
}
