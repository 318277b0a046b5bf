// SPDX-License-Identifier: GPL-2.0
//! `skiff segment create`: owns the segment until the command ends.

use std::fs::File;
use std::io;
use std::io::Read;
use std::path::Path;

use serde::Serialize;
use skiff::Adapter;
use skiff::Context;
use skiff::LocalSegment;
use skiff::MapOptions;
use skiff::SegmentOptions;

use super::print_event;
use super::Digester;
use super::PIECE;
use crate::arguments::Create;
use crate::error::Error;
use crate::output::length;
use crate::output::Output;
use crate::signals::Ending;
use crate::signals::Wake;

#[derive(Serialize)]
struct Created {
    id: u32,
    bytes: u64,
    copied: u64,
    available: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}

/// Makes, fills and offers a segment; keeps it if that is wanted.
pub fn run(wanted: &Create, output: &Output) -> Result<(), Error> {
    // Before anything is printed: who reads that may send the signal at once.
    let ending = wanted.hold.then(Ending::new).transpose()?;
    let context = Context::open()?;
    let file = wanted.file.as_deref().map(open).transpose()?;
    let bytes = match (wanted.bytes, &file) {
        (Some(bytes), _) => bytes,
        (None, Some(file)) => file.length,
        // The arguments have one of them.
        (None, None) => 0,
    };
    let mut options = SegmentOptions::new(bytes)
        .mode(wanted.mode)
        .nodes(&wanted.nodes);
    if let Some(id) = wanted.id {
        options = options.id(id);
    }
    if let Some(file) = &file {
        if file.length == 0 && wanted.bytes.is_none() {
            return Err(Error::Empty {
                path: file.path.to_owned(),
            });
        }
        if file.length > bytes {
            return Err(Error::TooLong {
                length: file.length,
                room: bytes,
            });
        }
    }
    let segment = context.create(&options)?;
    let mut digester = Digester::new(wanted.sha256);
    let mut copied = 0;
    if let Some(mut file) = file {
        copied = fill(&segment, &mut file, &mut digester)?;
    }
    let adapter = wanted.adapter.map_or(Adapter::Any, Adapter::Number);
    segment.prepare(adapter)?;
    if wanted.available {
        segment.set_available(adapter)?;
    }
    let created = Created {
        id: segment.id(),
        bytes,
        copied,
        available: wanted.available,
        sha256: digester.end(),
    };
    output.line(&created, |created| {
        format!(
            "segment {}: {}{}{}",
            created.id,
            length(created.bytes),
            if created.available { ", available" } else { "" },
            created
                .sha256
                .as_ref()
                .map(|digest| format!(", sha256 {digest}"))
                .unwrap_or_default(),
        )
    })?;
    match ending {
        Some(ending) => hold(&segment, &ending, output),
        None => Ok(()),
    }
}

/// A file to fill a segment from.
struct Source<'a> {
    path: &'a Path,
    file: File,
    length: u64,
}

fn open(path: &Path) -> Result<Source<'_>, Error> {
    let failed = |cause| Error::File {
        what: "open",
        path: path.to_owned(),
        cause,
    };
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    Ok(Source { path, file, length })
}

/// Copies the file to the beginning of the segment.
fn fill(
    segment: &LocalSegment,
    source: &mut Source<'_>,
    digester: &mut Digester,
) -> Result<u64, Error> {
    let map = segment.map(&MapOptions::new())?;
    let mut piece = vec![0; PIECE];
    let mut copied = 0;
    loop {
        let got = match source.file.read(&mut piece) {
            Ok(0) => break,
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(cause) => {
                return Err(Error::File {
                    what: "read",
                    path: source.path.to_owned(),
                    cause,
                })
            }
        };
        map.write(copied, &piece[..got])?;
        digester.take(&piece[..got]);
        copied += got;
    }
    // CAST: a usize is 64 bits wide where this runs.
    Ok(copied as u64)
}

/// Prints what happens to the segment until the end.
fn hold(segment: &LocalSegment, ending: &Ending, output: &Output) -> Result<(), Error> {
    loop {
        match ending.wait(segment)? {
            Wake::End => return Ok(()),
            Wake::Object => {
                if let Some(event) = segment.next_event(Some(std::time::Duration::ZERO))? {
                    print_event(&event, output)?;
                }
            }
        }
    }
}
