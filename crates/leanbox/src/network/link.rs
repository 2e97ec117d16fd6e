//! What a slot's network is made of, as requests to the kernel (rtnetlink(7)).

use super::Nat;
use super::address::{Allow, Cidr, PortProtocol, REFUSED};
use super::netlink::{CREATE, EXCLUSIVE, Message};
use super::resolver::Resolver;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The host's end of every link, as its other end knows it: link-local, so that no network is in
/// its way.
pub(super) const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// Hardware addresses of the two ends, locally administered: each link has these two alone on it.
const OUTER_MAC: [u8; 6] = [0x02, 0x6c, 0x62, 0, 0, 1];
const INNER_MAC: [u8; 6] = [0x02, 0x6c, 0x62, 0, 0, 2];
/// The slot's end.
pub(super) const INNER: &str = "eth0";
/// What the allowed is routed by.
const TABLE_OF_ALLOWED: u8 = 100;

const NEWLINK: u16 = 16;
const DELLINK: u16 = 17;
const NEWADDR: u16 = 20;
const NEWROUTE: u16 = 24;
const NEWNEIGH: u16 = 28;
const NEWRULE: u16 = 32;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const SCOPE_UNIVERSE: u8 = 0;
const SCOPE_LINK: u8 = 253;
const TABLE_MAIN: u8 = 254;
const PROTOCOL_STATIC: u8 = 4;
const UNICAST: u8 = 1;
const IFF_UP: u32 = 1;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_GROUP: u16 = 27;
const IFLA_NET_NS_FD: u16 = 28;

/// struct ifinfomsg: the link, and which of its flags are set.
fn link_head(index: u32, up: bool) -> [u8; 16] {
    let mut head = [0; 16];
    head[4..8].copy_from_slice(&index.to_ne_bytes());
    if up {
        head[8..12].copy_from_slice(&IFF_UP.to_ne_bytes());
        head[12..16].copy_from_slice(&IFF_UP.to_ne_bytes());
    }
    head
}

fn name_bytes(name: &str) -> Vec<u8> {
    name.bytes().chain([0]).collect()
}

/// A pair of links (veth(4)): `name`, one of `group`, here, the other one in that namespace.
pub(super) fn pair(name: &str, group: u32, inside: BorrowedFd<'_>) -> Message {
    const INFO_KIND: u16 = 1;
    const INFO_DATA: u16 = 2;
    const VETH_INFO_PEER: u16 = 1;
    let inside = inside.as_raw_fd().to_ne_bytes();
    let what = format!("netlink(RTM_NEWLINK {name})");
    Message::new(what, NEWLINK, CREATE | EXCLUSIVE, &link_head(0, false))
        .with(IFLA_IFNAME, &name_bytes(name))
        .with(IFLA_ADDRESS, &OUTER_MAC)
        .with(IFLA_GROUP, &group.to_ne_bytes())
        .with_nested(IFLA_LINKINFO, |info| {
            info.with(INFO_KIND, b"veth").with_nested(INFO_DATA, |data| {
                data.with_nested(VETH_INFO_PEER, |peer| {
                    peer.with_head(&link_head(0, false))
                        .with(IFLA_IFNAME, &name_bytes(INNER))
                        .with(IFLA_ADDRESS, &INNER_MAC)
                        .with(IFLA_NET_NS_FD, &inside)
                })
            })
        })
}

/// No IPv6 address of its own accord.
pub(super) fn without_ipv6(index: u32) -> Message {
    const ADDR_GEN_MODE: u16 = 8;
    const NONE: u8 = 1;
    let what = format!("netlink(RTM_NEWLINK {index} IFLA_AF_SPEC)");
    Message::new(what, NEWLINK, 0, &link_head(index, false)).with_nested(IFLA_AF_SPEC, |spec| {
        spec.with_nested(AF_INET6.into(), |inet6| inet6.with(ADDR_GEN_MODE, &[NONE]))
    })
}

/// Forwards what comes in; with `loopback` it is a way to and from 127.0.0.0/8 too, for ports that
/// are published there.
pub(super) fn forwarding(index: u32, loopback: bool) -> Message {
    const INET_CONF: u16 = 1;
    const FORWARDING: u16 = 1;
    const ROUTE_LOCALNET: u16 = 26;
    let what = format!("netlink(RTM_NEWLINK {index} IFLA_INET_CONF)");
    Message::new(what, NEWLINK, 0, &link_head(index, false)).with_nested(IFLA_AF_SPEC, |spec| {
        spec.with_nested(AF_INET.into(), |inet| {
            inet.with_nested(INET_CONF, |conf| {
                conf.with(FORWARDING, &1u32.to_ne_bytes())
                    .with(ROUTE_LOCALNET, &u32::from(loopback).to_ne_bytes())
            })
        })
    })
}

/// Up.
pub(super) fn up(index: u32) -> Message {
    let what = format!("netlink(RTM_NEWLINK {index} IFF_UP)");
    Message::new(what, NEWLINK, 0, &link_head(index, true))
}

/// Removes all links of a group here, and so their other ends.
pub(super) fn delete_group(group: u32) -> Message {
    Message::new(format!("netlink(RTM_DELLINK group {group})"), DELLINK, 0, &link_head(0, false))
        .with(IFLA_GROUP, &group.to_ne_bytes())
}

/// One address, without a network.
pub(super) fn address(index: u32, address: Ipv4Addr) -> Message {
    const IFA_ADDRESS: u16 = 1;
    const IFA_LOCAL: u16 = 2;
    let mut head = [AF_INET, 32, 0, SCOPE_UNIVERSE, 0, 0, 0, 0];
    head[4..].copy_from_slice(&index.to_ne_bytes());
    Message::new(format!("netlink(RTM_NEWADDR {address})"), NEWADDR, CREATE | EXCLUSIVE, &head)
        .with(IFA_LOCAL, &address.octets())
        .with(IFA_ADDRESS, &address.octets())
}

