//! `--network nat` and `join`: what they reach, and that they reach nothing else.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;
mod lab;
mod rootless;
#[path = "../rootless/user.rs"]
#[allow(dead_code, reason = "these users have no groups")]
mod user;

use common::{Done, Running};
use lab::{HOST, HOST_INSIDE, Lab, METADATA, NEIGHBOUR, PUBLIC};

const NAT: [&str; 2] = ["--network", "nat"];
/// All that is private, or the host's.
const PRIVATE: [(&str, u16); 6] = [
    (NEIGHBOUR, 80),
    (NEIGHBOUR, 5432),
    (METADATA, 80),
    (HOST, 22),
    (HOST_INSIDE, 22),
    ("169.254.1.1", 22),
];

fn refused(text: &str) -> bool {
    ["Permission denied", "No route to host", "unreachable"].iter().any(|why| text.contains(why))
}

#[test]
fn nat_reaches_the_internet_with_the_hosts_address_and_nothing_private() {
    let lab = Lab::make("reach");
    assert_eq!(lab.ask(&NAT, PUBLIC, 80), format!("{PUBLIC}:80 hears {HOST}"));
    for (address, port) in PRIVATE {
        let answer = lab.ask(&NAT, address, port);
        assert!(refused(&answer), "{address}:{port}: {answer}");
    }
    assert_eq!(lab.traces(), "");
}

#[test]
fn what_is_allowed_is_in_reach_at_its_ports_alone() {
    let lab = Lab::make("allow");
    let options = [&NAT[..], &["--allow", "10.1.0.5:5000-6000"]].concat();
    assert!(lab.ask(&options, NEIGHBOUR, 5432).starts_with(&format!("{NEIGHBOUR}:5432 hears")));
    for (address, port) in PRIVATE.iter().filter(|(_, port)| *port != 5432) {
        let answer = lab.ask(&options, address, *port);
        assert!(refused(&answer), "{address}:{port}: {answer}");
    }
    let options = [&NAT[..], &["--allow", "10.0.0.0/8:80/udp"]].concat();
    assert!(refused(&lab.ask(&options, NEIGHBOUR, 80)));
}

/// The network namespace of a container, as a file.
fn inside(running: &Running) -> String {
    let name = std::fs::read_to_string(&running.out).unwrap();
    let pids = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let own = name.lines().next().unwrap();
    let is_it = |path: &std::path::PathBuf| {
        std::fs::read_link(path.join("ns/net")).is_ok_and(|link| link.to_string_lossy() == own)
    };
    pids.map(|path| path.join("")).find(is_it).unwrap().join("ns/net").display().to_string()
}

const SAYS_ITS_NETWORK: &str = "ls -l /proc/self/ns/net | sed 's/.*> //';";

/// A container that asks, each time a file appears, at these places.
fn asks(lab: &Lab, places: &[(&str, u16)]) -> Running {
    let asks: String = places
        .iter()
        .map(|(at, port)| format!("echo {at}:{port} $(nc -w 2 {at} {port} 2>&1);"))
        .collect();
    let script = format!("{SAYS_ITS_NETWORK} echo ready; read go; {asks} echo done;");
    let words = ["run", "--network", "nat", "./root", "sh", "-c", &script];
    let mut command = lab.leanbox(&words);
    let running = Running::start(&lab.place, command.stdin(std::process::Stdio::piped()));
    running.await_text("ready");
    running
}

fn go_on(mut running: Running) -> String {
    use std::io::Write;
    running.child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    running.end().1
}

#[test]
fn each_of_the_two_layers_refuses_without_the_other() {
    let lab = Lab::make("layers");
    // The host's firewall is loaded anew.
    let flushed = asks(&lab, &PRIVATE[..3]);
    lab.host.says(&["nft", "flush", "ruleset"]);
    let said = go_on(flushed);
    assert_eq!(said.matches("Permission denied").count(), 3, "{said}");
    // Somebody on the host takes the namespace's own rules away.
    let open = asks(&lab, &PRIVATE);
    let net = format!("--net={}", inside(&open));
    let flush = "ip rule flush; ip rule add lookup main; ip rule";
    let done =
        std::process::Command::new("nsenter").args([&net, "sh", "-c", flush]).output().unwrap();
    assert!(!String::from_utf8_lossy(&done.stdout).contains("prohibit"), "{done:?}");
    let said = go_on(open);
    assert_eq!(said.matches("No route to host").count(), PRIVATE.len(), "{said}");
}

