//! Without root: this process as root of a user namespace of its own (user_namespaces(7)), as far
//! as the user's subordinate ids go (subuid(5)).
//!
//! In: who we are, `/etc/subuid`, `/etc/subgid`, newuidmap(1). Out: the same process with every
//! capability over what it makes from then on, and none over anything else. Never: unasked.

use crate::{Error, ErrorKind, Result};
use leanbox_launcher::wire::IDS_PER_SLOT;
use leanbox_sys::process::{self, CLONE_NEWNS, CLONE_NEWUSER, pr};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};
use rustix::thread::CapabilitySet;
use std::fs;
use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The files of subordinate ids.
const SUBUID: &str = "/etc/subuid";
const SUBGID: &str = "/etc/subgid";

/// Makes this process root of a user namespace and a mount namespace of its own, where it lacks
/// `CAP_SYS_ADMIN`: inside it is user 0, files of the user are root's, and its subordinate ids are
/// the other users. Whether it did so; a process with the capability stays what it is. Every file
/// that was open stays so, and mounts of the host go on appearing.
///
/// To be called first thing, while the process has one thread: the kernel allows it to no other.
///
/// # Errors
/// `Unsupported` with the remedy: no subordinate ids, no newuidmap(1), user namespaces forbidden;
/// `InvalidInput` where the process has more than one thread.
pub fn enter_user_namespace() -> Result<bool> {
    if has_sys_admin() {
        return Ok(false);
    }
    let maps = Maps::of_this_user()?;
    let mapper = Mapper::begin(&maps)?;
    process::unshare(CLONE_NEWUSER | CLONE_NEWNS).map_err(|errno| refused(errno.0))?;
    // The change of capabilities closed /proc/self to the user, and so to who writes the maps.
    let _ = process::prctl(pr::SET_DUMPABLE, 1, 0);
    mapper.finish()?;
    OWN_MAP.lock().unwrap_or_else(PoisonError::into_inner).clear();
    let slave = rustix::mount::MountPropagationFlags::DOWNSTREAM
        | rustix::mount::MountPropagationFlags::REC;
    rustix::mount::mount_change("/", slave)
        .map_err(|errno| Error::syscall("mount(\"/\", REC|SLAVE)", errno))?;
    Ok(true)
}

/// Checks that the user has the subordinate ids of a slot (subuid(5)).
///
/// # Errors
/// `Unsupported`, with the command that gives them.
pub fn check_subordinate_ids() -> Result<()> {
    Maps::of_this_user().map(drop)
}

/// Whether this is root of the machine: user 0 of the initial user namespace, or of one with the
/// same root.
#[must_use]
pub fn is_machine_root() -> bool {
    geteuid().is_root() && own_map().first().is_none_or(|extent| extent.outside == 0)
}

/// Whether the ids that leanbox gives to slots of the machine are there to be given; else all
/// slots have the ids of this user namespace.
pub(crate) fn has_machine_ids(first: u32, last: u32) -> bool {
    let covers = |extent: &Extent| {
        extent.inside <= first && u64::from(extent.inside) + extent.count > u64::from(last)
    };
    own_map().iter().any(covers)
}

/// Lines of a slot's uid_map and gid_map where it has the ids of this user namespace: each id
/// itself, as the kernel wants no line to go beyond one of ours.
///
/// # Errors
/// `Unsupported` where there are too few.
pub(crate) fn shared_maps() -> Result<[String; 2]> {
    let map = |path: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        same_ids(&extents(&text)).ok_or_else(|| {
            let text = format!("{path}: a slot needs the ids 0 to {}", IDS_PER_SLOT - 1);
            Error::new(ErrorKind::Unsupported, text).remedy("map more ids into this container")
        })
    };
    Ok([map("/proc/self/uid_map")?, map("/proc/self/gid_map")?])
}

fn same_ids(extents: &[Extent]) -> Option<String> {
    let mut extents = extents.to_vec();
    extents.sort_by_key(|extent| extent.inside);
    let (mut lines, mut next) = (String::new(), 0);
    for extent in extents {
        if u64::from(extent.inside) == next && next < u64::from(IDS_PER_SLOT) {
            let count = extent.count.min(u64::from(IDS_PER_SLOT) - next);
            lines += &format!("{next} {next} {count}\n");
            next += count;
        }
    }
    (next == u64::from(IDS_PER_SLOT)).then_some(lines)
}

