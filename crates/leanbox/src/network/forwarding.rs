//! The way out through the host: one table of rules for a template, one link for each slot.
//!
//! A slot's namespace serves that slot and no other: its link, address and namespace are new, so
//! nothing that was on its way to one slot (connections that the host still tracks) gets to the
//! next. All of them end with the slot's last process, since only its namespace holds them.

use super::address::SLOTS;
use super::link::{self, End, GATEWAY, INNER};
use super::namespace::{self, Fresh};
use super::netlink::Netlink;
use super::resolver::Resolver;
use super::{Nat, PortProtocol, firewall};
use crate::owner::{Block, OwnedNetwork, Owner};
use crate::{Error, ErrorKind, Result};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrV4, SocketFlags, SocketType, bind, socket_with};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// Group of the links of block 0's owner; others use small numbers, if any.
const FIRST_GROUP: u32 = 0x6c62_0000;
/// Names of links count up in so many bits, and begin anew.
const NAMES: u32 = 1 << 28;
/// How many addresses in a row may be another's before that is told.
const TRIES: u32 = 10_000;

/// What a template's slots go out by.
#[derive(Debug)]
pub(crate) struct Forwarding {
    outside: Netlink,
    table: String,
    block: Block,
    nat: Nat,
    resolver: Resolver,
    has_ipv6: bool,
    /// Of links that were made, for their names.
    count: AtomicU32,
    /// Where the next address is looked for.
    next: AtomicU32,
    /// Published ports are nobody else's.
    _ports: Vec<OwnedFd>,
}

impl Forwarding {
    /// Makes the table, after it is on record.
    pub(super) fn begin(nat: &Nat, owner: &mut Owner) -> Result<Self> {
        check_forwards()?;
        firewall::check_others()?;
        let ports = hold_ports(nat)?;
        let resolver = Resolver::of(nat);
        let block = owner.take_block()?;
        let group = FIRST_GROUP + block.0;
        let table = owner.name().to_string();
        owner.owns_network(OwnedNetwork { namespace: namespace::own_name()?, group })?;
        firewall::carry_out(&firewall::table(&table, group, nat, &resolver))?;
        Ok(Self {
            outside: Netlink::open()?,
            table,
            block,
            nat: nat.clone(),
            resolver,
            has_ipv6: Path::new("/proc/net/if_inet6").exists(),
            count: AtomicU32::new(0),
            next: AtomicU32::new(somewhere()),
            _ports: ports,
        })
    }

    /// What `/etc/resolv.conf` says inside; empty where the host asks nobody who can be reached.
    pub(super) fn resolv_conf(&self) -> &str {
        &self.resolver.text
    }

    fn group(&self) -> u32 {
        FIRST_GROUP + self.block.0
    }

    /// A namespace with its link. Whatever fails takes all that was made along, since the namespace
    /// closes.
    pub(super) fn namespace(&self) -> Result<OwnedFd> {
        let Fresh { namespace, inside } = namespace::fresh()?;
        let count = self.count.fetch_add(1, Ordering::Relaxed) % NAMES;
        let name = format!("{}{:03x}.{count:x}", firewall::LINKS, self.block.0);
        self.outside.carry_out([link::pair(&name, self.group(), namespace.as_fd())])?;
        let address = self.set_up_outer(self.outside.index(&name)?)?;
        self.set_up_inner(&inside, address)?;
        if !self.nat.publish.is_empty() {
            firewall::carry_out(&firewall::published(&self.table, &self.nat.publish, address))?;
        }
        Ok(namespace)
    }

    /// The host's end, up; the address at the other one.
    fn set_up_outer(&self, outer: u32) -> Result<Ipv4Addr> {
        let publishes = !self.nat.publish.is_empty();
        self.outside.carry_out(self.has_ipv6.then(|| link::without_ipv6(outer)))?;
        self.outside.carry_out([
            link::forwarding(outer, publishes),
            link::up(outer),
            link::address(outer, GATEWAY),
        ])?;
        let address = self.take_address(outer)?;
        self.outside.carry_out([link::neighbour(outer, address, End::Inner)])?;
        Ok(address)
    }

