// SPDX-License-Identifier: GPL-2.0
//! Streams of the agent on the host: a socket pair is the port.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, LazyLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use skiff_agent::frame::Decoder;
use skiff_agent::message::{Exec, Exit, Files, Packet, Reply, Size, Stream, WINDOW};

use crate::mailbox::{self, Mail, Mailbox};
use crate::port::Outbox;
use crate::reaper::Reaper;
use crate::{file, job};

const STREAM: u32 = 4;

/// It collects all children of this process, so there must be only one.
static REAPER: LazyLock<Arc<Reaper>> = LazyLock::new(|| Reaper::start().unwrap());

struct Host {
    port: UnixStream,
    decoder: Decoder,
    mailbox: Mailbox,
    agent: JoinHandle<()>,
}

impl Host {
    fn with(serve: impl FnOnce(&Outbox, Mailbox, mailbox::Inbox) + Send + 'static) -> Host {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let (mailbox, inbox) = mailbox::pair().unwrap();
        let own = mailbox.clone();
        let agent = thread::spawn(move || {
            let outbox = Outbox::new(1, File::from(OwnedFd::from(theirs))).unwrap();
            serve(&outbox, own, inbox);
        });
        Host {
            port: ours,
            decoder: Decoder::new(),
            mailbox,
            agent,
        }
    }

    fn exec(exec: Exec) -> Host {
        Host::with(move |outbox, mailbox, inbox| {
            job::run(outbox, STREAM, (mailbox, inbox), &REAPER, &exec)
        })
    }

    fn reply(&mut self) -> Reply {
        let mut buffer = [0; 65536];
        loop {
            if let Some(packet) = self.decoder.next_value::<Packet<Reply>>() {
                assert_eq!((packet.session, packet.stream), (1, STREAM));
                return packet.body;
            }
            let length = self.port.read(&mut buffer).expect("an answer in time");
            assert_ne!(length, 0, "the agent has ended");
            self.decoder.push(&buffer[..length]);
        }
    }

