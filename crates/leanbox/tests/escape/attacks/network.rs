//! The host's network and the families of sockets.

use crate::call::{Tried, at, call, nr};
use crate::stage::Stage;
use crate::verdict::{Blocked, Open, Verdict, all, name, refused, refused_with};
use leanbox_sys::Errno;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixStream};
use std::time::Duration;

const STREAM: usize = 1;
const RAW: usize = 3;
const SEQPACKET: usize = 5;
const NETLINK: usize = 16;
/// Of a family that is refused, or that this kernel has not.
const NO_FAMILY: &[&str] = &["EPERM", "EACCES", "ENOSYS", "EAFNOSUPPORT"];

fn socket(family: usize, kind: usize, protocol: usize) -> Verdict {
    refused_with(call(nr::__NR_socket, [family, kind, protocol]), NO_FAMILY)
}

pub(crate) fn algorithms(_: &Stage) -> Verdict {
    socket(38, SEQPACKET, 0)
}

pub(crate) fn hypervisor(_: &Stage) -> Verdict {
    socket(40, STREAM, 0)
}

pub(crate) fn packets(_: &Stage) -> Verdict {
    all([RAW, 2].map(|kind| socket(17, kind, 0x0300)))
}

pub(crate) fn raw(_: &Stage) -> Verdict {
    all([socket(2, RAW, 1), socket(2, RAW, 255), socket(10, RAW, 58)])
}

/// Families whose modules the kernel would load for whoever asks.
pub(crate) fn rare_families(_: &Stage) -> Verdict {
    // AF_X25, AF_RDS, AF_CAN, AF_TIPC, AF_BLUETOOTH, AF_NFC, AF_XDP
    all([9, 21, 29, 30, 31, 39, 44].map(|family| socket(family, SEQPACKET, 0)))
}

/// A netlink message (netlink(7)), and what the kernel answers.
fn netlink(protocol: usize, kind: u16) -> Tried {
    const REQUEST_AND_ACK: u32 = 1 | 4;
    let socket = call(nr::__NR_socket, [NETLINK, RAW, protocol])?;
    // Address family AF_INET and nothing else: no device is meant.
    let message = [32, REQUEST_AND_ACK << 16 | u32::from(kind), 0, 0, 2, 0, 0, 0_u32];
    call(nr::__NR_sendto, [socket, at(&message), 32, 0, 0, 0])?;
    let answer = [0_i32; 64];
    call(nr::__NR_recvfrom, [socket, at(&answer), 256, 0, 0, 0])?;
    // SAFETY: the kernel wrote there; the compiler must not think of the zeros.
    match unsafe { std::ptr::read_volatile(&raw const answer[4]) } {
        0 => Ok(0),
        error => Err(Errno(-error)),
    }
}

pub(crate) fn addresses_and_routes(_: &Stage) -> Verdict {
    const ROUTE: usize = 0;
    // RTM_NEWLINK, RTM_NEWADDR, RTM_NEWROUTE
    all([16, 20, 24].map(|kind| refused(netlink(ROUTE, kind))))
}

/// The audit system, and events of devices, which are the namespace's.
pub(crate) fn other_netlink(_: &Stage) -> Verdict {
    const AUDIT: usize = 9;
    const AUDIT_GET: u16 = 1000;
    const EVENTS: usize = 15;
    let address = [16_u32, 0, 1];
    let hears = call(nr::__NR_socket, [NETLINK, RAW, EVENTS])
        .and_then(|socket| call(nr::__NR_bind, [socket, at(&address), 12]));
    let hears = match hears {
        Ok(_) if own_network() => Blocked("hears its own namespace only".into()),
        Ok(_) => Open("hears the host's devices".into()),
        Err(errno) => Blocked(name(errno)),
    };
    let refusals = ["EPERM", "EPROTONOSUPPORT", "ECONNREFUSED"];
    all([refused_with(netlink(AUDIT, AUDIT_GET), &refusals), hears])
}

/// Whether there is no device but loopback.
fn own_network() -> bool {
    let devices = std::fs::read_to_string("/proc/net/dev").unwrap_or_default();
    devices.lines().skip(2).all(|line| line.trim_start().starts_with("lo:"))
}

pub(crate) fn devices(_: &Stage) -> Verdict {
    if own_network() {
        Blocked("loopback only".into())
    } else {
        Open("the host's devices are there".into())
    }
}

fn connects(port: u16) -> Verdict {
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match TcpStream::connect_timeout(&to, Duration::from_secs(2)) {
        Ok(_) => Open("connected".into()),
        Err(error) => Blocked(name(Errno(error.raw_os_error().unwrap_or(0)))),
    }
}

fn connects_to_name(socket: &str) -> Verdict {
    let stream = UnixAddr::from_abstract_name(socket).and_then(|at| UnixStream::connect_addr(&at));
    match stream {
        Ok(_) => Open("connected".into()),
        Err(error) => Blocked(name(Errno(error.raw_os_error().unwrap_or(0)))),
    }
}

pub(crate) fn loopback_of_host(stage: &Stage) -> Verdict {
    connects(stage.port)
}

pub(crate) fn abstract_socket_of_host(stage: &Stage) -> Verdict {
    connects_to_name(&stage.socket)
}

pub(crate) fn loopback_of_neighbour(stage: &Stage) -> Verdict {
    connects(stage.neighbour_port)
}

pub(crate) fn abstract_socket_of_neighbour(stage: &Stage) -> Verdict {
    connects_to_name(&stage.neighbour_socket())
}

/// A datagram to a documentation address: it must not even be routed.
pub(crate) fn outside(_: &Stage) -> Verdict {
    let connected = UdpSocket::bind("0.0.0.0:0")
        .and_then(|socket| socket.connect("192.0.2.1:9").map(|()| socket));
    match connected {
        Ok(_) => Open("there is a route to it".into()),
        Err(error) => Blocked(name(Errno(error.raw_os_error().unwrap_or(0)))),
    }
}
