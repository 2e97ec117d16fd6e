//! What of the network there is inside.

use super::common::{attack, busybox, hostile, run, says};
use super::{as_user, once};
use leanbox::{Command, Network, Pool, Rootfs, Stdio, Template, probe};
use std::fs;
use std::io::Read;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

#[test]
fn only_loopback_is_there_and_up() {
    let root = busybox("network");
    let links = says(&once(&root), "ip -o link");
    assert_eq!(links.lines().count(), 1, "{links}");
    assert!(links.contains("lo: <LOOPBACK,UP,LOWER_UP>"), "{links}");
    assert_eq!(says(&once(&root), "ip route; cat /proc/net/unix | wc -l"), "1");
}

#[test]
fn the_hosts_network_is_only_there_when_asked_for() {
    let root = busybox("host-network");
    let builder = Template::builder(Rootfs::open(&root.0).unwrap());
    let pool = Pool::new(&builder.network(Network::Host).build().unwrap(), 0).unwrap();
    let inside = run(&pool, "cat", &["/proc/net/dev"]);
    let names = |text: &str| -> Vec<String> {
        text.lines().skip(2).filter_map(|l| Some(l.split_once(':')?.0.trim().into())).collect()
    };
    assert_eq!(names(&inside), names(&fs::read_to_string("/proc/self/net/dev").unwrap()));
}

#[test]
fn anybody_may_listen_on_any_port_of_an_own_network() {
    let root = busybox("ports");
    for pool in [once(&root), as_user(&root, "app")] {
        let script = "nc -l -p 80 & sleep 0.2; kill $! && echo listened";
        assert_eq!(says(&pool, script), "listened");
    }
}

#[test]
fn in_the_hosts_network_its_abstract_sockets_are_out_of_reach_and_own_ones_are_not() {
    let root = hostile("abstract");
    let builder = Template::builder(Rootfs::open(&root.0).unwrap());
    let pool = Pool::new(&builder.network(Network::Host).build().unwrap(), 0).unwrap();
    let name = format!("leanbox-abstract-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let wanted = if probe::scopes_sockets() { "abstract 1" } else { "abstract 0" };
    assert_eq!(attack(&pool, &["abstract", &name]), wanted);
    assert_eq!(attack(&pool, &["abstract-own", &format!("{name}-own")]), "abstract 0");
    // A second program is no nearer.
    let container = Command::new("sleep").arg("60").spawn(&pool).unwrap();
    let mut second = Command::new("attack");
    second.args(["abstract", &name]).stdout(Stdio::Piped);
    let mut second = container.exec(&mut second).unwrap();
    let mut said = String::new();
    second.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said.trim_end(), wanted);
}
