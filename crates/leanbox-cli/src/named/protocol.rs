//! What commands ask the host of a detached container: a message of JSON each way, over a
//! `SOCK_SEQPACKET` socket in its folder; the streams of a second program come as descriptors.

use super::Named;
use leanbox::{Error, ErrorKind, Result};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, connect,
    listen, recvmsg, sendmsg, socket_with,
};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// The longest request: arguments and environment of a second program.
const MESSAGE_MAX_BYTES: usize = 1 << 16;
const BACKLOG: i32 = 64;

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// A signal for the program; SIGKILL ends all.
    Signal(i32),
    Pause,
    Unpause,
    Exec(Exec),
    /// A socket of [`leanbox::Files`], which comes with the reply.
    Files,
    /// Its network namespace, which comes with the reply.
    Network,
    /// What it uses; JSON comes in the reply's text.
    Stats,
    Update(Update),
}

/// Limits from now on, where given.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Update {
    pub(crate) memory: Option<u64>,
    pub(crate) swap: Option<u64>,
    pub(crate) cpus: Option<f64>,
    pub(crate) cpu_weight: Option<u32>,
    pub(crate) cpuset_cpus: Option<String>,
    pub(crate) cpuset_mems: Option<String>,
    pub(crate) pids: Option<u32>,
    pub(crate) disks: Vec<Disk>,
    pub(crate) io_weight: Option<u32>,
}

/// Limits of one disk, as `IoLimit`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Disk {
    /// Major and minor number.
    pub(crate) device: (u32, u32),
    pub(crate) read_bps: Option<u64>,
    pub(crate) write_bps: Option<u64>,
    pub(crate) read_iops: Option<u64>,
    pub(crate) write_iops: Option<u64>,
}

/// A second program; its three streams come along.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Exec {
    pub(crate) words: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) workdir: Option<String>,
    pub(crate) user: Option<String>,
    /// The streams are a terminal, which is to be its controlling one.
    pub(crate) tty: bool,
}

/// What is answered: an exit code, and why it failed.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Reply {
    pub(crate) code: u8,
    pub(crate) error: Option<String>,
    pub(crate) text: Option<String>,
}

/// The host's answer, as a result.
pub(crate) fn asked(named: &Named, request: &Request) -> Result<()> {
    asked_for_text(named, request).map(drop)
}

/// The same, with its text.
pub(crate) fn asked_for_text(named: &Named, request: &Request) -> Result<String> {
    let reply = ask(named, request, &[])?;
    match reply.error {
        Some(text) => Err(Error::new(ErrorKind::System, format!("{:?}: {text}", named.name))),
        None => Ok(reply.text.unwrap_or_default()),
    }
}

/// The descriptor that comes with the host's answer.
pub(crate) fn asked_for_descriptor(named: &Named, request: &Request) -> Result<OwnedFd> {
    let (reply, fds) = ask_for(named, request, &[])?;
    match (reply.error, fds.into_iter().next()) {
        (None, Some(descriptor)) => Ok(descriptor),
        (Some(text), _) => Err(Error::new(ErrorKind::System, format!("{:?}: {text}", named.name))),
        (None, None) => Err(Error::new(ErrorKind::Gone, format!("{:?} has ended", named.name))),
    }
}

fn address(named: &Named) -> Result<(SocketAddrUnix, File)> {
    let wrap = |error: std::io::Error| Error::io(named.folder.display(), &error);
    // A socket's path has 108 bytes at most (unix(7)), a state folder's may have more.
    let folder = File::open(&named.folder).map_err(wrap)?;
    let path = format!("/proc/self/fd/{}/socket", folder.as_raw_fd());
    let address = SocketAddrUnix::new(path).map_err(|errno| Error::syscall("socket", errno))?;
    Ok((address, folder))
}

fn socket() -> Result<OwnedFd> {
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(|errno| Error::syscall("socket(AF_UNIX, SOCK_SEQPACKET)", errno))
}

/// The host's socket.
pub(crate) fn serve(named: &Named) -> Result<OwnedFd> {
    let (address, _folder) = address(named)?;
    let socket = socket()?;
    bind(&socket, &address)
        .and_then(|()| listen(&socket, BACKLOG))
        .map_err(|errno| Error::syscall("bind(socket of a named container)", errno))?;
    Ok(socket)
}

/// Asks, and waits for the answer.
pub(crate) fn ask(named: &Named, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<Reply> {
    ask_for(named, request, fds).map(|(reply, _)| reply)
}

/// The same, with the descriptors that come with it.
pub(crate) fn ask_for(
    named: &Named,
    request: &Request,
    fds: &[BorrowedFd<'_>],
) -> Result<(Reply, Vec<OwnedFd>)> {
    let socket = begin(named, request, fds)?;
    answer(named, &socket)
}

/// Asks; the answer can be waited for with the socket.
pub(crate) fn begin(named: &Named, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<OwnedFd> {
    if !named.has_host() {
        return Err(named.not_running());
    }
    let (address, _folder) = address(named)?;
    let socket = socket()?;
    connect(&socket, &address).map_err(|errno| match errno {
        // It ended this moment, or is not ready yet.
        Errno::CONNREFUSED | Errno::NOENT => {
            Error::new(ErrorKind::Gone, format!("{:?} is just beginning or ending", named.name))
        }
        errno => Error::syscall("connect(host of the container)", errno),
    })?;
    send(&socket, request, fds)?;
    Ok(socket)
}

/// The answer.
pub(crate) fn answer(named: &Named, socket: &OwnedFd) -> Result<(Reply, Vec<OwnedFd>)> {
    let (reply, fds) = receive::<Reply>(socket)?;
    let reply =
        reply.ok_or_else(|| Error::new(ErrorKind::Gone, format!("{:?} has ended", named.name)));
    Ok((reply?, fds))
}

/// One message.
pub(crate) fn send<T: Serialize>(
    socket: &OwnedFd,
    message: &T,
    fds: &[BorrowedFd<'_>],
) -> Result<()> {
    let bytes = serde_json::to_vec(message).unwrap_or_default();
    if bytes.len() > MESSAGE_MAX_BYTES {
        return Err(Error::invalid(format!("more than {MESSAGE_MAX_BYTES} bytes of arguments")));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Error::invalid("too many descriptors"));
    }
    sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)
        .map(drop)
        .map_err(|errno| Error::syscall("sendmsg(host of the container)", errno))
}

/// One message and its descriptors; `None` where there is none, or one that makes no sense.
pub(crate) fn receive<T: for<'a> Deserialize<'a>>(
    socket: &OwnedFd,
) -> Result<(Option<T>, Vec<OwnedFd>)> {
    let mut bytes = vec![0; MESSAGE_MAX_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let length = loop {
        let mut slices = [IoSliceMut::new(&mut bytes)];
        match recvmsg(socket, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            Err(Errno::CONNRESET) => break 0,
            other => {
                break other.map_err(|errno| Error::syscall("recvmsg(command)", errno))?.bytes;
            }
        }
    };
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    Ok((serde_json::from_slice(&bytes[..length]).ok(), fds))
}
