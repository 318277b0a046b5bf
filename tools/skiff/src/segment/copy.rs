// SPDX-License-Identifier: GPL-2.0
//! `skiff segment put` and `get`: copies between a file and a segment, through a map.
//!
//! Only the copying through the map is timed, not the file. The map gives all ones when the
//! peer is lost, so that the loss is an error of this command instead of its death.

use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Write;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use serde::Serialize;
use skiff::Context;
use skiff::Map;
use skiff::MapOptions;
use skiff::RemoteSegment;
use skiff::RemoteState;

use super::Digester;
use super::PIECE;
use crate::arguments::Copy;
use crate::error::Error;
use crate::output::Output;

#[derive(Serialize)]
struct Copied {
    bytes: u64,
    seconds: f64,
    megabytes_per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}

impl Copied {
    fn new(bytes: u64, time: Duration, digester: Digester) -> Self {
        let seconds = time.as_secs_f64();
        Self {
            bytes,
            seconds,
            megabytes_per_second: if seconds > 0.0 {
                // CAST: lengths are far below where a float loses whole numbers.
                bytes as f64 / 1e6 / seconds
            } else {
                0.0
            },
            sha256: digester.end(),
        }
    }

    fn text(&self) -> String {
        let digest = self.sha256.as_ref();
        format!(
            "{} bytes in {:.6} s: {:.1} MB/s{}",
            self.bytes,
            self.seconds,
            self.megabytes_per_second,
            digest
                .map(|digest| format!(", sha256 {digest}"))
                .unwrap_or_default()
        )
    }
}

/// Copies a file to a segment.
pub fn put(wanted: &Copy, output: &Output) -> Result<(), Error> {
    let failed = |what| {
        move |cause| Error::File {
            what,
            path: wanted.file.clone(),
            cause,
        }
    };
    let (mut source, length): (Box<dyn Read>, _) = if is_dash(&wanted.file) {
        (Box::new(io::stdin().lock()), None)
    } else {
        let file = File::open(&wanted.file).map_err(failed("open"))?;
        let metadata = file.metadata().map_err(failed("look at"))?;
        let length = metadata.is_file().then_some(metadata.len());
        (Box::new(file), length)
    };
    let context = Context::open()?;
    let segment = context.connect(wanted.node, wanted.id, &wanted.reach.options())?;
    let room = segment.bytes().saturating_sub(wanted.offset);
    let limit = wanted.bytes.or(length).unwrap_or(room);
    if limit > room {
        return Err(Error::TooLong {
            length: limit,
            room,
        });
    }
    let mut digester = Digester::new(wanted.sha256);
    let mut time = Duration::ZERO;
    let mut copied: u64 = 0;
    let mut piece = vec![0; PIECE];
    let map = map(&segment, wanted, limit, MapOptions::new())?;
    loop {
        let got = match source.read(&mut piece) {
            Ok(0) => break,
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed("read")(error)),
        };
        // CAST: a piece's length fits any integer.
        let got = match wanted.bytes {
            Some(length) => got.min(usize::try_from(length - copied).unwrap_or(got)),
            None => got,
        };
        let length = copied + got as u64;
        if length > limit {
            return Err(Error::TooLong { length, room });
        }
        let begin = Instant::now();
        if let Some(map) = &map {
            // CAST: the map's length is a usize, and this is within.
            map.write(copied as usize, &piece[..got])?;
            map.flush();
        }
        time += begin.elapsed();
        digester.take(&piece[..got]);
        copied = length;
        if wanted.bytes == Some(copied) {
            break;
        }
    }
    if wanted.bytes.is_some_and(|length| length > copied) {
        return Err(Error::TooShort {
            path: wanted.file.clone(),
            length: copied,
        });
    }
    still_there(&segment)?;
    output.line(&Copied::new(copied, time, digester), Copied::text)
}

/// Copies a segment to a file.
pub fn get(wanted: &Copy, output: &Output) -> Result<(), Error> {
    let failed = |what| {
        move |cause| Error::File {
            what,
            path: wanted.file.clone(),
            cause,
        }
    };
    let context = Context::open()?;
    let options = wanted.reach.options().read_only();
    let segment = context.connect(wanted.node, wanted.id, &options)?;
    let room = segment.bytes().saturating_sub(wanted.offset);
    let length = wanted.bytes.unwrap_or(room);
    if length > room {
        return Err(Error::TooLong { length, room });
    }
    let map = map(&segment, wanted, length, MapOptions::new().read_only())?;
    let mut sink: Box<dyn Write> = if is_dash(&wanted.file) {
        Box::new(io::stdout().lock())
    } else {
        Box::new(File::create(&wanted.file).map_err(failed("create"))?)
    };
    let mut digester = Digester::new(wanted.sha256);
    let mut time = Duration::ZERO;
    let mut piece = vec![0; PIECE];
    if let Some(map) = &map {
        for offset in (0..map.len()).step_by(PIECE) {
            let piece = &mut piece[..PIECE.min(map.len() - offset)];
            let begin = Instant::now();
            map.read(offset, piece)?;
            time += begin.elapsed();
            digester.take(piece);
            sink.write_all(piece).map_err(failed("write"))?;
        }
    }
    sink.flush().map_err(failed("write"))?;
    still_there(&segment)?;
    let copied = Copied::new(length, time, digester);
    if is_dash(&wanted.file) {
        output.beside(&copied, Copied::text)
    } else {
        output.line(&copied, Copied::text)
    }
}

/// Maps what is to be copied; nothing when that is nothing.
fn map(
    segment: &RemoteSegment,
    wanted: &Copy,
    length: u64,
    options: MapOptions,
) -> Result<Option<Map>, Error> {
    let Some(length) = usize::try_from(length).ok().filter(|&length| length > 0) else {
        return Ok(None);
    };
    let options = options.offset(wanted.offset).len(length).all_ones();
    let options = if wanted.uncached {
        options.uncached()
    } else {
        options
    };
    Ok(Some(segment.map(&options)?))
}

/// Whether what was copied is what the peer has: a lost map gives all ones.
fn still_there(segment: &RemoteSegment) -> Result<(), Error> {
    match segment.info()?.state {
        RemoteState::Operational => Ok(()),
        _ => Err(Error::LostWhileCopying),
    }
}

fn is_dash(path: &Path) -> bool {
    path.as_os_str() == "-"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_in_megabytes() {
        let copied = Copied::new(10_000_000, Duration::from_millis(500), Digester::new(false));
        assert_eq!(copied.text(), "10000000 bytes in 0.500000 s: 20.0 MB/s");
        let nothing = Copied::new(0, Duration::ZERO, Digester::new(false));
        assert_eq!(nothing.megabytes_per_second, 0.0);
    }
}
