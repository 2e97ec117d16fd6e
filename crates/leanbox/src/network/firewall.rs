//! The table of packet filter rules that a template's slots go out by, carried out by nft(8).
//!
//! Rules go by the group of the links, which all slots of a template share and nobody else: so no
//! slot changes them, but for published ports. In: values. Out: text for nft. What runs it is at
//! the end.

use super::address::{Allow, Cidr, Publish, REFUSED, SLOTS};
use super::link::GATEWAY;
use super::resolver::Resolver;
use crate::network::Nat;
use crate::{Error, ErrorKind, Result, tool};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

/// What every link of ours begins with: for rules of others.
pub(super) const LINKS: &str = "lbox";

/// The text that makes the whole table.
pub(super) fn table(name: &str, group: u32, nat: &Nat, resolver: &Resolver) -> String {
    let refused = list(REFUSED.iter().map(Cidr::to_string));
    let allowed: String = nat
        .allow
        .iter()
        .cloned()
        .chain(resolver.allowed())
        .map(|allow| format!("    {} accept\n", matching(&allow)))
        .collect();
    format!(
        "table ip {name} {{
  set refused {{ type ipv4_addr; flags interval; elements = {{ {refused} }}; }}
  chain outbound {{
    fib saddr . iif oif missing drop
    ct state invalid drop
    ct direction reply ct state established,related accept
{allowed}    ip daddr @refused reject with icmp admin-prohibited
    fib daddr type != unicast reject with icmp admin-prohibited
  }}
  chain prerouting {{
    type filter hook prerouting priority mangle; policy accept;
    iifgroup {group} jump outbound
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    oifgroup {group} ct state established,related accept
    oifgroup {group} ct status dnat accept
    oifgroup {group} drop
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    iifgroup {group} masquerade
    ip saddr 127.0.0.0/8 oifgroup {group} snat to {GATEWAY}
  }}
  chain lost {{
    type filter hook postrouting priority filter; policy accept;
    ct status dnat ip daddr {SLOTS} oifgroup 0 drop
  }}
  chain publish {{
  }}
  chain publish_to_others {{
    type nat hook prerouting priority dstnat; policy accept;
    iifgroup != {group} jump publish
  }}
  chain publish_to_host {{
    type nat hook output priority -100; policy accept;
    jump publish
  }}
}}
"
    )
}

/// The text that has published ports lead to a slot.
pub(super) fn published(name: &str, ports: &[Publish], slot: Ipv4Addr) -> String {
    let rule = |publish: &Publish| {
        let Publish { address, port, inside, protocol } = publish;
        let place = match address.is_unspecified() {
            true => "fib daddr type local".to_string(),
            false => format!("ip daddr {address}"),
        };
        format!(
            "add rule ip {name} publish {place} {protocol} dport {port} dnat to {slot}:{inside}\n"
        )
    };
    format!("flush chain ip {name} publish\n{}", ports.iter().map(rule).collect::<String>())
}

/// The text that leaves nothing of a table, whether it is there or not.
fn gone(name: &str) -> String {
    format!("table ip {name}\ndelete table ip {name}\n")
}

fn matching(allow: &Allow) -> String {
    let Allow { range, protocol, ports } = allow;
    let ports = match ports.start() == ports.end() {
        true => ports.start().to_string(),
        false => format!("{}-{}", ports.start(), ports.end()),
    };
    format!("ip daddr {range} {protocol} dport {ports}")
}

