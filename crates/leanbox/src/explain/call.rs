//! What matters of a system call's arguments, for people and for the reason: its path, its address,
//! its family.

use super::place;
use crate::limits;

/// `AT_FDCWD`.
const WORKING_FOLDER: i32 = -100;

/// Which of the arguments matter.
#[derive(Clone, Copy)]
enum Matters {
    /// A path.
    Path(usize),
    /// A path from a folder.
    At(usize, usize),
    /// A descriptor.
    Descriptor(usize),
    /// A socket's address and its length.
    Address(usize, usize),
    /// The family of a socket.
    Family,
    /// A resource of setrlimit(2).
    Resource(usize),
    /// A number.
    Number(usize),
    /// None.
    Nothing,
}

/// A call with what it was about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) words: String,
    /// What it was about, if a file, from its root.
    pub(super) path: Option<String>,
}

fn matters(name: &str) -> Matters {
    match name {
        "open" | "creat" | "mkdir" | "rmdir" | "unlink" | "chmod" | "chown" | "lchown"
        | "truncate" | "chdir" | "chroot" | "mknod" | "access" | "execve" | "umount2" | "utime"
        | "utimes" | "statfs" | "setxattr" | "lsetxattr" | "removexattr" | "acct" | "swapon"
        | "pivot_root" | "stat" | "lstat" | "readlink" => Matters::Path(0),
        "mount" | "symlink" | "rename" | "link" => Matters::Path(1),
        "openat" | "openat2" | "mkdirat" | "unlinkat" | "fchownat" | "fchmodat" | "fchmodat2"
        | "mknodat" | "faccessat" | "faccessat2" | "utimensat" | "newfstatat" | "execveat"
        | "statx" => Matters::At(0, 1),
        "renameat" | "renameat2" | "linkat" => Matters::At(2, 3),
        "symlinkat" => Matters::At(1, 2),
        "fchown" | "fchmod" | "write" | "pwrite64" | "writev" | "fsetxattr" | "ftruncate"
        | "ioctl" | "fallocate" => Matters::Descriptor(0),
        "connect" | "bind" => Matters::Address(1, 2),
        "sendto" => Matters::Address(4, 5),
        "socket" | "socketpair" => Matters::Family,
        "setrlimit" => Matters::Resource(0),
        "prlimit64" => Matters::Resource(1),
        "setuid" | "setgid" | "kill" | "tkill" | "ptrace" | "personality" | "setns" | "unshare"
        | "prctl" => Matters::Number(0),
        _ => Matters::Nothing,
    }
}

/// What a process has called.
pub(super) fn tell(pid: i32, name: &str, args: &[u64; 6]) -> Told {
    #[allow(clippy::cast_possible_truncation, reason = "what the kernel takes of a descriptor")]
    let descriptor = |at: usize| args[at] as i32;
    let file = |path: Option<String>| {
        let shown = path.as_deref();
        let shown = shown.map_or_else(|| "?".into(), |path| format!("\"{}\"", place::shown(path)));
        (shown, path)
    };
    let (inner, path) = match matters(name) {
        Matters::Path(at) => {
            file(place::text_at(pid, args[at]).map(|text| place::path(pid, None, &text)))
        }
        Matters::At(dir, at) => {
            let dir = Some(descriptor(dir)).filter(|dir| *dir != WORKING_FOLDER);
            file(place::text_at(pid, args[at]).map(|text| place::path(pid, dir, &text)))
        }
        Matters::Descriptor(at) => match place::of_descriptor(pid, descriptor(at)) {
            Some(path) => file(Some(path)),
            None => (descriptor(at).to_string(), None),
        },
        Matters::Address(at, length) => {
            let address = place::address_at(pid, args[at], args[length]);
            (address.map_or_else(|| "?".into(), |address| place::shown(&address)), None)
        }
        Matters::Family => (family(args[0]), None),
        Matters::Resource(at) => (limits::name_of_rlimit(args[at]).unwrap_or("?").into(), None),
        Matters::Number(at) => (descriptor(at).to_string(), None),
        Matters::Nothing => (String::new(), None),
    };
    Told { words: format!("{name}({inner})"), path }
}

/// Of address_families(7).
fn family(number: u64) -> String {
    const NAMES: [(u64, &str); 9] = [
        (1, "AF_UNIX"),
        (2, "AF_INET"),
        (10, "AF_INET6"),
        (16, "AF_NETLINK"),
        (17, "AF_PACKET"),
        (30, "AF_TIPC"),
        (38, "AF_ALG"),
        (40, "AF_VSOCK"),
        (44, "AF_XDP"),
    ];
    let known = NAMES.iter().find(|(known, _)| *known == number);
    known.map_or_else(|| format!("family {number}"), |(_, name)| (*name).to_string())
}