/// A line of `/proc/self/uid_map`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    inside: u32,
    outside: u32,
    count: u64,
}

/// `/proc/self/uid_map`, read once; empty until then.
static OWN_MAP: Mutex<Vec<Extent>> = Mutex::new(Vec::new());

fn own_map() -> MutexGuard<'static, Vec<Extent>> {
    let mut map = OWN_MAP.lock().unwrap_or_else(PoisonError::into_inner);
    if map.is_empty() {
        *map = extents(&fs::read_to_string("/proc/self/uid_map").unwrap_or_default());
    }
    map
}

fn extents(text: &str) -> Vec<Extent> {
    let extent = |line: &str| {
        let mut words = line.split_whitespace();
        let mut number = || words.next()?.parse::<u64>().ok();
        Some(Extent {
            inside: u32::try_from(number()?).ok()?,
            outside: u32::try_from(number()?).ok()?,
            count: number()?,
        })
    };
    text.lines().filter_map(extent).collect()
}

/// Whether this process has `CAP_SYS_ADMIN`, without which it needs a user namespace of its own.
#[must_use]
pub fn has_sys_admin() -> bool {
    rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
}

/// What is to be mapped: triples of first id inside, first id outside, count.
#[derive(Debug)]
struct Maps {
    users: Vec<u32>,
    groups: Vec<u32>,
    /// Root of a container may map what it has; others need newuidmap(1).
    by_root: bool,
}

impl Maps {
    fn of_this_user() -> Result<Self> {
        if geteuid().is_root() {
            let same = |path: &str| {
                let extents = extents(&fs::read_to_string(path).unwrap_or_default());
                let triple = |extent: &Extent| {
                    let count = u32::try_from(extent.count).unwrap_or(u32::MAX);
                    [extent.inside, extent.inside, count]
                };
                extents.iter().flat_map(triple).collect()
            };
            let (users, groups) = (same("/proc/self/uid_map"), same("/proc/self/gid_map"));
            return Ok(Self { users, groups, by_root: true });
        }
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        let name = user_name(uid);
        let map = |path: &str, own: u32| {
            let text = fs::read_to_string(path).unwrap_or_default();
            triples(own, &ranges(&text, uid, name.as_deref()))
                .ok_or_else(|| no_ids(path, uid, name.as_deref()))
        };
        Ok(Self { users: map(SUBUID, uid)?, groups: map(SUBGID, gid)?, by_root: false })
    }
}

fn user_name(uid: u32) -> Option<String> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let is_ours = |line: &&str| line.split(':').nth(2).is_some_and(|id| id == uid.to_string());
    passwd.lines().find(is_ours)?.split(':').next().map(str::to_string)
}

/// The user's lines: `name:first:count` or `uid:first:count` (subuid(5)).
fn ranges(text: &str, uid: u32, name: Option<&str>) -> Vec<(u32, u32)> {
    let range = |line: &str| {
        let mut words = line.trim().split(':');
        let whose = words.next()?;
        let (first, count) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        (whose == uid.to_string() || Some(whose) == name).then_some((first, count))
    };
    text.lines().filter_map(range).collect()
}

/// Root inside is the user, the next are its subordinate ids; `None` where these are too few for a
/// slot.
fn triples(own: u32, ranges: &[(u32, u32)]) -> Option<Vec<u32>> {
    let mut triples = vec![0, own, 1];
    let mut next = 1;
    for (first, count) in ranges.iter().filter(|(_, count)| *count > 0) {
        triples.extend([next, *first, *count]);
        next = next.checked_add(*count)?;
    }
    (next >= IDS_PER_SLOT).then_some(triples)
}

fn no_ids(path: &str, uid: u32, name: Option<&str>) -> Error {
    let user = name.map_or_else(|| uid.to_string(), str::to_string);
    let least = IDS_PER_SLOT - 1;
    let (text, option) = match path {
        SUBUID => (format!("{SUBUID} gives user {user} fewer than {least} ids"), "--add-subuids"),
        _ => (format!("{SUBGID} gives user {user} fewer than {least} ids"), "--add-subgids"),
    };
    Error::new(ErrorKind::Unsupported, text)
        .remedy(format!("as root: usermod {option} 100000-165535 {user} (a range nobody has)"))
}

/// A child that stays outside to write the maps: set-user-id programs have their rights there only.
#[derive(Debug)]
struct Mapper(Child);