fn list(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

/// Where distributions have nft(8). Not along PATH: what that names first is not for root to run.
const NFT: [&str; 3] = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"];

/// Has nft carry that out, all of it or nothing.
pub(super) fn carry_out(text: &str) -> Result<()> {
    nft(&["-f", "-"], text).map(drop)
}

/// Removes a table.
pub(super) fn remove(name: &str) -> Result<()> {
    carry_out(&gone(name))
}

/// Of other tables, the chain that drops what nobody accepts there, ours too, and has no rule about
/// our links: an accept of one table is none of another (nft(8)).
///
/// # Errors
/// It is named, with the rule that it lacks.
pub(super) fn check_others() -> Result<()> {
    let listed =
        nft(&["-j", "list", "chains", "ip"], "")? + &nft(&["-j", "list", "chains", "inet"], "")?;
    for (family, table, chain) in dropping(&listed) {
        let rules = nft(&["list", "table", &family, &table], "").unwrap_or_default();
        if rules.contains(&format!("\"{LINKS}*\"")) {
            continue;
        }
        let text =
            format!("network nat: chain {chain} of table {family} {table} drops what is forwarded");
        let rule = |direction: &str| {
            format!(
                "nft insert rule {family} {table} {chain} {direction}ifname '\"{LINKS}*\"' accept"
            )
        };
        let remedy = format!("let it pass: {}; {}", rule("i"), rule("o"));
        return Err(Error::new(ErrorKind::Unsupported, text).remedy(remedy));
    }
    Ok(())
}

/// Family, table and name of chains that forward with policy drop, out of nft's JSON (one object
/// after the other; libnftables-json(5)).
fn dropping(listed: &str) -> Vec<(String, String, String)> {
    let objects = serde_json::Deserializer::from_str(listed).into_iter::<serde_json::Value>();
    let mut found = Vec::new();
    for object in objects.flatten() {
        let entries = object["nftables"].as_array().cloned().unwrap_or_default();
        found.extend(entries.iter().map(|entry| &entry["chain"]).filter_map(|chain| {
            let text = |key: &str| chain[key].as_str().map(str::to_string);
            let drops = text("hook")? == "forward" && text("policy")? == "drop";
            drops.then_some((text("family")?, text("table")?, text("name")?))
        }));
    }
    found
}

fn nft(words: &[&str], input: &str) -> Result<String> {
    let program = NFT.into_iter().map(Path::new).find(|path| path.is_file()).ok_or_else(|| {
        let text =
            format!("network nat: nft(8) is not in {}", list(NFT.iter().map(ToString::to_string)));
        Error::new(ErrorKind::NotFound, text).remedy("apt-get install nftables")
    })?;
    let said = tool::ask(Command::new(program).args(words).env_clear(), input)?;
    if said.status.success() {
        return Ok(said.out);
    }
    let why = said.why();
    let kind = match why.contains("Operation not permitted") {
        true => ErrorKind::PermissionDenied,
        false => ErrorKind::System,
    };
    Err(Error::new(kind, format!("nft: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_comes_before_what_is_refused() {
        let allow = Allow::read("10.0.0.0/8:1-9/udp").unwrap();
        let nat = Nat { allow, ..Nat::default() };
        let resolver = Resolver { servers: vec![[10, 9, 9, 9].into()], ..Resolver::default() };
        let text = table("t", 7, &nat, &resolver);
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("no {part} in {text}"));
        let refused = at("@refused reject");
        assert!(at("ip daddr 10.0.0.0/8 udp dport 1-9 accept") < refused);
        assert!(at("ip daddr 10.9.9.9/32 tcp dport 53 accept") < refused);
    }

    #[test]
    fn chains_that_drop_what_is_forwarded_are_found_in_what_nft_says() {
        let chain = |hook: &str, policy: &str| {
            format!(
                r#"{{"nftables":[{{"metainfo":{{}}}},{{"chain":{{"family":"ip","table":"filter",
                "name":"FORWARD","hook":"{hook}","policy":"{policy}"}}}},{{"chain":{{"name":"x"}}}}]}}"#
            )
        };
        let found = dropping(&(chain("forward", "drop") + "\n" + &chain("input", "drop")));
        assert_eq!(found, [("ip".into(), "filter".into(), "FORWARD".into())]);
        assert!(dropping(&chain("forward", "accept")).is_empty());
    }
}
