//! Network namespaces: fresh ones, and others to do something in. A thread enters them, for a
//! moment; what it opened there stays there.

use super::netlink::Netlink;
use crate::cgroup::unescape;
use crate::owner::has_blocks;
use crate::{Error, Result, thread};
use leanbox_sys::process::{self, CLONE_NEWNET};
use leanbox_sys::socket;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The one that the calling thread is in.
const OWN: &str = "/proc/thread-self/ns/net";
const STACK_BYTES: usize = 128 << 10;
/// What is set in a fresh one: ports below 1024 and ICMP echo for everybody, as Docker has it, since
/// nobody inside could use the rights that they take else; and IPv6 for nobody (ip-sysctl of the
/// kernel's documents).
const SETTINGS: [(&str, &str); 5] = [
    ("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"),
    (PING, "0 2147483647"),
    // As the host has it, it could take the answers of what is refused otherwise for forged ones.
    ("/proc/sys/net/ipv4/conf/all/rp_filter", "0"),
    ("/proc/sys/net/ipv4/conf/default/rp_filter", "0"),
    (NO_IPV6, "1"),
];
/// Groups, of which a user namespace may have fewer.
const PING: &str = "/proc/sys/net/ipv4/ping_group_range";
const FEWER: &str = "0 65535";
/// Of devices that come later. Not there on a kernel without IPv6.
const NO_IPV6: &str = "/proc/sys/net/ipv6/conf/default/disable_ipv6";

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
            let value = if path == PING && !has_blocks() { FEWER } else { value };
            match fs::write(path, value) {
                Err(error) if path != NO_IPV6 || error.kind() != ErrorKind::NotFound => {
                    return Err(Error::io(format!("write({path})"), &error));
                }
                _ => {}
            }
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

/// The one of that name, if a thread is in it or it is mounted here (ip-netns(8)): in one that is
/// neither nothing can be left.
///
/// # Errors
/// Something could not be looked at, so it may be there.
pub(super) fn find(name: &str) -> Result<Option<OwnedFd>> {
    let mut places = vec![PathBuf::from(OWN)];
    let processes = entries(Path::new("/proc"))?;
    places.extend(processes.iter().map(|process| process.join("ns/net")));
    places.extend(mounted(name)?);
    for place in places {
        if let Some(found) = open_if(&place, name)? {
            return Ok(Some(found));
        }
    }
    for process in processes {
        for thread in entries(&process.join("task"))? {
            if let Some(found) = open_if(&thread.join("ns/net"), name)? {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}

/// What is there, if it is the one of that name.
fn open_if(path: &Path, name: &str) -> Result<Option<OwnedFd>> {
    let is_it = match fs::read_link(path) {
        Ok(link) => link.as_os_str() == name,
        // Where it is mounted it is no link.
        Err(error) if error.kind() == ErrorKind::InvalidInput => true,
        Err(error) if is_gone(&error) => false,
        Err(error) => return Err(Error::io(path.display(), &error)),
    };
    match is_it.then(|| open(path)) {
        None => Ok(None),
        Some(Err(error)) if error.kind() == crate::ErrorKind::NotFound => Ok(None),
        // A process that has that number meanwhile, or what is mounted on top.
        Some(opened) => opened.map(|opened| Some(opened).filter(|opened| is_named(opened, name))),
    }
}

fn is_named(namespace: &OwnedFd, name: &str) -> bool {
    rustix::fs::fstat(namespace).is_ok_and(|stat| format!("net:[{}]", stat.st_ino) == name)
}

/// What is in a folder, unless that is gone.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let listed = fs::read_dir(folder).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>()
    });
    match listed {
        Err(error) if is_gone(&error) => Ok(Vec::new()),
        listed => listed.map_err(|error| Error::io(folder.display(), &error)),
    }
}

/// A process that has ended, no process, or another user's.
fn is_gone(error: &std::io::Error) -> bool {
    let no_process = error.raw_os_error() == Some(Errno::SRCH.raw_os_error());
    let kinds = [ErrorKind::NotFound, ErrorKind::NotADirectory, ErrorKind::PermissionDenied];
    no_process || kinds.contains(&error.kind())
}

/// Where it is mounted (proc_pid_mountinfo(5)).
fn mounted(name: &str) -> Result<Option<PathBuf>> {
    const PATH: &str = "/proc/self/mountinfo";
    let mounts = fs::read_to_string(PATH).map_err(|error| Error::io(PATH, &error))?;
    let mut points = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(3);
        (words.next() == Some(name)).then(|| words.next()).flatten()
    });
    Ok(points.next().map(unescape))
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_fresh_one_is_another_than_ours_and_is_found_by_nobody_in_it() {
        let Fresh { namespace, .. } = fresh().unwrap();
        let number = fs::File::from(namespace.try_clone().unwrap()).metadata().unwrap().ino();
        assert_ne!(format!("net:[{number}]"), own_name().unwrap());
        assert!(find(&format!("net:[{number}]")).unwrap().is_none());
        let inside = within(namespace, own_name).unwrap();
        assert_eq!(inside, format!("net:[{number}]"));
        assert!(find(&own_name().unwrap()).unwrap().is_some());
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
