//! Messages with descriptors over a Unix socket (unix(7), `SCM_RIGHTS`), and the one network
//! call a slot needs: bringing `lo` up.

use crate::arch::nr;
use crate::errno::{call, int};
use crate::{Fd, Result};

/// The most descriptors one message carries.
pub const FDS_MAX: usize = 64;

#[repr(C)]
struct IoVec {
    base: usize,
    length: usize,
}

#[repr(C)]
struct MsgHdr {
    name: usize,
    name_length: u32,
    iov: *mut IoVec,
    iov_length: usize,
    control: *mut u8,
    control_length: usize,
    flags: i32,
}

/// struct cmsghdr followed by its descriptors.
#[repr(C, align(8))]
struct Control {
    length: usize,
    level: i32,
    kind: i32,
    fds: [Fd; FDS_MAX],
}

/// Room for the descriptors of a message and for its sender's pidfd.
#[repr(C, align(8))]
struct Controls([u8; CONTROLS_BYTES]);
/// The sender's is a struct cmsghdr with one descriptor, padded.
const CONTROLS_BYTES: usize = size_of::<Control>() + 24;

const CONTROL_HEADER: usize = 16;
const SOL_SOCKET: i32 = 1;
const SCM_RIGHTS: i32 = 1;
const SCM_PIDFD: i32 = 4;
const SO_PASSPIDFD: usize = 76;
/// No SIGPIPE where the other side is gone.
const MSG_NOSIGNAL: usize = 0x4000;
const MSG_CMSG_CLOEXEC: usize = 0x4000_0000;
const MSG_CTRUNC: i32 = 8;

/// Sends one message with `fds` (sendmsg(2)); begun again when interrupted.
pub fn send(socket: Fd, bytes: &[u8], fds: &[Fd]) -> Result<()> {
    let count = fds.len().min(FDS_MAX);
    let mut control = Control {
        length: CONTROL_HEADER + count * 4,
        level: SOL_SOCKET,
        kind: SCM_RIGHTS,
        fds: [0; FDS_MAX],
    };
    control.fds[..count].copy_from_slice(&fds[..count]);
    let mut iov = IoVec { base: bytes.as_ptr() as usize, length: bytes.len() };
    let (pointer, length) = if count == 0 {
        (core::ptr::null_mut(), 0)
    } else {
        ((&raw mut control).cast(), (CONTROL_HEADER + count * 4).next_multiple_of(8))
    };
    let header = MsgHdr {
        name: 0,
        name_length: 0,
        iov: &raw mut iov,
        iov_length: 1,
        control: pointer,
        control_length: length,
        flags: 0,
    };
    loop {
        let args = [int(socket), &raw const header as usize, MSG_NOSIGNAL];
        // SAFETY: the header and all it points to live until the call returns.
        match unsafe { call(nr::SENDMSG, args) } {
            Err(crate::Errno::INTR) => {}
            other => return other.map(drop),
        }
    }
}

/// Has every message that is received from now on bring its sender's pidfd (unix(7),
/// `SO_PASSPIDFD`, Linux 6.5).
pub fn pass_senders(socket: Fd) -> Result<()> {
    let on = 1i32;
    let args =
        [int(socket), SOL_SOCKET as usize, SO_PASSPIDFD, &raw const on as usize, size_of::<i32>()];
    // SAFETY: the option's value is an int.
    unsafe { call(nr::SETSOCKOPT, args) }.map(drop)
}

/// What [`receive`] got.
pub struct Received {
    /// Bytes of the message; 0 means that the other side is gone.
    pub length: usize,
    /// How many descriptors came.
    pub count: usize,
    /// The descriptors, close-on-exec.
    pub fds: [Fd; FDS_MAX],
    /// The sender's pidfd, where [`pass_senders`] asked for it; else negative.
    pub sender: Fd,
    /// More descriptors came than this process may have (`MSG_CTRUNC`).
    pub lost: bool,
}

/// Receives one message (recvmsg(2)) into `buffer`; begun again when interrupted.
pub fn receive(socket: Fd, buffer: &mut [u8]) -> Result<Received> {
    let mut controls = Controls([0; CONTROLS_BYTES]);
    let mut iov = IoVec { base: buffer.as_mut_ptr() as usize, length: buffer.len() };
    let mut header = MsgHdr {
        name: 0,
        name_length: 0,
        iov: &raw mut iov,
        iov_length: 1,
        control: (&raw mut controls).cast(),
        control_length: size_of::<Controls>(),
        flags: 0,
    };
    let length = loop {
        let args = [int(socket), &raw mut header as usize, MSG_CMSG_CLOEXEC];
        // SAFETY: the header and all it points to live until the call returns.
        match unsafe { call(nr::RECVMSG, args) } {
            Err(crate::Errno::INTR) => {}
            other => break other?,
        }
    };
    let lost = header.flags & MSG_CTRUNC != 0;
    let mut received = Received { length, count: 0, fds: [-1; FDS_MAX], sender: -1, lost };
    let control = controls.0.get(..header.control_length).unwrap_or(&[]);
    received.take_descriptors(control);
    Ok(received)
}

