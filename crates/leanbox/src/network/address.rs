//! Addresses, ports, and what is allowed of them: values, read from words.

use crate::{Error, ErrorKind, Result};
use std::fmt;
use std::net::{Ipv4Addr, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::str::FromStr;

/// What is nobody's in the internet (IANA, IPv4 special-purpose address registry), and so is
/// refused unless allowed: the host's neighbours, its cloud's metadata, other slots.
pub(super) const REFUSED: [Cidr; 15] = [
    Cidr::new([0, 0, 0, 0], 8),
    Cidr::new([10, 0, 0, 0], 8),
    Cidr::new([100, 64, 0, 0], 10),
    Cidr::new([127, 0, 0, 0], 8),
    Cidr::new([169, 254, 0, 0], 16),
    Cidr::new([172, 16, 0, 0], 12),
    Cidr::new([192, 0, 0, 0], 24),
    Cidr::new([192, 0, 2, 0], 24),
    Cidr::new([192, 88, 99, 0], 24),
    Cidr::new([192, 168, 0, 0], 16),
    SLOTS,
    Cidr::new([198, 51, 100, 0], 24),
    Cidr::new([203, 0, 113, 0], 24),
    Cidr::new([224, 0, 0, 0], 4),
    Cidr::new([240, 0, 0, 0], 4),
];

/// Where slots have their addresses: kept for benchmarks of devices (RFC 2544), so that hardly a
/// network has any of them.
pub(super) const SLOTS: Cidr = Cidr::new([198, 18, 0, 0], 15);

/// A range of IPv4 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// Its first.
    pub address: Ipv4Addr,
    /// How many leading bits are the same in all; at most 32.
    pub bits: u8,
}

impl Cidr {
    const fn new([a, b, c, d]: [u8; 4], bits: u8) -> Self {
        Self { address: Ipv4Addr::new(a, b, c, d), bits }
    }

    /// One address.
    #[must_use]
    pub fn single(address: Ipv4Addr) -> Self {
        Self { address, bits: 32 }
    }

    /// Whether the address is one of it.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
        (u32::from(address) ^ u32::from(self.address)) & mask == 0
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.address, self.bits)
    }
}

impl FromStr for Cidr {
    type Err = Error;

    /// `10.0.0.0/8`, or one address.
    fn from_str(text: &str) -> Result<Self> {
        let invalid = |why: &str| Error::invalid(format!("{text:?}: {why}"));
        let (address, bits) = text.split_once('/').unwrap_or((text, "32"));
        let not_v4 = "not an IPv4 address or range, as in 10.1.2.3 or 10.0.0.0/8";
        let address: Ipv4Addr = address.parse().map_err(|_| invalid(not_v4))?;
        let bits = bits.parse().ok().filter(|bits| *bits <= 32).ok_or_else(|| invalid(not_v4))?;
        let range = Self { address, bits };
        let behind = u32::from(address).checked_shl(u32::from(bits)).unwrap_or(0);
        match behind {
            0 => Ok(range),
            _ => Err(invalid("bits are set behind the range's prefix")),
        }
    }
}

/// TCP or UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PortProtocol {
    /// tcp(7).
    #[default]
    Tcp,
    /// udp(7).
    Udp,
}

impl PortProtocol {
    /// Its IANA number.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    /// A text without its `/tcp` or `/udp`.
    fn split(text: &str) -> (&str, Self) {
        match text.strip_suffix("/udp") {
            Some(rest) => (rest, Self::Udp),
            None => (text.strip_suffix("/tcp").unwrap_or(text), Self::Tcp),
        }
    }
}

impl fmt::Display for PortProtocol {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// What a slot may reach although it would be refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allow {
    /// Where.
    pub range: Cidr,
    /// By which protocol.
    pub protocol: PortProtocol,
    /// At which ports.
    pub ports: RangeInclusive<u16>,
}

impl Allow {
    /// `HOST|CIDR:PORT[-PORT][/udp]`: of a host name each of its addresses as they are now.
    ///
    /// # Errors
    /// It does not read so, or the name has no IPv4 address.
    pub fn read(text: &str) -> Result<Vec<Self>> {
        let (place, protocol) = PortProtocol::split(text);
        let form = "write HOST:PORT or CIDR:PORT, as in 10.0.0.5:5432 or db.internal:53/udp";
        let invalid = |why: &str| Error::invalid(format!("{text:?}: {why}")).remedy(form);
        let (place, ports) = place.rsplit_once(':').ok_or_else(|| invalid("no port"))?;
        let ports = ports_of(ports).ok_or_else(|| invalid("ports are from 1 to 65535"))?;
        let allow = |range| Self { range, protocol, ports: ports.clone() };
        if place.starts_with(|first: char| first.is_ascii_digit()) {
            return Ok(vec![allow(place.parse()?)]);
        }
        let addresses = addresses_of(place)?;
        Ok(addresses.into_iter().map(|address| allow(Cidr::single(address))).collect())
    }
}

