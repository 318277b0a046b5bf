// SPDX-License-Identifier: GPL-2.0
//! The host's end against a made-up agent on a socket pair.

use super::*;

const LIMIT: Duration = Duration::from_secs(10);

/// The agent's end of a connection.
struct Agent {
    connection: UnixStream,
    decoder: Decoder,
    session: u64,
}

impl Agent {
    fn send(&mut self, stream: u32, body: Reply) {
        let frame = frame::encode(&Packet {
            session: self.session,
            stream,
            body,
        })
        .unwrap();
        self.connection.write_all(&frame).unwrap();
    }

    fn receive(&mut self) -> Packet<Request> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(packet) = self.decoder.next_value() {
                return packet;
            }
            let length = self.connection.read(&mut buffer).unwrap();
            assert_ne!(length, 0);
            self.decoder.push(&buffer[..length]);
        }
    }
}

fn connected() -> (Link, Agent) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let link = Link::new(ours, Arc::default()).unwrap();
    let mut agent = Agent {
        connection: theirs,
        decoder: Decoder::new(),
        session: 5,
    };
    assert_eq!(agent.receive().body, Request::Hello);
    agent.send(CONTROL, Reply::Hello { version: VERSION });
    link.wait_session(0, LIMIT).unwrap();
    (link, agent)
}

fn get() -> Request {
    Request::Get {
        path: "/x".to_owned(),
    }
}

#[test]
fn a_file_comes_in_pieces() {
    let (link, mut agent) = connected();
    let stream = link.open(get(), Flow::Taken).unwrap();
    let request = agent.receive();
    assert_eq!((request.session, &request.body), (5, &get()));
    agent.send(
        request.stream,
        Reply::Data {
            from: message::Stream::Stdout,
            bytes: vec![1; 10],
        },
    );
    assert_eq!(stream.take(LIMIT).unwrap().0, [1; 10]);
    assert_eq!(agent.receive().body, Request::Credit(10));
    agent.send(request.stream, Reply::Done);
    assert!(stream.take(LIMIT).unwrap().0.is_empty());
    assert_eq!(
        stream.look(|state| state.end.clone()),
        Some(Some(End::Done))
    );
}

#[test]
fn data_waits_for_credit() {
    let (link, mut agent) = connected();
    let stream = link.open(get(), Flow::Taken).unwrap();
    let id = agent.receive().stream;
    let all = vec![7; WINDOW as usize];
    stream.send_data(&all, LIMIT).unwrap();
    assert_eq!(
        stream.send_data(&[8], Duration::from_millis(10)),
        Err(WaitError::Timeout)
    );
    agent.send(id, Reply::Credit(1));
    stream.send_data(&[9], LIMIT).unwrap();
    let mut got = Vec::new();
    while got.len() <= all.len() {
        match agent.receive().body {
            Request::Data(bytes) => got.extend(bytes),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(got.split_last(), Some((&9, &all[..])));
}

#[test]
fn a_new_agent_ends_the_streams_of_the_old_one() {
    let (link, mut agent) = connected();
    let stream = link.open(get(), Flow::Taken).unwrap();
    let id = agent.receive().stream;
    agent.session = 6;
    agent.send(CONTROL, Reply::Hello { version: VERSION });
    link.wait_session(1, LIMIT).unwrap();
    assert!(matches!(
        stream.look(|state| state.end.clone()),
        Some(Some(End::Lost(_)))
    ));
    // What the old one still had under way is dropped.
    agent.session = 5;
    agent.send(id, Reply::Done);
    drop(stream);
    let next = link.open(get(), Flow::Taken).unwrap();
    assert_eq!(agent.receive().session, 6);
    assert_eq!(next.look(|state| state.end.clone()), Some(None));
}

#[test]
fn a_closed_connection_ends_every_wait() {
    let (link, agent) = connected();
    let stream = link.open(get(), Flow::Taken).unwrap();
    drop(agent);
    assert!(
        stream.take(LIMIT).is_ok_and(|(data, _)| data.is_empty()) || stream.take(LIMIT).is_err()
    );
    assert!(matches!(
        link.wait_session(1, LIMIT),
        Err(WaitError::Lost(_))
    ));
    assert!(matches!(
        link.open(get(), Flow::Taken),
        Err(WaitError::Lost(_))
    ));
}

#[test]
fn dropping_a_stream_tells_the_agent() {
    let (link, mut agent) = connected();
    drop(link.open(get(), Flow::Taken).unwrap());
    assert_eq!(agent.receive().body, get());
    assert_eq!(agent.receive().body, Request::Close);
}

#[test]
fn another_protocol_version_is_refused() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let link = Link::new(ours, Arc::default()).unwrap();
    let mut agent = Agent {
        connection: theirs,
        decoder: Decoder::new(),
        session: 5,
    };
    agent.send(
        CONTROL,
        Reply::Hello {
            version: VERSION + 1,
        },
    );
    assert!(
        matches!(link.wait_session(0, LIMIT), Err(WaitError::Lost(why)) if why.contains("version"))
    );
}