/// Waits for a line, then maps: `$1` is the pid, `$2` the triples of users, `$3` of groups.
const BY_NEWUIDMAP: &str = r#"read -r go || exit 0; newuidmap "$1" $2 && newgidmap "$1" $3"#;
const BY_ROOT: &str = r#"read -r go || exit 0
printf '%s %s %s\n' $2 >"/proc/$1/uid_map" && printf '%s %s %s\n' $3 >"/proc/$1/gid_map""#;

impl Mapper {
    fn begin(maps: &Maps) -> Result<Self> {
        let words = |ids: &[u32]| ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
        let script = if maps.by_root { BY_ROOT } else { BY_NEWUIDMAP };
        let child = std::process::Command::new("/bin/sh")
            .args(["-c", script, "sh", &std::process::id().to_string()])
            .args([words(&maps.users), words(&maps.groups)])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        child.map(Self).map_err(|error| Error::io("sh", &error).during("mapping ids"))
    }

    fn finish(mut self) -> Result<()> {
        let wrap = |error: std::io::Error| Error::io("newuidmap", &error);
        if let Some(mut go) = self.0.stdin.take() {
            go.write_all(b"go\n").map_err(wrap)?;
        }
        let mut said = String::new();
        if let Some(mut stderr) = self.0.stderr.take() {
            stderr.read_to_string(&mut said).map_err(wrap)?;
        }
        if self.0.wait().map_err(wrap)?.success() {
            return Ok(());
        }
        let line = said.lines().next().unwrap_or("newuidmap failed").trim();
        let error = Error::new(ErrorKind::Unsupported, format!("mapping ids: {line}"));
        Err(match line.contains("not found") {
            true => error.remedy("install newuidmap (Debian: apt-get install uidmap)"),
            false => error.remedy(
                "newuidmap and newgidmap have to be set-user-id root (or have file capabilities), \
                 and no_new_privs must not be set",
            ),
        })
    }
}

impl Drop for Mapper {
    /// It waits for a word that does not come.
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn refused(errno: i32) -> Error {
    let errno = Errno::from_raw_os_error(errno);
    let error = Error::syscall("unshare(NEWUSER|NEWNS)", errno);
    match errno {
        Errno::INVAL => Error::invalid("a user namespace of its own needs a process of one thread")
            .remedy("call enter_user_namespace first thing in main"),
        Errno::NOSPC => error
            .with_kind(ErrorKind::Unsupported)
            .remedy("user.max_user_namespaces is too low (sysctl)"),
        _ => error
            .with_kind(ErrorKind::Unsupported)
            .remedy("user namespaces are forbidden here; leanbox doctor says by what"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        let text = "root:1:5\nann:100000:65536\n1000:300000:10\n# x\nann:5\n";
        assert_eq!(ranges(text, 1000, Some("ann")), [(100_000, 65_536), (300_000, 10)]);
        assert!(ranges(text, 7, None).is_empty());
    }

    #[test]
    fn root_inside_is_the_user_and_the_others_follow() {
        let wanted = vec![0, 1000, 1, 1, 100_000, 65_535];
        assert_eq!(triples(1000, &[(100_000, 65_535)]), Some(wanted));
        assert_eq!(triples(1000, &[(100_000, 65_534)]), None);
        assert_eq!(triples(1000, &[(5, 30_000), (70_000, 35_535)]).map(|t| t.len()), Some(9));
        assert_eq!(triples(1000, &[(5, u32::MAX), (5, u32::MAX)]), None);
    }

    #[test]
    fn each_id_is_itself_in_lines_that_do_not_go_beyond_ours() {
        let text = "1 100000 65536\n0 1000 1\n";
        assert_eq!(same_ids(&extents(text)).unwrap(), "0 0 1\n1 1 65535\n");
        assert_eq!(same_ids(&extents("0 5 4294967295")).unwrap(), "0 0 65536\n");
        assert_eq!(same_ids(&extents("0 5 65535\n70000 9 9")), None);
    }

    #[test]
    fn a_map_is_read_by_its_columns() {
        let text = "         0       1000          1\n         1     100000      65536\n";
        let wanted = [
            Extent { inside: 0, outside: 1000, count: 1 },
            Extent { inside: 1, outside: 100_000, count: 65_536 },
        ];
        assert_eq!(extents(text), wanted);
    }
}