    /// One that no other slot of the machine has: the kernel takes each route once. They follow each
    /// other, so that one comes again late.
    fn take_address(&self, outer: u32) -> Result<Ipv4Addr> {
        for _ in 0..TRIES {
            let address = nth_address(self.next.fetch_add(1, Ordering::Relaxed));
            match self.outside.request(link::route_to_end(outer, address)) {
                Err(Errno::EXIST) => {}
                Err(errno) => {
                    return Err(Error::syscall(format!("netlink(RTM_NEWROUTE {address})"), errno));
                }
                Ok(()) => return Ok(address),
            }
        }
        let text = format!("network nat: no address of {SLOTS} is free");
        Err(Error::new(ErrorKind::Exhausted, text).remedy("end some containers"))
    }

    /// The slot's end: its address, its way out, and where no way leads. The same is refused by the
    /// table: a firewall that is loaded anew may flush that.
    fn set_up_inner(&self, inside: &Netlink, address: Ipv4Addr) -> Result<()> {
        let inner = inside.index(INNER)?;
        inside.carry_out([
            link::up(inner),
            link::address(inner, address),
            link::neighbour(inner, GATEWAY, End::Outer),
            link::route_to_end(inner, GATEWAY),
            link::default_route(inner),
            link::route_of_allowed(inner, GATEWAY),
        ])?;
        inside.carry_out(link::rules(&self.nat, &self.resolver, &[]))
    }
}

/// Leaves nothing of a template's table and links, wherever they are; whether nothing is left.
pub(crate) fn take_down(table: &str, network: &OwnedNetwork) -> bool {
    let namespace = match namespace::find(&network.namespace) {
        Ok(Some(namespace)) => namespace,
        Ok(None) => return true,
        Err(_) => return false,
    };
    let (table, group) = (table.to_string(), network.group);
    let taken = namespace::within(namespace, move || {
        // Links first: without the table they would lead further than with it.
        match Netlink::open()?.request(link::delete_group(group)) {
            Ok(()) | Err(Errno::NODEV) => firewall::remove(&table),
            Err(errno) => Err(Error::syscall("netlink(RTM_DELLINK)", errno)),
        }
    });
    taken.is_ok()
}

/// Whether this machine is a router at all. To make it one is not for us to decide.
fn check_forwards() -> Result<()> {
    const PATH: &str = "/proc/sys/net/ipv4/ip_forward";
    let text = std::fs::read_to_string(PATH).map_err(|error| Error::io(PATH, &error))?;
    if text.trim() == "1" {
        return Ok(());
    }
    let text = "network nat: this machine forwards nothing (net.ipv4.ip_forward is 0)";
    Err(Error::new(ErrorKind::Unsupported, text).remedy("sysctl -w net.ipv4.ip_forward=1"))
}

/// Takes each published port, so that nobody else can; nothing listens there, since what comes is
/// led inside before.
fn hold_ports(nat: &Nat) -> Result<Vec<OwnedFd>> {
    let hold = |publish: &super::Publish| {
        let (address, port, protocol) = (publish.address, publish.port, publish.protocol);
        let kind = match protocol {
            PortProtocol::Tcp => SocketType::STREAM,
            PortProtocol::Udp => SocketType::DGRAM,
        };
        let held = socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None)
            .and_then(|socket| bind(&socket, &SocketAddrV4::new(address, port)).map(|()| socket));
        held.map_err(|errno| match errno {
            Errno::ADDRINUSE => {
                let text = format!("published port {address}:{port}/{protocol} is in use");
                Error::new(ErrorKind::Busy, text).remedy("choose another, or end who has it")
            }
            errno => Error::syscall(format!("bind({address}:{port}/{protocol})"), errno),
        })
    };
    nat.publish.iter().map(hold).collect()
}

/// Neither the first nor the last of the range.
fn nth_address(n: u32) -> Ipv4Addr {
    let count = (1u32 << (32 - SLOTS.bits)) - 2;
    Ipv4Addr::from(u32::from(SLOTS.address) + 1 + n % count)
}

/// Another place for each template, by the time.
fn somewhere() -> u32 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.unwrap_or_default();
    // The golden ratio's multiples are far from each other.
    (now.subsec_nanos() ^ u32::try_from(now.as_secs() & 0xffff_ffff).unwrap_or(0))
        .wrapping_mul(0x9e37_79b9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_of_the_slots_range() {
        for n in [0, 1, 131_069, 131_070, u32::MAX] {
            assert!(SLOTS.contains(nth_address(n)), "{n}");
        }
        assert_eq!(nth_address(131_069), Ipv4Addr::new(198, 19, 255, 254));
        assert_eq!(nth_address(131_070), nth_address(0));
    }
}
