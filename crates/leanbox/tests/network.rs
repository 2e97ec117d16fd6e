//! Networks of a pool's slots: made ahead, one for each, and gone with it. What they reach is
//! tested with the command.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/net.rs"]
mod net;

use common::{Folder, busybox, peaks_begin_anew, says};
use leanbox::{
    Command, ErrorKind, Nat, Network, Policy, Pool, PortProtocol, Publish, Rootfs, Template,
};
use net::{links, on_a_host, run};
use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

const OWN_ADDRESS: &str = "ip -o -4 addr show dev eth0 | sed 's/.*inet //; s/ .*//'";

fn template(root: &Folder, policy: Policy, nat: Nat) -> Template {
    let builder = Template::builder(Rootfs::open(&root.0).unwrap()).policy(policy);
    builder.network(Network::Nat(nat)).build().unwrap()
}

/// However slots end, the kernel takes its time.
fn await_links(count: usize) {
    let begin = Instant::now();
    while links().len() != count {
        assert!(begin.elapsed() < Duration::from_secs(20), "{:?}, not {count}", links());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn slots_in_reserve_have_their_networks_and_no_address_comes_again() {
    on_a_host();
    let root = busybox("net-reserve");
    let template = template(&root, Policy::Once, Nat::default());
    let pool = Pool::new(&template, 4).unwrap();
    drop(template);
    pool.settle().unwrap();
    await_links(4);
    let addresses: HashSet<String> = (0..20).map(|_| says(&pool, OWN_ADDRESS)).collect();
    assert_eq!(addresses.len(), 20, "{addresses:?}");
    let is_of_slots =
        |address: &String| address.starts_with("198.18.") || address.starts_with("198.19.");
    assert!(addresses.iter().all(is_of_slots), "{addresses:?}");
    pool.settle().unwrap();
    await_links(4);
    drop(pool);
    assert_eq!(run("nft list tables"), "");
    assert_eq!(links(), [""; 0]);
}

#[test]
fn a_slot_whose_network_was_used_does_not_serve_again() {
    on_a_host();
    let root = busybox("net-reuse");
    let template = template(&root, Policy::Reuse, Nat::default());
    let pool = Pool::builder(&template).max(1).build().unwrap();
    let first = says(&pool, OWN_ADDRESS);
    // Where a slot may serve again at all.
    assert_eq!(says(&pool, OWN_ADDRESS) == first, peaks_begin_anew());
    let first = says(&pool, OWN_ADDRESS);
    Command::new("nc").args(["-w", "1", "8.8.8.8", "80"]).output(&pool).unwrap();
    assert_ne!(says(&pool, OWN_ADDRESS), first);
}

#[test]
fn containers_that_share_their_namespaces_share_one_network() {
    on_a_host();
    let root = busybox("net-shared");
    let template = template(&root, Policy::Shared, Nat::default());
    let pool = Pool::new(&template, 2).unwrap();
    assert_eq!(says(&pool, OWN_ADDRESS), says(&pool, OWN_ADDRESS));
    await_links(1);
}

#[test]
fn with_published_ports_there_is_one_slot_at_a_time() {
    on_a_host();
    let root = busybox("net-published");
    let publish = Publish {
        address: Ipv4Addr::LOCALHOST,
        port: 8080,
        inside: 80,
        protocol: PortProtocol::Tcp,
    };
    let nat = Nat { publish: vec![publish], ..Nat::default() };
    let template = template(&root, Policy::Once, nat);
    let refused = Pool::new(&template, 2).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert!(refused.to_string().contains("published ports; it has one at a time"), "{refused}");
    let pool = Pool::new(&template, 1).unwrap();
    for _ in 0..3 {
        says(&pool, "true");
        await_links(1);
    }
}

#[test]
fn fork_mode_has_none_or_the_hosts() {
    on_a_host();
    let root = busybox("net-fork");
    let template = template(&root, Policy::Once, Nat::default());
    let refused = template.fork_noop().unwrap_err().to_string();
    assert_eq!(refused, "fork mode: network none or host, not join or nat");
}

/// Starts in turns, with a network of none, and out through the host; each on a slot that is made
/// for it, and on one in reserve. Its figures are shown by `--nocapture`, and judged by nobody;
/// for others than a look, `LEANBOX_NETWORK_TURNS=200` on an idle machine.
#[test]
#[allow(clippy::print_stdout, reason = "they are figures")]
fn starts_with_and_without_a_network_take_turns() {
    let turns = std::env::var("LEANBOX_NETWORK_TURNS").ok().and_then(|text| text.parse().ok());
    let turns: usize = turns.unwrap_or(10);
    on_a_host();
    let root = busybox("net-costs");
    let none = Template::builder(Rootfs::open(&root.0).unwrap()).build().unwrap();
    let nat = template(&root, Policy::Once, Nat::default());
    for ready in [0, 4] {
        let pools = [&none, &nat].map(|template| Pool::new(template, ready).unwrap());
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..turns {
            for (pool, times) in pools.iter().zip(&mut times) {
                pool.settle().unwrap();
                let begin = Instant::now();
                assert!(Command::new("true").status(pool).unwrap().success());
                times.push(begin.elapsed().as_micros());
            }
        }
        for (times, name) in times.iter_mut().zip(["none", "nat"]) {
            times.sort_unstable();
            println!(
                "{ready} ready, {name}: p50 {} us, p99 {} us",
                times[turns / 2],
                times[turns * 99 / 100]
            );
        }
    }
}