fn ports_of(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (1 <= first && first <= last).then_some(first..=last)
}

fn addresses_of(name: &str) -> Result<Vec<Ipv4Addr>> {
    let none = |why: String| Error::new(ErrorKind::NotFound, format!("{name}: {why}"));
    if name.is_empty() {
        return Err(Error::invalid("an empty host name"));
    }
    let found = (name, 0).to_socket_addrs().map_err(|error| none(error.to_string()))?;
    let mut addresses: Vec<Ipv4Addr> = found
        .filter_map(|address| match address.ip() {
            std::net::IpAddr::V4(address) => Some(address),
            std::net::IpAddr::V6(_) => None,
        })
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    match addresses.is_empty() {
        true => Err(none("has no IPv4 address".into())),
        false => Ok(addresses),
    }
}

/// A port of the host that leads to one inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish {
    /// Of the host; `0.0.0.0`: each that it has.
    pub address: Ipv4Addr,
    /// There.
    pub port: u16,
    /// Inside.
    pub inside: u16,
    /// By which protocol.
    pub protocol: PortProtocol,
}

impl FromStr for Publish {
    type Err = Error;

    /// `[ADDRESS:][PORT:]PORT[/udp]`, as Docker reads it, but that without an address it is
    /// 127.0.0.1.
    fn from_str(text: &str) -> Result<Self> {
        let form = "write [ADDRESS:]PORT:PORT, as in 8080:80 or 0.0.0.0:53:53/udp";
        let invalid = |why: &str| Error::invalid(format!("{text:?}: {why}")).remedy(form);
        let (words, protocol) = PortProtocol::split(text);
        let mut words: Vec<&str> = words.split(':').collect();
        let port = |word: Option<&str>| {
            let port = word.and_then(|word| word.parse::<u16>().ok());
            port.filter(|port| *port > 0).ok_or_else(|| invalid("ports are from 1 to 65535"))
        };
        let inside = port(words.pop())?;
        let port = if words.is_empty() { inside } else { port(words.pop())? };
        let address = match words[..] {
            [] => Ipv4Addr::LOCALHOST,
            [address] => address.parse().map_err(|_| invalid("not an IPv4 address"))?,
            _ => return Err(invalid("too many words")),
        };
        Ok(Self { address, port, inside, protocol })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_know_what_is_in_them() {
        let range: Cidr = "172.16.0.0/12".parse().unwrap();
        assert!(range.contains("172.31.255.255".parse().unwrap()));
        assert!(!range.contains("172.32.0.0".parse().unwrap()));
        assert!("0.0.0.0/0".parse::<Cidr>().unwrap().contains(Ipv4Addr::BROADCAST));
        for wrong in ["10.0.0.1/8", "10.0.0.0/33", "10.0.0", "::1", ""] {
            assert!(wrong.parse::<Cidr>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_allowed_is_read() {
        let one = |text: &str| Allow::read(text).unwrap().remove(0);
        let db = one("10.0.0.5:5432");
        assert_eq!((db.range.to_string().as_str(), db.ports.clone()), ("10.0.0.5/32", 5432..=5432));
        assert_eq!(db.protocol, PortProtocol::Tcp);
        let all = one("10.0.0.0/8:1-65535/udp");
        assert_eq!((all.range.bits, all.ports, all.protocol), (8, 1..=65535, PortProtocol::Udp));
        assert_eq!(one("localhost:1").range, Cidr::single(Ipv4Addr::LOCALHOST));
        for wrong in ["10.0.0.5", "10.0.0.5:0", "10.0.0.5:9-8", ":80", "no.such.name.invalid:1"] {
            assert!(Allow::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn published_ports_are_read_as_docker_reads_them() {
        let read = |text: &str| text.parse::<Publish>().unwrap();
        let to = |address: [u8; 4], port, inside, protocol| Publish {
            address: address.into(),
            port,
            inside,
            protocol,
        };
        assert_eq!(read("80"), to([127, 0, 0, 1], 80, 80, PortProtocol::Tcp));
        assert_eq!(read("8080:80"), to([127, 0, 0, 1], 8080, 80, PortProtocol::Tcp));
        assert_eq!(read("0.0.0.0:53:5353/udp"), to([0, 0, 0, 0], 53, 5353, PortProtocol::Udp));
        for wrong in ["", "0:80", "a:80", "1:2:3", "1.2.3.4:1:2:3", "70000"] {
            assert!(wrong.parse::<Publish>().is_err(), "{wrong}");
        }
    }
}