#[test]
fn nobody_inside_can_change_the_network_whatever_capabilities_there_are() {
    let lab = Lab::make("change");
    let options = [&NAT[..], &["--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW"]].concat();
    for words in [
        "ip rule del to 10.0.0.0/8",
        "ip route add 10.1.0.5 via 169.254.1.1",
        "ip addr add 10.9.9.9/32 dev eth0",
        "ip rule add lookup 100",
        "ip link set eth0 down",
        "ifconfig eth0 hw ether 02:00:00:00:00:09",
        "ping -c 1 -w 1 8.8.8.8 -I lo",
    ] {
        let done = lab.run(&options, &words.split(' ').collect::<Vec<_>>());
        assert_ne!(done.code, 0, "{words}: {done:?}");
        let why = done.err.to_lowercase();
        assert!(why.contains("not permitted") || why.contains("denied"), "{words}: {done:?}");
    }
}

#[test]
fn there_is_no_ipv6_but_on_loopback() {
    let lab = Lab::make("ipv6");
    let done = lab.run(&NAT, &["sh", "-c", "ip -6 addr show dev eth0; ip -6 route show dev eth0"]);
    assert_eq!((done.code, done.out.as_str()), (0, ""), "{done:?}");
}

#[test]
fn names_are_asked_of_whom_the_option_says() {
    let lab = Lab::make("names");
    let options = [&NAT[..], &["--dns", "10.1.0.5", "--dns", "9.9.9.9"]].concat();
    lab.run(&options, &["cat", "/etc/resolv.conf"]).said("nameserver 10.1.0.5\nnameserver 9.9.9.9");
    assert!(refused(&lab.ask(&options, NEIGHBOUR, 80)));
    assert!(!refused(&lab.ask(&options, NEIGHBOUR, 53)), "nobody listens, but it is in reach");
}

#[test]
fn a_published_port_leads_inside_and_no_other_does() {
    let lab = Lab::make("publish");
    let options = [&NAT[..], &["-p", "8080:80", "--publish", "0.0.0.0:9090:90"]].concat();
    let serve = "nc -ll -p 80 -e echo eighty & nc -ll -p 90 -e echo ninety & \
        nc -ll -p 91 -e echo secret & sleep 0.3; ip -o -4 addr show dev eth0;";
    let running = lab.start(&options, serve);
    assert_eq!(lab.host.ask("127.0.0.1", 8080), "eighty\n");
    assert_eq!(lab.host.ask(HOST, 9090), "ninety\n");
    assert_eq!(lab.neighbours.ask(HOST_INSIDE, 9090), "ninety\n");
    assert!(lab.neighbours.ask(HOST_INSIDE, 8080).contains("refused"));
    let text = std::fs::read_to_string(&running.out).unwrap();
    let address = text.split_whitespace().find(|word| word.ends_with("/32")).unwrap();
    let address = address.trim_end_matches("/32");
    // Nobody gets there by its own address, though its neighbours' gateway is the host.
    for port in [80, 91] {
        let answer = lab.neighbours.ask(address, port);
        assert!(answer.contains("timed out"), "{port}: {answer}");
    }
    let again = lab.run(&options, &["true"]);
    again.failed(
        125,
        "published port 127.0.0.1:8080/tcp is in use; choose another, or end who has it",
    );
}

#[test]
fn containers_do_not_reach_each_other_even_where_their_range_is_allowed() {
    let lab = Lab::make("each-other");
    let serve = "nc -ll -p 80 -e echo hello & sleep 0.3; ip -o -4 addr show dev eth0;";
    let running = lab.start(&NAT, serve);
    let text = std::fs::read_to_string(&running.out).unwrap();
    let address = text.split_whitespace().find(|word| word.ends_with("/32")).unwrap();
    let address = address.trim_end_matches("/32");
    assert!(refused(&lab.ask(&NAT, address, 80)));
    let options = [&NAT[..], &["--allow", "198.18.0.0/15:80"]].concat();
    let answer = lab.ask(&options, address, 80);
    assert!(answer.contains("timed out"), "{answer}");
}

