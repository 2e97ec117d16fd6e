//! The way out without root: pasta(1), an ordinary program that carries what a slot sends and
//! receives over sockets of its own, one process for each slot.
//!
//! It ends with the slot, with this process (`PR_SET_PDEATHSIG`, prctl(2)), or when it is killed;
//! a slot without it reaches nobody. What is refused, the namespace's own rules refuse.

use super::address::{Cidr, PortProtocol};
use super::link::{self, INNER};
use super::namespace::{self, Fresh};
use super::resolver::Resolver;
use super::{Nat, Publish};
use crate::{Error, ErrorKind, Result, thread};
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Where distributions have them.
const PASTA: [&str; 2] = ["/usr/bin/pasta", "/usr/local/bin/pasta"];
const SETPRIV: [&str; 2] = ["/usr/bin/setpriv", "/bin/setpriv"];
const STACK_BYTES: usize = 128 << 10;
/// What it may log.
const LOG_BYTES: &str = "65536";
/// How long it may take until the namespace has its link, and how often that is looked at.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(2);

/// What a template's slots go out by.
#[derive(Debug)]
pub(crate) struct Pastas {
    nat: Nat,
    resolver: Resolver,
    /// The host's own addresses, which are refused.
    own: Vec<Cidr>,
    folder: PathBuf,
    count: AtomicU32,
}

/// The process of one slot, and the file by which it found the slot's namespace.
#[derive(Debug)]
pub(crate) struct Pasta {
    process: OwnedFd,
    waits: Option<JoinHandle<Result<ExitStatus>>>,
    place: PathBuf,
}

impl Pastas {
    /// In a folder of the owner's.
    pub(super) fn begin(nat: &Nat, folder: PathBuf) -> Result<Self> {
        program(&PASTA, "passt")?;
        program(&SETPRIV, "util-linux")?;
        let (resolver, own) = (Resolver::of(nat), own_addresses());
        Ok(Self { nat: nat.clone(), resolver, own, folder, count: AtomicU32::new(0) })
    }

    pub(super) fn resolv_conf(&self) -> &str {
        &self.resolver.text
    }

    /// A namespace with its process.
    pub(super) fn namespace(&self) -> Result<(OwnedFd, Pasta)> {
        let Fresh { namespace, inside } = namespace::fresh()?;
        let place = self.folder.join(self.count.fetch_add(1, Ordering::Relaxed).to_string());
        let wrap = |error| Error::io(place.display(), &error);
        fs::File::create(&place).map_err(wrap)?;
        let source = format!("/proc/self/fd/{}", namespace.as_raw_fd());
        mount_bind(source, &place)
            .map_err(|errno| Error::syscall(format!("mount({})", place.display()), errno))
            .inspect_err(|_| drop(fs::remove_file(&place)))?;
        let pasta = Pasta::begin(self.command(&place)?, place)?;
        let gateway = pasta.await_gateway(&namespace)?;
        inside.carry_out([link::route_of_allowed(inside.index(INNER)?, gateway)])?;
        inside.carry_out(link::rules(&self.nat, &self.resolver, &self.own))?;
        Ok((namespace, pasta))
    }

    fn command(&self, place: &Path) -> Result<Command> {
        let mut command = Command::new(program(&SETPRIV, "util-linux")?);
        command.args(["--pdeathsig", "KILL", "--"]).arg(program(&PASTA, "passt")?);
        command.args(["--config-net", "--quiet", "--foreground", "--ipv4-only", "--no-map-gw"]);
        command.args(["--ns-ifname", INNER, "--tcp-ns", "none", "--udp-ns", "none"]);
        command.args(self.port_options("--tcp-ports", PortProtocol::Tcp));
        command.args(self.port_options("--udp-ports", PortProtocol::Udp));
        command.arg("--log-file").arg(log_of(place)).args(["--log-size", LOG_BYTES]);
        command.arg("--netns").arg(place);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(command)
    }

    /// Without any, pasta would take all that are in use inside.
    fn port_options(&self, option: &str, protocol: PortProtocol) -> Vec<String> {
        let ports = self.nat.publish.iter().filter(|one| one.protocol == protocol);
        let mut ports: Vec<String> = ports.map(port_words).collect();
        if ports.is_empty() {
            ports.push("none".into());
        }
        ports.into_iter().flat_map(|port| [option.to_string(), port]).collect()
    }
}

/// As pasta reads it.
fn port_words(publish: &Publish) -> String {
    let Publish { address, port, inside, .. } = publish;
    match address.is_unspecified() {
        true => format!("{port}:{inside}"),
        false => format!("{address}/{port}:{inside}"),
    }
}

fn log_of(place: &Path) -> PathBuf {
    place.with_extension("log")
}

