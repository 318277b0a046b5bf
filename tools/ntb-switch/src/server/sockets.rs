// SPDX-License-Identifier: GPL-2.0
//! The listening sockets and the thread that accepts on all of them.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{
    accept4, bind, getsockopt, listen, socket, AddressFamily, Backlog, SockFlag, SockType, UnixAddr,
};
use skiff_vfio_user::Connection;

use super::device::Function;
use super::fabric::{Attachment, Fabric};
use super::helper::{receive_hello, wait};
use super::memory::WINDOW_MARK;
use super::{at, control, StartError};
use crate::model::Port;

/// How long a helper may take to say who it is.
const HELLO_TIMEOUT: Duration = Duration::from_secs(2);
/// The control socket's name in the run folder.
const CONTROL: &str = "control.sock";
/// The helpers' socket's name in the run folder.
const REMAP: &str = "remap.sock";

/// All listening sockets.
#[derive(Debug)]
pub(super) struct Sockets {
    ports: Vec<(Port, UnixListener)>,
    remap: OwnedFd,
    control: UnixListener,
}

/// Whether a switch answers in that folder.
pub(super) fn is_served(dir: &Path) -> bool {
    UnixStream::connect(dir.join(CONTROL)).is_ok()
}

/// Waits until one of `fds` has one of `events` or is closed; tells which.
pub(super) fn wait_any(fds: &[BorrowedFd<'_>], events: PollFlags) -> io::Result<Vec<bool>> {
    let mut polled: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(*fd, events)).collect();
    loop {
        match poll(&mut polled, PollTimeout::NONE) {
            Ok(_) => return Ok(polled.iter().map(|fd| fd.any().unwrap_or(true)).collect()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

impl Sockets {
    /// Listens on all sockets; adds the path of each to `files`.
    pub(super) fn listen(
        dir: &Path,
        ports: &[Port],
        files: &mut Vec<PathBuf>,
    ) -> Result<Self, StartError> {
        let fresh = |name: &str| -> Result<PathBuf, StartError> {
            let path = dir.join(name);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(at(&path, error))
                }
                _ => {}
            }
            Ok(path)
        };
        let stream = |name: &str, files: &mut Vec<PathBuf>| {
            let path = fresh(name)?;
            let listener = UnixListener::bind(&path).map_err(|error| at(&path, error))?;
            files.push(path.clone());
            listener
                .set_nonblocking(true)
                .map_err(|error| at(&path, error))?;
            Ok::<_, StartError>(listener)
        };
        let ports = ports
            .iter()
            .map(|port| Ok((*port, stream(&format!("port{port}.sock"), files)?)))
            .collect::<Result<_, StartError>>()?;
        let control = stream(CONTROL, files)?;
        let path = fresh(REMAP)?;
        let remap = listen_packets(&path).map_err(|errno| at(&path, errno))?;
        files.push(path);
        Ok(Self {
            ports,
            remap,
            control,
        })
    }

    /// Starts the accepting thread; it ends when the fabric is asked to stop, and has then closed everything.
    pub(super) fn start(self, fabric: Arc<Fabric>) -> io::Result<JoinHandle<()>> {
        thread::Builder::new().name("accept".into()).spawn(move || {
            if let Err(error) = self.run(&fabric) {
                tracing::error!(%error, "cannot accept connections any more");
                fabric.ask_to_stop();
            }
        })
    }

    fn run(&self, fabric: &Arc<Fabric>) -> io::Result<()> {
        let mut nodes: Vec<(Port, Connection)> = Vec::new();
        let clients = Arc::new(Clients::default());
        let mut fds = vec![
            fabric.stop_event().as_fd(),
            self.remap.as_fd(),
            self.control.as_fd(),
        ];
        fds.extend(self.ports.iter().map(|(_, listener)| listener.as_fd()));
        let result = loop {
            let ready = match wait_any(&fds, PollFlags::POLLIN) {
                Ok(ready) => ready,
                Err(error) => break Err(error),
            };
            if ready[0] {
                break Ok(());
            }
            nodes.retain(|(_, connection)| !connection.is_finished());
            if ready[1] {
                warn_if_failed("helper", self.accept_helper(fabric));
            }
            if ready[2] {
                warn_if_failed("control", self.accept_control(fabric, &clients));
            }
            for ((port, listener), _) in self
                .ports
                .iter()
                .zip(&ready[3..])
                .filter(|(_, ready)| **ready)
            {
                match accept_node(fabric, *port, listener) {
                    Ok(connection) => {
                        nodes.extend(connection.map(|connection| (*port, connection)))
                    }
                    Err(error) => tracing::warn!(%port, %error, "a node could not be taken on"),
                }
            }
        };
        fabric.close_all();
        clients.close_all();
        result
    }

    fn accept_helper(&self, fabric: &Arc<Fabric>) -> io::Result<()> {
        let raw = match accept4(self.remap.as_raw_fd(), SockFlag::SOCK_CLOEXEC) {
            Ok(raw) => raw,
            Err(errno) => return only_serious(errno.into()),
        };
        // SAFETY: accept4 has just given out this descriptor, and nobody else has it.
        let socket = unsafe { OwnedFd::from_raw_fd(raw) };
        let fabric = Arc::clone(fabric);
        thread::Builder::new()
            .name("helper".into())
            .spawn(move || {
                if let Err(error) = serve_helper(&fabric, socket) {
                    tracing::warn!(%error, "helper");
                }
            })?;
        Ok(())
    }

    fn accept_control(&self, fabric: &Arc<Fabric>, clients: &Arc<Clients>) -> io::Result<()> {
        let stream = match self.control.accept() {
            Ok((stream, _)) => stream,
            Err(error) => return only_serious(error),
        };
        let id = fabric.new_id();
        clients.add(id, stream.try_clone()?);
        let fabric = Arc::clone(fabric);
        let clients = Arc::clone(clients);
        thread::Builder::new()
            .name("control".into())
            .spawn(move || {
                if let Err(error) = control::serve(&fabric, stream) {
                    tracing::debug!(%error, "control client");
                }
                clients.remove(id);
            })?;
        Ok(())
    }
}

/// The control clients that are connected, so that they can be cut off.
#[derive(Debug, Default)]
struct Clients(Mutex<HashMap<u64, UnixStream>>);

impl Clients {
    fn add(&self, id: u64, stream: UnixStream) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, stream);
    }

    fn remove(&self, id: u64) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
    }

    fn close_all(&self) {
        for stream in self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
        {
            // Only the reading side: an answer that is under way, such as that to a shutdown, still gets out.
            if let Err(error) = stream.shutdown(std::net::Shutdown::Read) {
                tracing::debug!(%error, "shutdown");
            }
        }
    }
}