    /// Output and end of a command, crediting what comes.
    fn finish(mut self) -> (Vec<u8>, Vec<u8>, Exit) {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        loop {
            match self.reply() {
                Reply::Data { from, bytes } => {
                    self.mailbox
                        .leave(Mail::Credit(u32::try_from(bytes.len()).unwrap()));
                    match from {
                        Stream::Stdout => stdout.extend(bytes),
                        Stream::Stderr => stderr.extend(bytes),
                    }
                }
                Reply::Exited(exit) => {
                    self.agent.join().unwrap();
                    return (stdout, stderr, exit);
                }
                Reply::Started { .. } | Reply::Credit(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

fn shell(line: &str) -> Exec {
    Exec {
        argv: ["/bin/sh", "-c", line].map(str::to_owned).to_vec(),
        env: vec![("WHO".to_owned(), "agent".to_owned())],
        cwd: "/".to_owned(),
        files: Files::Pipes,
        limit_ms: Some(20_000),
    }
}

#[test]
fn output_is_separate_and_the_code_is_told() {
    let (stdout, stderr, exit) = Host::exec(shell("pwd; echo no $WHO >&2; exit 3")).finish();
    assert_eq!(
        (&stdout[..], &stderr[..], exit),
        (&b"/\n"[..], &b"no agent\n"[..], Exit::Code(3))
    );
}

#[test]
fn a_signal_is_no_code() {
    assert_eq!(
        Host::exec(shell("kill -TERM $$")).finish().2,
        Exit::Signal(15)
    );
}

#[test]
fn input_goes_in_and_ends() {
    let host = Host::exec(shell("wc -c"));
    host.mailbox.leave(Mail::Data(vec![b'x'; 300_000]));
    host.mailbox.leave(Mail::Eof);
    assert_eq!(host.finish().0, b"300000\n");
}

#[test]
fn input_that_nobody_reads_is_credited() {
    let mut host = Host::exec(shell("exec <&-; sleep 0.2; echo end"));
    host.mailbox.leave(Mail::Data(vec![0; 200_000]));
    let mut credited = 0;
    loop {
        match host.reply() {
            Reply::Credit(more) => credited += more,
            Reply::Exited(exit) => break assert_eq!(exit, Exit::Code(0)),
            _ => {}
        }
    }
    assert_eq!(credited, 200_000);
}

#[test]
fn the_limit_kills_the_whole_group() {
    let begun = Instant::now();
    let limited = Exec {
        limit_ms: Some(200),
        ..shell("sleep 77.31 & sleep 77.31")
    };
    assert_eq!(Host::exec(limited).finish().2, Exit::Limit);
    assert!(begun.elapsed() < Duration::from_secs(10));
    let left = || {
        let left = fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
            let state = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            line.starts_with(b"sleep\x0077.31") && !state.contains(") Z ")
        });
        left.count()
    };
    // Only the first one was waited for: the other has its signal, and a busy machine gets to it later.
    while left() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(10));
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_a_command_leaves_behind_does_not_hold_it_up() {
    let begun = Instant::now();
    let (stdout, _, exit) = Host::exec(shell("sleep 5 & echo out")).finish();
    assert_eq!((&stdout[..], exit), (&b"out\n"[..], Exit::Code(0)));
    assert!(begun.elapsed() < Duration::from_secs(4));
}

#[test]
fn no_more_is_sent_than_was_credited() {
    let mut host = Host::exec(shell("head -c 3000000 /dev/zero"));
    let mut got = 0;
    while got < WINDOW as usize {
        if let Reply::Data { bytes, .. } = host.reply() {
            got += bytes.len();
        }
    }
    assert_eq!(got, WINDOW as usize);
    host.port
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let silence = host.port.read(&mut [0; 1]).unwrap_err();
    assert_eq!(silence.kind(), std::io::ErrorKind::WouldBlock);
    host.port
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    host.mailbox.leave(Mail::Credit(5_000_000));
    let (rest, _, exit) = host.finish();
    assert_eq!((got + rest.len(), exit), (3_000_000, Exit::Code(0)));
}

#[test]
fn closing_the_stream_kills_the_command() {
    let mut host = Host::exec(shell("sleep 60"));
    assert!(matches!(host.reply(), Reply::Started { .. }));
    host.mailbox.leave(Mail::Close);
    host.agent.join().unwrap();
}

#[test]
fn a_terminal_has_the_size_it_is_given() {
    let files = Files::Terminal(Size {
        rows: 31,
        columns: 77,
    });
    let host = Host::exec(Exec {
        files,
        ..shell("stty size; read x; stty size; echo [$x] >&2")
    });
    host.mailbox.leave(Mail::Resize(Size {
        rows: 40,
        columns: 99,
    }));
    host.mailbox.leave(Mail::Data(b"typed\n".to_vec()));
    let (stdout, stderr, exit) = host.finish();
    let text = String::from_utf8(stdout).unwrap();
    assert!(text.ends_with("40 99\r\n[typed]\r\n"), "{text:?}");
    assert_eq!((&stderr[..], exit), (&b""[..], Exit::Code(0)));
}

#[test]
fn what_cannot_be_started_is_refused() {
    for exec in [
        Exec {
            argv: vec!["/no/such/program".to_owned()],
            ..shell("")
        },
        Exec {
            argv: vec![],
            ..shell("")
        },
        Exec {
            cwd: "/no/such/folder".to_owned(),
            ..shell("true")
        },
    ] {
        assert!(matches!(Host::exec(exec).reply(), Reply::Failed { .. }));
    }
}

#[test]
fn files_are_written_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/file").to_str().unwrap().to_owned();
    let data: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    for _ in 0..2 {
        let target = path.clone();
        let mut host = Host::with(move |outbox, _, inbox| {
            file::put(outbox, STREAM, &inbox, &target, 0o100_750)
        });
        for chunk in data.chunks(60_000) {
            host.mailbox.leave(Mail::Data(chunk.to_vec()));
        }
        host.mailbox.leave(Mail::Eof);
        let mut credited = 0;
        loop {
            match host.reply() {
                Reply::Credit(more) => credited += more as usize,
                Reply::Done => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(credited, data.len());
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
            0o750
        );
    }
    let mut host = Host::with(move |outbox, _, inbox| file::get(outbox, STREAM, &inbox, &path));
    assert_eq!(host.reply(), Reply::File { mode: 0o750 });
    let mut back = Vec::new();
    loop {
        match host.reply() {
            Reply::Data { bytes, .. } => back.extend(bytes),
            Reply::Done => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(back, data);
}

#[test]
fn a_missing_file_is_told() {
    let mut host =
        Host::with(|outbox, _, inbox| file::get(outbox, STREAM, &inbox, "/no/such/file"));
    assert!(matches!(host.reply(), Reply::Failed { message } if message.contains("/no/such/file")));
}
