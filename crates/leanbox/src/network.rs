//! What network a container sees, and how it comes by it.
//!
//! In: what a template is asked for. Out: for each slot a network namespace, or none where the
//! keeper makes it or it is the host's. A namespace that reaches further than itself is made here,
//! in the host's process, belongs to the host's user namespace, and is handed to the keeper with the
//! request for its slot: nothing in a slot has a capability over it, so its addresses, routes and
//! rules are what was made of it here.

mod address;
mod attachment;
mod firewall;
mod forwarding;
mod link;
mod namespace;
mod netlink;
mod pasta;
mod resolver;

pub use address::{Allow, Cidr, PortProtocol, Publish};
pub(crate) use attachment::{Attachment, Attachments};
pub(crate) use forwarding::take_down;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// What network a container sees.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Network {
    /// Its own, with a loopback device only. The default.
    #[default]
    None,
    /// The host's, with its loopback services. Abstract sockets (unix(7)) of others are out of
    /// reach from Linux 6.12 on ([`probe::scopes_sockets`](crate::probe::scopes_sockets)).
    Host,
    /// The network namespace that this file is (`/run/netns/NAME`, `/proc/PID/ns/net`;
    /// namespaces(7)): with whoever else is in it, and what they listen on. Abstract sockets as
    /// with `Host`.
    Join(PathBuf),
    /// Its own, which goes out through the host.
    Nat(Nat),
}

/// A network of a slot's own that reaches others through the host, whose address it appears
/// with: IPv4 alone. Addresses that are nobody's in the internet (private, shared, link-local with
/// the metadata services of clouds, loopback, test, multicast and reserved ones; IANA's
/// special-purpose registry, RFC 6890), the host's own and those of other slots are refused.
///
/// It needs nft(8), and a host that forwards (`net.ipv4.ip_forward`), which is never changed here;
/// without root pasta(1), and `/dev/net/tun` for everybody.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Nat {
    /// What is in reach although it would be refused.
    pub allow: Vec<Allow>,
    /// Ports of the host that lead inside. A template with any has one slot at a time.
    pub publish: Vec<Publish>,
    /// Who is asked for names, in the place of those that the host asks; they are in reach. They
    /// stand in `/etc/resolv.conf` inside, unless a bind of the template is there.
    pub nameservers: Option<Vec<Ipv4Addr>>,
}

impl Network {
    /// Whether the keeper makes it, for each slot its own.
    pub(crate) fn is_made_inside(&self) -> bool {
        *self == Self::None
    }

    /// Whether its namespace comes with the request for a slot.
    pub(crate) fn is_given(&self) -> bool {
        matches!(self, Self::Join(_) | Self::Nat(_))
    }

    /// Whether others than the slot are in it.
    pub(crate) fn is_of_others(&self) -> bool {
        matches!(self, Self::Host | Self::Join(_))
    }

    /// Whether there can be one slot at a time.
    pub(crate) fn publishes(&self) -> bool {
        matches!(self, Self::Nat(nat) if !nat.publish.is_empty())
    }
}