/// Which of the two ends is whose neighbour.
#[derive(Clone, Copy)]
pub(super) enum End {
    Outer,
    Inner,
}

/// The other end, for good: nobody asks for it, and nobody can answer instead.
pub(super) fn neighbour(index: u32, address: Ipv4Addr, end: End) -> Message {
    const NDA_DST: u16 = 1;
    const NDA_LLADDR: u16 = 2;
    const PERMANENT: u16 = 0x80;
    let mut head = [AF_INET, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    head[4..8].copy_from_slice(&index.to_ne_bytes());
    head[8..10].copy_from_slice(&PERMANENT.to_ne_bytes());
    let mac = match end {
        End::Outer => OUTER_MAC,
        End::Inner => INNER_MAC,
    };
    Message::new(format!("netlink(RTM_NEWNEIGH {address})"), NEWNEIGH, CREATE | EXCLUSIVE, &head)
        .with(NDA_DST, &address.octets())
        .with(NDA_LLADDR, &mac)
}

const EVERYTHING: Cidr = Cidr { address: Ipv4Addr::UNSPECIFIED, bits: 0 };
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;

fn route(range: Cidr, table: u8, scope: u8) -> Message {
    let head = [AF_INET, range.bits, 0, 0, table, PROTOCOL_STATIC, scope, UNICAST, 0, 0, 0, 0];
    let what = format!("netlink(RTM_NEWROUTE {range})");
    let message = Message::new(what, NEWROUTE, CREATE | EXCLUSIVE, &head);
    match range.bits {
        0 => message,
        _ => message.with(RTA_DST, &range.address.octets()),
    }
}

/// What is right at the other end.
pub(super) fn route_to_end(index: u32, address: Ipv4Addr) -> Message {
    route(Cidr::single(address), TABLE_MAIN, SCOPE_LINK).with(RTA_OIF, &index.to_ne_bytes())
}

/// Everything else, out by the other end.
pub(super) fn default_route(index: u32) -> Message {
    default_in(TABLE_MAIN, index, GATEWAY)
}

/// The same in the table of what is allowed. To be made before the rules, which refuse gateways too.
pub(super) fn route_of_allowed(index: u32, gateway: Ipv4Addr) -> Message {
    default_in(TABLE_OF_ALLOWED, index, gateway)
}

fn default_in(table: u8, index: u32, gateway: Ipv4Addr) -> Message {
    route(EVERYTHING, table, SCOPE_UNIVERSE)
        .with(RTA_GATEWAY, &gateway.octets())
        .with(RTA_OIF, &index.to_ne_bytes())
}

const FRA_DST: u16 = 1;
const FRA_PRIORITY: u16 = 6;
const FRA_IP_PROTO: u16 = 22;
const FRA_SPORT_RANGE: u16 = 23;
const FRA_DPORT_RANGE: u16 = 24;
/// Before the main table, which is 32766.
const PRIORITY_OF_ALLOWED: u32 = 1000;
const PRIORITY_OF_REFUSED: u32 = 1001;

fn rule(what: String, range: Cidr, priority: u32, table: u8, action: u8) -> Message {
    let head = [AF_INET, range.bits, 0, 0, table, 0, 0, action, 0, 0, 0, 0];
    let message =
        Message::new(what, NEWRULE, CREATE, &head).with(FRA_PRIORITY, &priority.to_ne_bytes());
    match range.bits {
        0 => message,
        _ => message.with(FRA_DST, &range.address.octets()),
    }
}

/// What a slot's own namespace lets out (ip-rule(8)): the allowed, the answers of published ports,
/// and nothing else of what is refused. The kernel's errno for that is EACCES.
pub(super) fn rules(nat: &Nat, resolver: &Resolver, own: &[Cidr]) -> Vec<Message> {
    let names = resolver.allowed();
    let refused = REFUSED.iter().chain(own);
    let published = nat.publish.iter();
    (nat.allow.iter().chain(&names).map(allowed))
        .chain(published.map(|publish| answers_of(publish.inside, publish.protocol)))
        .chain(refused.map(|range| prohibit(*range)))
        .collect()
}

fn allowed(allow: &Allow) -> Message {
    let Allow { range, protocol, ports } = allow;
    by_ports(*range, *protocol, FRA_DPORT_RANGE, ports)
}

fn answers_of(port: u16, protocol: PortProtocol) -> Message {
    by_ports(EVERYTHING, protocol, FRA_SPORT_RANGE, &(port..=port))
}

fn by_ports(
    range: Cidr,
    protocol: PortProtocol,
    kind: u16,
    ports: &RangeInclusive<u16>,
) -> Message {
    const TO_TABLE: u8 = 1;
    let what = format!("netlink(RTM_NEWRULE {range} {protocol})");
    // struct fib_rule_port_range.
    let ports = [ports.start().to_ne_bytes(), ports.end().to_ne_bytes()].concat();
    rule(what, range, PRIORITY_OF_ALLOWED, TABLE_OF_ALLOWED, TO_TABLE)
        .with(FRA_IP_PROTO, &[protocol.number()])
        .with(kind, &ports)
}

fn prohibit(range: Cidr) -> Message {
    const PROHIBIT: u8 = 8;
    rule(format!("netlink(RTM_NEWRULE prohibit {range})"), range, PRIORITY_OF_REFUSED, 0, PROHIBIT)
}
