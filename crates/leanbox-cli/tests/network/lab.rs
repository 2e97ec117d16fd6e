//! A host between the internet and a network of its owner's, each a network namespace of this
//! process, with servers in them that say who asks. All of it ends with the process.

use crate::common::{Done, Place, Running, place};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::time::Duration;

/// In the internet.
pub(crate) const PUBLIC: &str = "8.8.8.8";
/// The host, as the internet knows it.
pub(crate) const HOST: &str = "93.184.216.2";
/// The host, as its neighbours know it.
pub(crate) const HOST_INSIDE: &str = "10.1.0.1";
/// A neighbour of the host.
pub(crate) const NEIGHBOUR: &str = "10.1.0.5";
/// What tells a cloud's machines their secrets.
pub(crate) const METADATA: &str = "169.254.169.254";
const APPLETS: &str = "ip nc ping ifconfig sed";

pub(crate) struct Lab {
    pub(crate) host: Net,
    pub(crate) neighbours: Net,
    pub(crate) place: Place,
    _internet: Net,
}

/// A network namespace.
pub(crate) struct Net(File);

impl Lab {
    pub(crate) fn make(name: &str) -> Self {
        let [host, internet, neighbours] = [Net::new(), Net::new(), Net::new()];
        host.link("wan", &internet);
        host.link("lan", &neighbours);
        host.ip(&format!("addr add {HOST}/24 dev wan"));
        host.ip(&format!("addr add {HOST_INSIDE}/24 dev lan"));
        internet.ip("addr add 93.184.216.1/24 dev eth0");
        internet.ip(&format!("addr add {PUBLIC}/32 dev lo"));
        neighbours.ip(&format!("addr add {NEIGHBOUR}/24 dev eth0"));
        neighbours.ip(&format!("addr add {METADATA}/32 dev lo"));
        neighbours.ip(&format!("route add default via {HOST_INSIDE}"));
        host.ip("route add default via 93.184.216.1");
        host.ip(&format!("route add {METADATA} via {NEIGHBOUR}"));
        host.set("/proc/sys/net/ipv4/ip_forward", "1");
        internet.serve(PUBLIC, 80);
        for (address, port) in [(NEIGHBOUR, 80), (NEIGHBOUR, 5432), (METADATA, 80)] {
            neighbours.serve(address, port);
        }
        host.serve("0.0.0.0", 22);
        let place = place(name);
        add_applets(&place);
        Self { host, neighbours, place, _internet: internet }
    }

    /// `leanbox` on the host.
    pub(crate) fn leanbox(&self, words: &[&str]) -> Command {
        let mut command = self.host.enter(&self.place.leanbox(words));
        command.current_dir(&self.place.0).env("LEANBOX_STATE", self.place.0.join("state"));
        command
    }

    pub(crate) fn run(&self, options: &[&str], words: &[&str]) -> Done {
        let words = [&["run"], options, &["./root"], words].concat();
        Done::of(self.leanbox(&words).output().unwrap())
    }

    /// What a container gets to hear at an address and port.
    pub(crate) fn ask(&self, options: &[&str], address: &str, port: u16) -> String {
        let done = self.run(options, &["nc", "-w", "2", address, &port.to_string()]);
        done.out + &done.err
    }

    /// A container of a shell script that has said `ready`, and goes on.
    pub(crate) fn start(&self, options: &[&str], script: &str) -> Running {
        let script = format!("{script} echo ready; sleep 60");
        let words = [&["run"], options, &["./root", "sh", "-c", &script]].concat();
        let running = Running::start(&self.place, &mut self.leanbox(&words));
        running.await_text("ready");
        running
    }

    /// Rules, links and routes on the host that leanbox made.
    pub(crate) fn traces(&self) -> String {
        let [table, links, routes] = [
            &["nft", "list", "tables"][..],
            &["ip", "-o", "link"],
            &["ip", "route", "show", "root", "198.18.0.0/15"],
        ]
        .map(|words| self.host.says(words));
        let links: String = links.lines().filter(|line| line.contains("lbox")).collect();
        table + &links + &routes
    }
}

impl Net {
    fn new() -> Self {
        let (made, net) = std::sync::mpsc::channel();
        // Somebody is in it to the end: a namespace that nobody is in counts as gone.
        std::thread::spawn(move || {
            #[allow(unsafe_code, reason = "the descriptors stay shared")]
            // SAFETY: the thread's network only.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
            made.send(File::open("/proc/thread-self/ns/net").unwrap()).unwrap();
            loop {
                std::thread::park();
            }
        });
        let net = Self(net.recv().unwrap());
        net.ip("link set lo up");
        net
    }

    /// Where other processes find it.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    fn link(&self, name: &str, other: &Self) {
        self.ip(&format!("link add {name} type veth peer name eth0 netns {}", other.path()));
        self.ip(&format!("link set {name} up"));
        other.ip("link set eth0 up");
    }

    /// A command in it.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path())).arg("--").arg(program);
        command.stdin(std::process::Stdio::null());
        command
    }

    /// The same command in it.
    pub(crate) fn enter(&self, inner: &Command) -> Command {
        let mut command = self.command(inner.get_program().to_str().unwrap());
        command.args(inner.get_args());
        command.envs(inner.get_envs().filter_map(|(key, value)| Some((key, value?))));
        command
    }

    pub(crate) fn says(&self, words: &[&str]) -> String {
        let done = self.command(words[0]).args(&words[1..]).output().unwrap();
        assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    pub(crate) fn ip(&self, words: &str) {
        self.says(&[&["ip"], &words.split(' ').collect::<Vec<_>>()[..]].concat());
    }

    pub(crate) fn set(&self, path: &'static str, value: &'static str) {
        self.within(move || std::fs::write(path, value).unwrap());
    }

    /// Does something in a thread that is in it.
    pub(crate) fn within<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let net = self.0.try_clone().unwrap();
        let thread = std::thread::spawn(move || {
            move_into_link_name_space(net.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        });
        thread.join().unwrap()
    }

    /// Tells everybody who asks there, until the process ends.
    fn serve(&self, address: &str, port: u16) {
        let place: SocketAddr = format!("{address}:{port}").parse().unwrap();
        let listener = self.within(move || TcpListener::bind(place).unwrap());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                answer(client, place);
            }
        });
    }

    /// What is said at an address and port; else why nothing is.
    pub(crate) fn ask(&self, address: &str, port: u16) -> String {
        let place: SocketAddr = format!("{address}:{port}").parse().unwrap();
        self.within(move || {
            let timeout = Duration::from_secs(2);
            let mut said = String::new();
            match TcpStream::connect_timeout(&place, timeout) {
                Ok(mut stream) => {
                    stream.set_read_timeout(Some(timeout)).unwrap();
                    let _ = stream.read_to_string(&mut said);
                    said
                }
                Err(error) => error.to_string(),
            }
        })
    }
}

/// What the containers of these tests ask with.
pub(crate) fn add_applets(place: &Place) {
    for applet in APPLETS.split_whitespace() {
        std::os::unix::fs::symlink("busybox", place.0.join("root/bin").join(applet)).unwrap();
    }
}

/// Whether it can be said or not.
fn answer(mut client: TcpStream, place: SocketAddr) {
    if let Ok(peer) = client.peer_addr() {
        let _ = client.write_all(format!("{place} hears {}\n", peer.ip()).as_bytes());
    }
}
