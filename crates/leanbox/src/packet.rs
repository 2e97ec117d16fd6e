//! Messages with descriptors between processes of ours, over pairs of `SOCK_SEQPACKET` sockets
//! (unix(7)).
//!
//! In: bytes and descriptors, or room for them. Out: one whole message; nothing where the peer has
//! ended and said no more. Never: parts of one.

use crate::{Error, Result};
use leanbox_sys::socket::Received;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, send, sendmsg, socketpair,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Room for the descriptors of one message: trees at most.
const ANCILLARY_BYTES: usize = 512;

/// A pair of message sockets, close-on-exec.
pub(crate) fn packet_pair() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(|errno| Error::syscall("socketpair(AF_UNIX, SOCK_SEQPACKET)", errno))
}

/// One message with descriptors (unix(7)).
pub(crate) fn send_with_fds(
    socket: impl AsFd,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    if fds.is_empty() {
        return send(socket, bytes, SendFlags::NOSIGNAL).map(drop);
    }
    let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::TOOBIG);
    }
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL).map(drop)
}

/// What the kernel tells of a peer that has ended before it gives its last words: once, that a request
/// was left unread (ECONNRESET); and now and then that there is nothing more, since it looks whether
/// there is a message before it looks whether the peer is gone (`__skb_wait_for_more_packets`).
const BEFORE_LAST_WORDS: u32 = 2;

/// Receives until that was told.
fn to_last_words<T>(
    mut receive: impl FnMut() -> Result<T, Errno>,
    length: impl Fn(&T) -> usize,
) -> Result<T, Errno> {
    for _ in 0..BEFORE_LAST_WORDS {
        match receive() {
            Err(Errno::CONNRESET) => {}
            Ok(came) if length(&came) == 0 => {}
            other => return other,
        }
    }
    receive()
}

/// One message and its descriptors; of no length where the peer has ended.
pub(crate) fn receive_with_fds(
    socket: impl AsFd,
    bytes: &mut [u8],
) -> Result<(usize, Vec<OwnedFd>), Errno> {
    to_last_words(|| receive_once(socket.as_fd(), bytes), |came| came.0)
}

fn receive_once(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<(usize, Vec<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let length = loop {
        match recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut control, flags) {
            Err(Errno::INTR) => {}
            other => break other?.bytes,
        }
    };
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    Ok((length, fds))
}

/// As [`receive_with_fds`], and the sender's pidfd where the socket passes it on: of a kind of
/// control message that is too new for the library.
#[allow(unsafe_code, reason = "the kernel has just made these descriptors, for nobody else")]
pub(crate) fn receive_with_sender(
    socket: &OwnedFd,
    bytes: &mut [u8],
) -> Result<(usize, Vec<OwnedFd>, Option<OwnedFd>), Errno> {
    let once = || {
        leanbox_sys::socket::receive(socket.as_raw_fd(), bytes)
            .and_then(Received::whole)
            .map_err(|errno| Errno::from_raw_os_error(errno.0))
    };
    let came = to_last_words(once, |came| came.length)?;
    // SAFETY: see above; each is taken once.
    let own = |fd: &i32| unsafe { OwnedFd::from_raw_fd(*fd) };
    let sender = Some(&came.sender).filter(|fd| **fd >= 0).map(own);
    Ok((came.length, came.fds[..came.count].iter().map(own).collect(), sender))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_of_a_peer_that_ends_are_heard() {
        for turn in 0..2_000 {
            let (ours, theirs) = packet_pair().unwrap();
            // Unread, so that its end is an error too.
            send_with_fds(&ours, b"request", &[]).unwrap();
            let ends = std::thread::spawn(move || {
                for _ in 0..turn % 64 {
                    std::hint::spin_loop();
                }
                send_with_fds(&theirs, b"words", &[]).unwrap();
            });
            let mut bytes = [0; 16];
            let heard = receive_with_fds(&ours, &mut bytes).map(|(length, _)| length);
            assert_eq!(heard, Ok(5), "{turn}");
            ends.join().unwrap();
        }
    }
}
