//! Network namespaces: fresh ones, and others to do something in. A thread enters them, for a
//! moment; what it opened there stays there.

use super::netlink::Netlink;
use crate::{Error, Result, thread};
use leanbox_sys::process::{self, CLONE_NEWNET};
use leanbox_sys::socket;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The one that the calling thread is in.
const OWN: &str = "/proc/thread-self/ns/net";
/// Where ip-netns(8) keeps those with names.
const NAMED: &str = "/run/netns";
const STACK_BYTES: usize = 128 << 10;
/// What is set in a fresh one, since nobody inside could use the rights that it takes: ports below
/// 1024 for everybody, and ICMP echo for everybody (as Docker has it; ip-sysctl of the kernel's
/// documents).
const SETTINGS: [(&str, &str); 2] = [
    ("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"),
    ("/proc/sys/net/ipv4/ping_group_range", "0 2147483647"),
];

/// A network namespace of this process's user namespace, with `lo` up, and a socket in it.
pub(super) struct Fresh {
    pub(super) namespace: OwnedFd,
    pub(super) inside: Netlink,
}

/// Makes one.
pub(super) fn fresh() -> Result<Fresh> {
    in_a_thread(|| {
        let call = |name: &str, errno: leanbox_sys::Errno| {
            Error::syscall(name, Errno::from_raw_os_error(errno.0))
        };
        process::unshare(CLONE_NEWNET).map_err(|errno| call("unshare(CLONE_NEWNET)", errno))?;
        socket::loopback_up().map_err(|errno| call("ioctl(lo, SIOCSIFFLAGS)", errno))?;
        for (path, value) in SETTINGS {
            fs::write(path, value).map_err(|error| Error::io(format!("write({path})"), &error))?;
        }
        Ok(Fresh { namespace: open(Path::new(OWN))?, inside: Netlink::open()? })
    })
}

/// Does something in a namespace; what is executed there is too.
pub(super) fn within<T: Send + 'static>(
    namespace: OwnedFd,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    in_a_thread(move || {
        process::setns(namespace.as_raw_fd(), CLONE_NEWNET).map_err(|errno| {
            Error::syscall("setns(CLONE_NEWNET)", Errno::from_raw_os_error(errno.0))
        })?;
        work()
    })
}

/// A file that is a network namespace which this process may enter.
pub(super) fn open_to_join(path: &Path) -> Result<OwnedFd> {
    let namespace = open(path)?;
    let again = namespace.try_clone();
    let again = again.map_err(|error| Error::io("fcntl(F_DUPFD_CLOEXEC)", &error))?;
    within(again, || Ok(())).map_err(|error| match error.errno() {
        Some(errno) if errno == Errno::INVAL.raw_os_error() => {
            Error::invalid(format!("{}: not a network namespace", path.display()))
                .remedy("name /run/netns/NAME or /proc/PID/ns/net")
        }
        _ => error.during(path.display()),
    })?;
    Ok(namespace)
}

fn open(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(|errno| Error::syscall(format!("open({})", path.display()), errno))
}

fn in_a_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let begun = thread::begin("leanbox-net", STACK_BYTES, work);
    let thread = begun.map_err(|error| Error::io("a thread for a network namespace", &error))?;
    thread.join().unwrap_or_else(|_| Err(Error::invalid("a thread in a network namespace died")))
}

/// The name of the calling thread's: `net:[NUMBER]` (namespaces(7)).
pub(super) fn own_name() -> Result<String> {
    let name = fs::read_link(OWN).map(|link| link.display().to_string());
    name.map_err(|error| Error::io(OWN, &error).remedy("mount /proc"))
}

/// The one of that name, if a process is in it or ip-netns(8) knows it: in one that is neither
/// nothing can be left.
pub(super) fn find(name: &str) -> Option<OwnedFd> {
    let number: u64 = name.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()?;
    let entries = |folder: &str| fs::read_dir(folder).into_iter().flatten().flatten();
    let of_processes = entries("/proc").map(|entry| entry.path().join("ns/net"));
    let candidates = [PathBuf::from(OWN)]
        .into_iter()
        .chain(entries(NAMED).map(|entry| entry.path()))
        .chain(of_processes);
    candidates
        .into_iter()
        .find(|path| fs::metadata(path).is_ok_and(|meta| meta.ino() == number))
        .and_then(|path| open(&path).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_one_is_another_than_ours_and_is_found_by_nobody_in_it() {
        let Fresh { namespace, .. } = fresh().unwrap();
        let number = fs::File::from(namespace.try_clone().unwrap()).metadata().unwrap().ino();
        assert_ne!(format!("net:[{number}]"), own_name().unwrap());
        assert!(find(&format!("net:[{number}]")).is_none());
        let inside = within(namespace, own_name).unwrap();
        assert_eq!(inside, format!("net:[{number}]"));
        assert!(find(&own_name().unwrap()).is_some());
    }

    #[test]
    fn what_is_no_network_namespace_is_refused_by_name() {
        for path in ["/proc/self/ns/mnt", "/dev/null"] {
            let refused = open_to_join(Path::new(path)).unwrap_err().to_string();
            assert!(refused.starts_with(&format!("{path}: not a network namespace")), "{refused}");
        }
        assert!(open_to_join(Path::new("/run/netns/none-such")).is_err());
    }
}