impl Pasta {
    /// The signal at the death of a parent comes at that of its thread: so one thread begins it and
    /// waits for it.
    fn begin(mut command: Command, place: PathBuf) -> Result<Self> {
        let (tell, told) = mpsc::channel();
        let waits = thread::begin("leanbox-pasta", STACK_BYTES, move || {
            let begun = command.spawn().map_err(|error| Error::io("pasta", &error));
            let mut child = begun.inspect_err(|error| drop(tell.send(Err(error.clone()))))?;
            let _ = tell.send(pidfd_of(&child));
            child.wait().map_err(|error| Error::io("wait(pasta)", &error))
        });
        let took =
            waits.map_err(|error| Error::io("a thread for pasta", &error)).and_then(|waits| {
                let process =
                    told.recv().unwrap_or_else(|_| Err(Error::invalid("pasta's thread died")))?;
                Ok((process, waits))
            });
        match took {
            Ok((process, waits)) => Ok(Self { process, waits: Some(waits), place }),
            Err(error) => {
                let_go(&place);
                Err(error)
            }
        }
    }

    /// Waits until it has set the namespace up: where its default route leads.
    fn await_gateway(&self, namespace: &OwnedFd) -> Result<Ipv4Addr> {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            let again = namespace.try_clone();
            let again = again.map_err(|error| Error::io("fcntl(F_DUPFD_CLOEXEC)", &error))?;
            let gateway = namespace::within(again, || {
                let routes = fs::read_to_string("/proc/thread-self/net/route");
                routes
                    .map(|text| default_gateway(&text))
                    .map_err(|error| Error::io("routes", &error))
            })?;
            if let Some(gateway) = gateway {
                return Ok(gateway);
            }
            if crate::keeper::has_ended(&self.process, 0) {
                return Err(Error::new(ErrorKind::System, format!("pasta: {}", self.last_words())));
            }
            crate::thread::pause(LOOK);
        }
        let text = format!("pasta made no network in {PATIENCE:?}");
        Err(Error::new(ErrorKind::Gone, text))
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(log_of(&self.place)).unwrap_or_default();
        let words =
            log.lines().last().map(|line| line.rsplit("ERROR:").next().unwrap_or(line).trim());
        match words {
            Some(words) if words.contains("tun") => {
                format!("{words}; users need /dev/net/tun (modprobe tun; chmod 666 /dev/net/tun)")
            }
            Some(words) => words.to_string(),
            None => "it ended and said nothing".into(),
        }
    }
}

impl Drop for Pasta {
    fn drop(&mut self) {
        let _ = pidfd_send_signal(&self.process, Signal::KILL);
        let _ = self.waits.take().map(JoinHandle::join);
        let_go(&self.place);
    }
}

fn let_go(place: &Path) {
    let _ = unmount(place, UnmountFlags::DETACH);
    let _ = fs::remove_file(place);
    let _ = fs::remove_file(log_of(place));
}

fn pidfd_of(child: &Child) -> Result<OwnedFd> {
    let wrap = |errno| Error::syscall("pidfd_open(pasta)", errno);
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| wrap(rustix::io::Errno::SRCH))?;
    pidfd_open(pid, PidfdFlags::empty()).map_err(wrap)
}

/// Not along PATH: what that names first is not for a host to run.
fn program(places: &[&'static str], package: &str) -> Result<&'static str> {
    places.iter().copied().find(|place| Path::new(place).is_file()).ok_or_else(|| {
        let text = format!("network nat without root: {} is not there", places[0]);
        Error::new(ErrorKind::NotFound, text).remedy(format!("apt-get install {package}"))
    })
}

/// Out of `/proc/net/route` (proc_pid_net(5)): numbers as the machine has them in memory.
fn default_gateway(routes: &str) -> Option<Ipv4Addr> {
    let fields = routes.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let default = fields.into_iter().find(|fields| fields.get(1) == Some(&"00000000"))?;
    u32::from_str_radix(default.get(2)?, 16).ok().map(|number| number.to_ne_bytes().into())
}

/// Out of `/proc/net/fib_trie`: each address, and on the line after it what it is.
fn own_addresses() -> Vec<Cidr> {
    let text = fs::read_to_string("/proc/thread-self/net/fib_trie").unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut found: Vec<Ipv4Addr> = lines
        .windows(2)
        .filter(|pair| pair[1] == "/32 host LOCAL")
        .filter_map(|pair| pair[0].strip_prefix("|-- ")?.parse().ok())
        .collect();
    found.sort_unstable();
    found.dedup();
    found.into_iter().map(Cidr::single).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_is_that_of_the_default_route() {
        let text = "Iface\tDestination\tGateway\neth0\t000200C0\t00000000\n\
            eth0\t00000000\t010200C0\t0003\n";
        let little = cfg!(target_endian = "little");
        assert_eq!(default_gateway(text), little.then_some(Ipv4Addr::new(192, 0, 2, 1)));
        assert_eq!(default_gateway("Iface\tDestination\tGateway\n"), None);
    }

    #[test]
    fn the_hosts_own_addresses_have_loopback_among_them() {
        assert!(own_addresses().contains(&Cidr::single(Ipv4Addr::LOCALHOST)));
    }
}
