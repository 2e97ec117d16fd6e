//! Who a slot asks for names: what its `/etc/resolv.conf` says (resolv.conf(5)).

use super::PortProtocol::{Tcp, Udp};
use super::{Allow, Cidr, Nat};
use std::net::Ipv4Addr;
use std::path::Path;

/// What programs of the host ask by; behind systemd-resolved, what that asks by (as Docker).
const FILES: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];
/// As many as the C library asks.
const SERVERS_MAX: usize = 3;

/// The servers, and the text that names them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Resolver {
    pub(super) servers: Vec<Ipv4Addr>,
    pub(super) text: String,
}

impl Resolver {
    /// Those that are asked for; else the host's, so far as they can be reached from elsewhere.
    pub(super) fn of(nat: &Nat) -> Self {
        if let Some(servers) = &nat.nameservers {
            return Self::new(servers.clone(), &[]);
        }
        let read = |path| std::fs::read_to_string(Path::new(path)).unwrap_or_default();
        FILES
            .into_iter()
            .map(|path| Self::of_text(&read(path)))
            .find(|resolver| !resolver.servers.is_empty())
            .unwrap_or_default()
    }

    /// What asking them takes (RFC 1035, 4.2).
    pub(super) fn allowed(&self) -> Vec<Allow> {
        let one = |server: &Ipv4Addr| {
            let range = Cidr::single(*server);
            [Udp, Tcp].map(|protocol| Allow { range, protocol, ports: 53..=53 })
        };
        self.servers.iter().flat_map(one).collect()
    }

    fn of_text(text: &str) -> Self {
        let key = |line: &str| line.split_whitespace().next().map(str::to_string);
        let server = |line: &str| line.split_whitespace().nth(1)?.parse::<Ipv4Addr>().ok();
        let servers = text
            .lines()
            .filter(|line| key(line).as_deref() == Some("nameserver"))
            .filter_map(server)
            .filter(|address| !address.is_loopback() && !address.is_unspecified());
        let is_kept = |line: &&str| {
            ["search", "domain", "options"].iter().any(|kept| key(line).as_deref() == Some(kept))
        };
        let kept: Vec<&str> = text.lines().filter(is_kept).collect();
        Self::new(servers.take(SERVERS_MAX).collect(), &kept)
    }

    fn new(servers: Vec<Ipv4Addr>, kept: &[&str]) -> Self {
        let lines = servers.iter().map(|server| format!("nameserver {server}\n"));
        let text = lines.chain(kept.iter().map(|line| format!("{line}\n"))).collect();
        Self { servers, text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_of_the_hosts_own_loopback_are_of_no_use_inside() {
        let text = "# made\nnameserver 127.0.0.53\nnameserver ::1\noptions edns0\nsearch a b\n";
        let none = Resolver::of_text(text);
        assert_eq!(none.servers, Vec::<Ipv4Addr>::new());
        let some = Resolver::of_text(&format!("{text}nameserver 10.0.0.2\n"));
        assert_eq!(some.servers, [Ipv4Addr::new(10, 0, 0, 2)]);
        assert_eq!(some.text, "nameserver 10.0.0.2\noptions edns0\nsearch a b\n");
    }

    #[test]
    fn servers_that_are_asked_for_are_all_there_is() {
        let nat = Nat { nameservers: Some(vec![Ipv4Addr::new(9, 9, 9, 9)]), ..Nat::default() };
        assert_eq!(Resolver::of(&nat).text, "nameserver 9.9.9.9\n");
    }
}