impl Received {
    /// The message, if all of its descriptors came; else they are closed, and EMFILE is why.
    ///
    /// # Errors
    /// EMFILE.
    pub fn whole(self) -> Result<Self> {
        if !self.lost {
            return Ok(self);
        }
        let came = self.fds[..self.count].iter().chain(Some(&self.sender));
        came.copied().filter(|fd| *fd >= 0).for_each(crate::fd::close);
        Err(crate::Errno::MFILE)
    }

    /// Out of the kernel's struct cmsghdrs, one behind the other, each padded to 8 bytes.
    fn take_descriptors(&mut self, mut control: &[u8]) {
        let number = |bytes: &[u8], at: usize| {
            bytes
                .get(at..at + 4)
                .and_then(|word| word.try_into().ok())
                .map_or(0, i32::from_ne_bytes)
        };
        while control.len() >= CONTROL_HEADER {
            let length = (number(control, 0) as usize).clamp(CONTROL_HEADER, control.len());
            let (descriptors, kind) = (&control[CONTROL_HEADER..length], number(control, 12));
            for word in descriptors.chunks_exact(4) {
                match kind {
                    SCM_PIDFD => {
                        self.sender = number(word, 0);
                        // The kernel puts its error in the descriptor's place.
                        self.lost |= self.sender == -crate::Errno::MFILE.0;
                    }
                    SCM_RIGHTS if self.count < FDS_MAX => {
                        self.fds[self.count] = number(word, 0);
                        self.count += 1;
                    }
                    _ => {}
                }
            }
            control = control.get(length.next_multiple_of(8)..).unwrap_or(&[]);
        }
    }
}

/// A socket that is told of every change to the devices, addresses, routes, rules and neighbours
/// of the current network namespace from now on (rtnetlink(7)).
pub fn network_changes() -> Result<Fd> {
    const AF_NETLINK: u16 = 16;
    const SOCK_RAW_CLOEXEC: usize = 3 | 0o2000000;
    // struct sockaddr_nl: family, port 0 for one that the kernel chooses, every group.
    let mut address = [0u8; 12];
    address[..2].copy_from_slice(&AF_NETLINK.to_ne_bytes());
    address[8..].fill(0xff);
    // SAFETY: numbers only; the last is NETLINK_ROUTE.
    let socket = unsafe { call(nr::SOCKET, [AF_NETLINK as usize, SOCK_RAW_CLOEXEC, 0]) }? as Fd;
    // SAFETY: the address is 12 bytes long.
    match unsafe { call(nr::BIND, [int(socket), address.as_ptr() as usize, address.len()]) } {
        Ok(_) => Ok(socket),
        Err(errno) => {
            crate::fd::close(socket);
            Err(errno)
        }
    }
}

/// Whether no message lies in the socket, and none was lost.
#[must_use]
pub fn is_empty(socket: Fd) -> bool {
    const MSG_DONTWAIT: usize = 0x40;
    // SAFETY: nothing is written to: no buffer, no address.
    let got = unsafe { call(nr::RECVFROM, [int(socket), 0, 0, MSG_DONTWAIT, 0, 0]) };
    got == Err(crate::Errno::AGAIN)
}

/// Throws away what lies in the socket, descriptors too; it waits for nothing.
pub fn drain(socket: Fd) {
    const MSG_DONTWAIT: usize = 0x40;
    // SAFETY: nothing is written to: no buffer, no address.
    while unsafe { call(nr::RECVFROM, [int(socket), 0, 0, MSG_DONTWAIT, 0, 0]) }.is_ok() {}
}

/// Sets the loopback device of the current network namespace up (netdevice(7)).
pub fn loopback_up() -> Result<()> {
    const SIOCSIFFLAGS: usize = 0x8914;
    const IFF_UP_RUNNING: i16 = 0x41;
    #[repr(C)]
    struct IfReq {
        name: [u8; 16],
        flags: i16,
        rest: [u8; 22],
    }
    let mut name = [0; 16];
    name[..2].copy_from_slice(b"lo");
    let request = IfReq { name, flags: IFF_UP_RUNNING, rest: [0; 22] };
    // SAFETY: numbers only: AF_INET, SOCK_DGRAM | SOCK_CLOEXEC.
    let socket = unsafe { call(nr::SOCKET, [2, 2 | 0o2000000, 0]) }? as Fd;
    // SAFETY: the request is a struct ifreq.
    let done = unsafe { crate::fd::ioctl(socket, SIOCSIFFLAGS, &raw const request as usize) };
    crate::fd::close(socket);
    done.map(drop)
}
