//! What a traced process means by an address or a path: read out of its memory and of its folder in
//! `/proc`. All of it is the program's word, which is shown and never followed.

use crate::cgroup::unescape;
use std::fs::{self, File};
use std::io::Read;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The longest path of the kernel.
const PATH_MAX: usize = 4096;
const PAGE: u64 = 4096;
/// A program may have many mounts, and long ones.
const MOUNTS_MAX_BYTES: u64 = 1 << 20;
/// The longest text that is shown.
const SHOWN_MAX: usize = 200;
/// struct sockaddr_un is the longest.
const ADDRESS_MAX: usize = 110;

/// What is mounted where a path is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) point: String,
    pub(super) read_only: bool,
    pub(super) no_exec: bool,
    /// Whether it hides what is there, as something else than a part of /proc in /proc does.
    pub(super) is_mask: bool,
}

/// A text that ends with NUL; as much of it as can be read.
pub(super) fn text_at(pid: i32, address: u64) -> Option<String> {
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut text = Vec::new();
    while text.len() < PATH_MAX {
        // To the end of the page: the next may not be there.
        let at = address.checked_add(text.len() as u64)?;
        let mut piece = vec![0; usize::try_from(PAGE - at % PAGE).ok()?];
        let Ok(length) = memory.read_at(&mut piece, at) else { break };
        let piece = &piece[..length];
        let end = piece.iter().position(|byte| *byte == 0);
        text.extend(&piece[..end.unwrap_or(length)]);
        if end.is_some() || length == 0 {
            break;
        }
    }
    text.truncate(PATH_MAX);
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// A path as seen from its root: relative ones from `dir`, a descriptor of the process, or from its
/// working folder.
pub(super) fn path(pid: i32, dir: Option<i32>, text: &str) -> String {
    if text.starts_with('/') {
        return text.to_string();
    }
    let base = match dir.filter(|dir| *dir >= 0) {
        Some(dir) => link_of(pid, &format!("fd/{dir}")),
        None => link_of(pid, "cwd"),
    };
    match base {
        Some(base) if text.is_empty() => base.display().to_string(),
        Some(base) => base.join(text).display().to_string(),
        None => text.to_string(),
    }
}

/// Where a descriptor leads, if to a file.
pub(super) fn of_descriptor(pid: i32, fd: i32) -> Option<String> {
    let path = link_of(pid, &format!("fd/{fd}"))?;
    path.is_absolute().then(|| path.display().to_string())
}

fn link_of(pid: i32, name: &str) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/{name}")).ok()
}

/// The program of a process, if it has set-user-id or set-group-id bits of others, which have no
/// effect.
pub(super) fn without_set_ids(pid: i32) -> Option<String> {
    const SET_USER: u32 = 0o4000;
    /// Without the right to execute it is a mark for locks.
    const SET_GROUP: u32 = 0o2010;
    let program = fs::metadata(format!("/proc/{pid}/exe")).ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let effective = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    let mode = program.mode();
    let user = mode & SET_USER != 0 && Some(program.uid()) != effective("Uid:");
    let group = mode & SET_GROUP == SET_GROUP && Some(program.gid()) != effective("Gid:");
    (user || group).then(|| link_of(pid, "exe")).flatten().map(|path| path.display().to_string())
}

/// Whether a thread has a signal to get that is for it alone.
pub(super) fn has_pending(pid: i32, signal: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let pending = status.lines().find_map(|line| line.strip_prefix("SigPnd:"));
    let bits = pending.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    bits.is_some_and(|bits| bits >> (signal - 1) & 1 == 1)
}

/// Whether a process has a soft limit of that name in `/proc/PID/limits`.
pub(super) fn is_limited(pid: i32, name: &str) -> bool {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix(name));
    line.is_some_and(|rest| rest.split_whitespace().next() != Some("unlimited"))
}

/// A text of the program's as people are shown it: not longer than they read, and escaped.
pub(super) fn shown(text: &str) -> String {
    let end = text.char_indices().nth(SHOWN_MAX).map(|(at, _)| at);
    let dots = if end.is_some() { "..." } else { "" };
    let quoted = format!("{:?}", &text[..end.unwrap_or(text.len())]);
    format!("{}{dots}", &quoted[1..quoted.len() - 1])
}