#[test]
fn a_killed_host_leaves_rules_that_gc_names_and_removes() {
    let lab = Lab::make("killed");
    let mut running = lab.start(&NAT, "");
    assert!(lab.traces().contains("table ip leanbox-"), "{}", lab.traces());
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    let gc = |words: &[&str]| {
        // From another network than that of the dead.
        let mut command = lab.place.leanbox(&[&["gc"], words].concat());
        Done::of(command.env("LEANBOX_STATE", lab.place.0.join("state")).output().unwrap())
    };
    let told = gc(&["--dry-run"]);
    assert!(told.out.contains("1 network"), "{told:?}");
    assert!(lab.traces().contains("table ip leanbox-"));
    assert_eq!(gc(&[]).code, 0);
    assert_eq!(lab.traces(), "");
}

#[test]
fn a_host_that_is_killed_at_any_moment_leaves_nothing_that_the_next_does_not_remove() {
    let lab = Lab::make("killed-anywhere");
    for moment in 0..30 {
        let words = ["run", "--network", "nat", "-p", "8080:80", "./root", "sleep", "60"];
        let mut child = lab.leanbox(&words).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(moment * 2));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    // nsenter becomes the command, so what was killed is the host.
    assert_eq!(Done::of(lab.leanbox(&["gc"]).output().unwrap()).code, 0);
    assert_eq!(lab.traces(), "");
    let state = lab.place.0.join("state");
    assert_eq!(std::fs::read_dir(state).unwrap().count(), 0);
}

#[test]
fn a_second_program_is_in_the_same_network() {
    let lab = Lab::make("second");
    let run = ["run", "-d", "--name", "net-second", "--network", "nat", "./root", "sleep", "60"];
    assert_eq!(Done::of(lab.leanbox(&run).output().unwrap()).code, 0);
    let words = ["exec", "net-second", "nc", "-w", "2", PUBLIC, "80"];
    let done = Done::of(lab.leanbox(&words).output().unwrap());
    let removed = Done::of(lab.leanbox(&["rm", "--force", "net-second"]).output().unwrap());
    assert_eq!(done.out, format!("{PUBLIC}:80 hears {HOST}"), "{done:?}");
    assert_eq!(removed.code, 0, "{removed:?}");
    // Its host tells the end, and then takes everything down.
    let begin = std::time::Instant::now();
    while !lab.traces().is_empty() {
        assert!(begin.elapsed().as_secs() < 10, "{}", lab.traces());
    }
}

#[test]
fn join_is_in_the_namespace_that_is_named_without_rights_over_it() {
    let lab = Lab::make("join");
    let join = format!("join:{}", lab.neighbours.path());
    let options = ["--network", &join, "--cap-add", "NET_ADMIN"];
    assert_eq!(lab.ask(&options, METADATA, 80), format!("{METADATA}:80 hears {METADATA}"));
    let done = lab.run(&options, &["ip", "addr", "add", "10.9.9.9/32", "dev", "eth0"]);
    assert!(done.err.contains("not permitted"), "{done:?}");
    assert!(lab.neighbours.says(&["ip", "addr"]).contains(NEIGHBOUR));
}

#[test]
fn what_cannot_be_is_refused_in_one_line() {
    let lab = Lab::make("refused");
    let refused = |options: &[&str], words: &str| lab.run(options, &["true"]).failed(125, words);
    refused(&["-p", "80"], "--publish is about --network nat; leave --publish out, or add");
    refused(&["--allow", "10.0.0.1:1"], "--allow is about --network nat");
    refused(
        &["--network", "join:/dev/null"],
        "/dev/null: not a network namespace; name /run/netns",
    );
    refused(&["--network", "join:/run/netns/none-such"], "none-such): ENOENT");
    lab.host.set("/proc/sys/net/ipv4/ip_forward", "0");
    refused(&NAT, "forwards nothing (net.ipv4.ip_forward is 0); sysctl -w net.ipv4.ip_forward=1");
    lab.host.set("/proc/sys/net/ipv4/ip_forward", "1");
    let docker = "add table ip filter; add chain ip filter FORWARD \
        { type filter hook forward priority filter; policy drop; }";
    lab.host.says(&["nft", docker]);
    let words = "chain FORWARD of table ip filter drops what is forwarded; let it pass: nft insert";
    refused(&NAT, words);
    for direction in ["iifname", "oifname"] {
        let rule = format!("insert rule ip filter FORWARD {direction} \"lbox*\" accept");
        lab.host.says(&["nft", &rule]);
    }
    assert_eq!(lab.ask(&NAT, PUBLIC, 80), format!("{PUBLIC}:80 hears {HOST}"));
}