fn warn_if_failed(what: &str, result: io::Result<()>) {
    if let Err(error) = result {
        tracing::warn!(%error, what, "a connection could not be taken on");
    }
}

/// Errors of accept that mean only that nobody is there any more.
fn only_serious(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::WouldBlock
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::Interrupted => Ok(()),
        _ => Err(error),
    }
}

/// The process that connected `fd`, if it can be seen from here.
fn peer_process(fd: &impl AsFd) -> Option<i32> {
    let credentials = getsockopt(fd, PeerCredentials).ok()?;
    Some(credentials.pid()).filter(|pid| *pid > 0)
}

fn accept_node(
    fabric: &Arc<Fabric>,
    port: Port,
    listener: &UnixListener,
) -> io::Result<Option<Connection>> {
    let stream = match listener.accept() {
        Ok((stream, _)) => stream,
        Err(error) => return only_serious(error).map(|()| None),
    };
    let who = Attachment {
        port,
        id: fabric.new_id(),
        process: peer_process(&stream),
    };
    let function = Function {
        fabric: Arc::clone(fabric),
        who,
    };
    skiff_vfio_user::serve(stream, Arc::new(function)).map(Some)
}

/// Takes a helper on and waits for its end.
fn serve_helper(fabric: &Fabric, socket: OwnedFd) -> Result<(), super::helper::HelperError> {
    let hello = receive_hello(socket.as_fd(), HELLO_TIMEOUT)?;
    let port = hello
        .window
        .strip_prefix(WINDOW_MARK)
        .and_then(|name| name.strip_prefix("-port"))
        .and_then(|number| number.parse().ok())
        .and_then(Port::new)
        .filter(|port| port.index() < fabric.counters.len());
    let Some(port) = port else {
        tracing::warn!(
            window = hello.window,
            "a helper for a window that is none of ours"
        );
        return Ok(());
    };
    let process = peer_process(&socket).unwrap_or(0);
    let watched = socket.try_clone().map_err(|_| Errno::EMFILE)?;
    if let Some(id) = fabric.add_helper(port, &hello, process, socket) {
        // Answers come only to updates, and are taken by whoever sent those; here only the end is waited for.
        let ended = wait(watched.as_fd(), PollFlags::empty(), None);
        fabric.remove_helper(port, id);
        ended?;
    }
    Ok(())
}

fn listen_packets(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
    bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    listen(&fd, Backlog::new(64)?)?;
    Ok(fd)
}