/// The mount that a path is on, by its words alone.
pub(super) fn mount_of(pid: i32, path: &str) -> Option<Mount> {
    let mut mounts = Vec::new();
    let file = File::open(format!("/proc/{pid}/mountinfo")).ok()?;
    file.take(MOUNTS_MAX_BYTES).read_to_end(&mut mounts).ok()?;
    mount_in(&String::from_utf8_lossy(&mounts), path)
}

/// Out of a mountinfo (proc_pid_mountinfo(5)); of several at one place the last.
fn mount_in(mounts: &str, path: &str) -> Option<Mount> {
    let mount = |line: &str| {
        let (head, tail) = line.split_once(" - ")?;
        let fields: Vec<&str> = head.split(' ').collect();
        let (point, own) = (fields.get(4)?, fields.get(5)?);
        let (kind, of_all) = (tail.split(' ').next()?, tail.split(' ').nth(2)?);
        let has = |options: &str, name: &str| options.split(',').any(|option| option == name);
        let point = unescape(point).display().to_string();
        Some(Mount {
            read_only: has(own, "ro") || has(of_all, "ro"),
            no_exec: has(own, "noexec"),
            is_mask: point.starts_with("/proc/") && kind != "proc",
            point,
        })
    };
    mounts
        .lines()
        .filter_map(mount)
        .filter(|mount| Path::new(path).starts_with(&mount.point))
        .max_by_key(|mount| mount.point.len())
}

/// A socket's address (struct sockaddr) for people.
pub(super) fn address_at(pid: i32, address: u64, length: u64) -> Option<String> {
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut bytes = [0; ADDRESS_MAX];
    let length = usize::try_from(length).ok()?.min(ADDRESS_MAX);
    let length = memory.read_at(&mut bytes[..length], address).ok()?;
    words_of_address(&bytes[..length])
}

fn words_of_address(bytes: &[u8]) -> Option<String> {
    let family = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
    let port = || Some(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?));
    match family {
        1 => {
            let name = bytes.get(2..)?;
            let (mark, name) = match name.split_first() {
                Some((0, rest)) => ("@", rest),
                _ => ("", name),
            };
            let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
            Some(format!("{mark}{}", String::from_utf8_lossy(&name[..end])))
        }
        2 => {
            let octets: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
            Some(format!("{}:{}", Ipv4Addr::from(octets), port()?))
        }
        10 => {
            let octets: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            Some(format!("[{}]:{}", Ipv6Addr::from(octets), port()?))
        }
        other => Some(format!("family {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "1 0 8:1 /root / ro,nosuid - ext4 /dev/x rw\n\
        2 1 0:5 / /tmp rw,nosuid,noexec - tmpfs tmpfs rw,size=4k\n\
        3 1 0:6 / /proc rw - proc proc rw\n4 3 0:6 /sys /proc/sys ro - proc proc rw\n\
        5 3 0:7 / /proc/kcore ro - tmpfs tmpfs rw\n";

    #[test]
    fn a_path_is_on_the_nearest_mount_above() {
        let at = |path: &str| mount_in(MOUNTS, path).unwrap();
        assert_eq!((at("/data").point.as_str(), at("/data").read_only), ("/", true));
        assert_eq!((at("/tmp/x").point.as_str(), at("/tmp/x").no_exec), ("/tmp", true));
        assert_eq!(at("/tmpfile").point, "/");
        assert!(at("/proc/sys/kernel").read_only && !at("/proc/self").read_only);
        assert!(at("/proc/kcore").is_mask && !at("/proc/sys/kernel").is_mask);
    }

    #[test]
    fn addresses_are_told_as_people_write_them() {
        let mut bytes = vec![2, 0, 0, 80, 10, 1, 0, 5];
        assert_eq!(words_of_address(&bytes).unwrap(), "10.1.0.5:80");
        bytes[0] = 1;
        assert_eq!(words_of_address(b"\x01\0\0name\0\0").unwrap(), "@name");
        assert_eq!(words_of_address(b"\x01\0/run/x\0").unwrap(), "/run/x");
        assert_eq!(words_of_address(b"\x02"), None);
    }

    #[test]
    fn texts_are_read_out_of_memory_as_far_as_it_goes() {
        let text = c"/some/path";
        let pid = i32::try_from(std::process::id()).unwrap();
        assert_eq!(text_at(pid, text.as_ptr().addr() as u64).unwrap(), "/some/path");
        assert_eq!(text_at(pid, 8).unwrap(), "");
        assert_eq!(text_at(pid, u64::MAX).unwrap_or_default(), "");
    }
}
