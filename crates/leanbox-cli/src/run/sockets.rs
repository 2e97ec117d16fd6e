//! Descriptors that the container is handed: those that whoever started this command has open, and
//! sockets that listen for it, by the protocol of sd_listen_fds(3).

use leanbox::{Command, Error, Result};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

/// The first that listens (`SD_LISTEN_FDS_START`).
const FIRST: i32 = 3;
/// The program's process id inside: 1 is the launcher.
const PROGRAM: &str = "2";
/// The highest number inside, and one more.
const NUMBERS_MAX: i32 = 500;

/// Options of `leanbox run` about descriptors.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Sockets")]
pub(crate) struct Sockets {
    /// Hand it a descriptor that this command was started with, such as a socket, as TARGET [default:
    /// the same number]. May be given again
    #[arg(long, value_name = "N[:TARGET]", value_parser = numbers)]
    fd: Vec<(i32, i32)>,
    /// Listen there and hand it the socket, from descriptor 3 on, with LISTEN_FDS and LISTEN_PID set:
    /// it answers without a network of its own. May be given again
    #[arg(long, value_name = "tcp:ADDR:PORT|unix:PATH", value_parser = address)]
    listen: Vec<Address>,
}

/// Where to listen.
#[derive(Debug, Clone)]
enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// What is handed over.
#[derive(Debug)]
pub(crate) struct Handed {
    fds: Vec<(i32, OwnedFd)>,
    listening: i32,
    _files: Vec<SocketFile>,
}

/// The name of a socket, removed with this.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Sockets {
    /// Opens and takes them all; to be called before anything else is opened.
    ///
    /// # Errors
    /// A descriptor is not there, an address is in use, two have one number.
    pub(crate) fn take(&self) -> Result<Handed> {
        let mut handed = Handed { fds: Vec::new(), listening: 0, _files: Vec::new() };
        for (number, target) in &self.fd {
            handed.add(*target, inherited(*number)?)?;
        }
        for (target, address) in (FIRST..).zip(&self.listen) {
            let socket = handed.open(address)?;
            handed.add(target, socket)?;
            handed.listening += 1;
        }
        Ok(handed)
    }
}

impl Handed {
    fn open(&mut self, address: &Address) -> Result<OwnedFd> {
        match address {
            Address::Tcp(address) => TcpListener::bind(address)
                .map(OwnedFd::from)
                .map_err(|error| Error::io(format!("--listen tcp:{address}"), &error)),
            Address::Unix(path) => {
                let error = |error| Error::io(format!("--listen unix:{}", path.display()), &error);
                let socket = UnixListener::bind(path).map_err(error)?;
                self._files.push(SocketFile(path.clone()));
                Ok(socket.into())
            }
        }
    }

    fn add(&mut self, target: i32, fd: OwnedFd) -> Result<()> {
        if self.fds.iter().any(|(taken, _)| *taken == target) {
            return Err(Error::invalid(format!("two descriptors {target} for the container"))
                .remedy("those of --listen begin with 3; write --fd N:TARGET"));
        }
        self.fds.push((target, fd));
        Ok(())
    }

    /// Gives them to the command; what is left has to live as long as it runs.
    pub(crate) fn give(&mut self, command: &mut Command) {
        for (target, fd) in self.fds.drain(..) {
            command.fd(target, fd);
        }
        if self.listening > 0 {
            command.env("LISTEN_FDS", self.listening.to_string()).env("LISTEN_PID", PROGRAM);
        }
    }
}

/// A copy of a descriptor that this process was started with. Its own are close-on-exec, and so told
/// apart; a folder would open the host's files to whoever has it (openat(2)).
fn inherited(number: i32) -> Result<OwnedFd> {
    let refuse = |why: &str| Error::invalid(format!("--fd {number}: {why}"));
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    let is_inherited = |flags: u32| flags & rustix::fs::OFlags::CLOEXEC.bits() == 0;
    if !flags.is_some_and(is_inherited) {
        return Err(refuse("not open").remedy("leanbox has to be started with it, as in 7<>file"));
    }
    let wrap = |errno: rustix::io::Errno| Error::io(format!("--fd {number}"), &errno.into());
    let this = pidfd_open(getpid(), PidfdFlags::empty()).map_err(wrap)?;
    let copy = pidfd_getfd(&this, number, PidfdGetfdFlags::empty()).map_err(wrap)?;
    let stat = rustix::fs::fstat(&copy).map_err(wrap)?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() {
        return Err(refuse("a folder, from which all of the host can be reached")
            .remedy("show it with --volume"));
    }
    Ok(copy)
}

/// `N[:TARGET]`.
fn numbers(text: &str) -> Result<(i32, i32)> {
    let (number, target) = text.split_once(':').unwrap_or((text, text));
    let number = number.parse::<i32>().ok().filter(|number| *number >= 0);
    let target = target.parse::<i32>().ok().filter(|target| (FIRST..NUMBERS_MAX).contains(target));
    number.zip(target).ok_or_else(|| {
        Error::invalid(format!("{text:?} is no descriptor"))
            .remedy(format!("write N[:TARGET]; inside they are {FIRST} to {}", NUMBERS_MAX - 1))
    })
}

/// `tcp:ADDR:PORT` or `unix:PATH`.
fn address(text: &str) -> Result<Address> {
    let address = match text.split_once(':') {
        Some(("tcp", address)) => address.parse().ok().map(Address::Tcp),
        Some(("unix", path)) if !path.is_empty() => Some(Address::Unix(path.into())),
        _ => None,
    };
    address.ok_or_else(|| {
        Error::invalid(format!("{text:?} is nowhere to listen"))
            .remedy("write tcp:ADDR:PORT, as in tcp:127.0.0.1:8080, or unix:PATH")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_have_a_number_here_and_one_inside() {
        assert_eq!(numbers("7").unwrap(), (7, 7));
        assert_eq!(numbers("0:3").unwrap(), (0, 3));
        for bad in ["", "0", "-1:3", "3:2", "3:500", "x", "3:"] {
            assert!(numbers(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_are_whole() {
        assert!(matches!(address("tcp:[::1]:80").unwrap(), Address::Tcp(_)));
        assert!(matches!(address("unix:./x").unwrap(), Address::Unix(_)));
        for bad in ["", "tcp:80", "tcp:localhost:80", "unix:", "/x", "udp:1.2.3.4:5"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
