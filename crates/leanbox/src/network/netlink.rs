//! Requests to the kernel about links, addresses, routes and rules (netlink(7), rtnetlink(7)),
//! as bytes, and the socket that takes them. What they mean is [`super::link`]'s.

use crate::{Error, Result};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netdevice, recv, send,
    socket_with,
};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

const REQUEST: u16 = 1;
const ACK: u16 = 4;
/// Only where there is none yet.
pub(super) const EXCLUSIVE: u16 = 0x200;
pub(super) const CREATE: u16 = 0x400;
/// `NLMSG_ERROR`: an acknowledgement too, with 0.
const ERROR: u16 = 2;
/// struct nlmsghdr.
const HEADER_BYTES: usize = 16;
/// An acknowledgement brings its request along.
const ANSWER_BYTES: usize = 8192;
/// Of an attribute's type: it holds attributes.
const NESTED: u16 = 0x8000;

/// A request: what it is about for people, and its bytes.
pub(super) struct Message {
    what: String,
    bytes: Vec<u8>,
}

impl Message {
    /// One of this type, with the structure that its type begins with.
    pub(super) fn new(what: String, kind: u16, flags: u16, head: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags | REQUEST | ACK).to_ne_bytes());
        bytes.extend(head);
        Self { what, bytes }
    }

    /// With an attribute.
    #[must_use]
    pub(super) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        self.add(kind, value);
        self
    }

    /// With an attribute that holds what `fill` adds.
    #[must_use]
    pub(super) fn with_nested(mut self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let at = self.bytes.len();
        self.add(kind | NESTED, &[]);
        self = fill(self);
        self.set_length(at, self.bytes.len() - at);
        self
    }

    /// With bytes that are no attribute.
    #[must_use]
    pub(super) fn with_head(mut self, head: &[u8]) -> Self {
        self.bytes.extend(head);
        self
    }

    fn add(&mut self, kind: u16, value: &[u8]) {
        let at = self.bytes.len();
        self.bytes.extend([0, 0]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.set_length(at, 4 + value.len());
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// Of the attribute that begins there.
    fn set_length(&mut self, at: usize, length: usize) {
        let length = u16::try_from(length).expect("an attribute is shorter than 64 KiB");
        self.bytes[at..at + 2].copy_from_slice(&length.to_ne_bytes());
    }

    fn finish(&mut self, sequence: u32) {
        let length = u32::try_from(self.bytes.len()).expect("a request is shorter than 4 GiB");
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
    }
}

/// A socket of one network namespace, whoever uses it from wherever.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: OwnedFd,
    /// Of the request that was sent last.
    sequence: Mutex<u32>,
}

impl Netlink {
    /// One of the network namespace that the calling thread is in. No protocol is `NETLINK_ROUTE`.
    pub(super) fn open() -> Result<Self> {
        let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
        let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)
            .map_err(|errno| Error::syscall("socket(AF_NETLINK)", errno))?;
        Ok(Self { socket, sequence: Mutex::new(0) })
    }

    /// The number of a link of that name.
    pub(super) fn index(&self, name: &str) -> Result<u32> {
        netdevice::name_to_index(&self.socket, name)
            .map_err(|errno| Error::syscall(format!("ioctl({name}, SIOCGIFINDEX)"), errno))
    }

    /// Has the requests carried out, one after the other, until one fails.
    pub(super) fn carry_out(&self, requests: impl IntoIterator<Item = Message>) -> Result<()> {
        requests.into_iter().try_for_each(|request| {
            let what = request.what.clone();
            self.request(request).map_err(|errno| Error::syscall(what, errno))
        })
    }

    /// Has one carried out.
    pub(super) fn request(&self, mut request: Message) -> Result<(), Errno> {
        let mut sequence = self.sequence.lock().unwrap_or_else(PoisonError::into_inner);
        *sequence = sequence.wrapping_add(1);
        request.finish(*sequence);
        rustix::io::retry_on_intr(|| send(&self.socket, &request.bytes, SendFlags::empty()))?;
        loop {
            let mut answer = [0; ANSWER_BYTES];
            let (length, _) =
                rustix::io::retry_on_intr(|| recv(&self.socket, &mut answer, RecvFlags::empty()))?;
            if let Some(errno) = errno_of(&answer[..length.min(ANSWER_BYTES)], *sequence) {
                return errno.map_or(Ok(()), Err);
            }
        }
    }
}

/// What an acknowledgement says; `None` where it is not this request's.
fn errno_of(answer: &[u8], sequence: u32) -> Option<Option<Errno>> {
    let word = |at: usize| answer.get(at..at + 4)?.try_into().ok();
    let kind = answer.get(4..6)?.try_into().ok().map(u16::from_ne_bytes)?;
    if kind != ERROR || word(8).map(u32::from_ne_bytes)? != sequence {
        return None;
    }
    let negative = word(HEADER_BYTES).map(i32::from_ne_bytes)?;
    Some((negative != 0).then(|| Errno::from_raw_os_error(negative.wrapping_neg())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_nested_ones_count_what_they_hold() {
        let mut message = Message::new("test".into(), 16, 0, &[7; 4])
            .with(1, &[9])
            .with_nested(2, |inner| inner.with(3, &[1, 2, 3, 4]));
        message.finish(5);
        let bytes = message.bytes;
        assert_eq!(bytes.len(), 16 + 4 + 8 + 12);
        assert_eq!(bytes[..4], 40u32.to_ne_bytes());
        assert_eq!(bytes[20..28], [5, 0, 1, 0, 9, 0, 0, 0]);
        assert_eq!(bytes[28..32], [12, 0, 2, 0x80]);
    }

    #[test]
    fn a_refusal_is_told_by_its_number() {
        let netlink = Netlink::open().unwrap();
        // Of no such family of messages.
        let refused = netlink.request(Message::new("test".into(), 0x3fff, 0, &[0; 16]));
        assert_eq!(refused, Err(Errno::OPNOTSUPP));
    }
}
