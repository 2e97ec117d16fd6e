//! What the host sees of slots and their processes, for tests that look from outside.

#![allow(dead_code, reason = "not every test uses all of it")]

use crate::common::field;
use leanbox::Container;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// First host id that slots use.
pub(crate) const FIRST_ID: u32 = 1_879_048_192;

/// The container's pid on the host (`Pid:` of its pidfd, proc_pid_fdinfo(5)).
pub(crate) fn pid_of(container: &Container) -> i32 {
    pid_of_pidfd(container.pidfd())
}

pub(crate) fn pid_of_pidfd(pidfd: BorrowedFd<'_>) -> i32 {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap();
    field(&info, "Pid").parse().unwrap()
}

/// `/proc/PID/status`.
pub(crate) fn status(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/status")).unwrap()
}

pub(crate) fn parent_of(pid: i32) -> i32 {
    field(&status(pid), "PPid").parse().unwrap()
}

/// That of a process which may have ended.
pub(crate) fn try_parent_of(pid: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

/// All processes of the machine.
pub(crate) fn processes() -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// All processes below one.
pub(crate) fn below(top: i32) -> Vec<i32> {
    let parents: Vec<(i32, i32)> = processes()
        .into_iter()
        .filter_map(|pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            Some((pid, field(&status, "PPid").parse().ok()?))
        })
        .collect();
    let mut found = vec![top];
    let mut at = 0;
    while at < found.len() {
        let above = found[at];
        found.extend(parents.iter().filter(|(_, parent)| *parent == above).map(|(pid, _)| pid));
        at += 1;
    }
    found.split_off(1)
}

/// Where a process is, of each mounted hierarchy that has its group: controllers and folder.
pub(crate) fn groups_of(pid: i32) -> BTreeMap<String, PathBuf> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    text.lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?);
            Some((controllers.to_string(), mount_of(&mounts, controllers)?.join(&path[1..])))
        })
        .collect()
}

fn mount_of(mounts: &str, controllers: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut right = right.split(' ');
        let kind = right.next()?;
        let options = right.nth(1)?;
        let fits = match controllers {
            "" => kind == "cgroup2",
            some => kind == "cgroup" && options.split(',').any(|option| option == some),
        };
        fits.then(|| left.split(' ').nth(4).map(PathBuf::from)).flatten()
    })
}

/// Every group of the machine whose path has `part` in it.
pub(crate) fn group_folders(part: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut look = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = look.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                look.push(entry.path());
            }
        }
        if folder.to_string_lossy().contains(part) {
            found.push(folder);
        }
    }
    found
}

/// In how many hierarchies these folders are.
pub(crate) fn hierarchies(folders: &[PathBuf]) -> usize {
    let top = |folder: &PathBuf| folder.components().nth(4).map(|part| part.as_os_str().to_owned());
    let distinct: BTreeSet<_> = folders.iter().map(top).collect();
    distinct.len().max(1)
}

/// Waits until `done`, at most for `limit`; whether it came to that.
pub(crate) fn within(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + limit;
    loop {
        if done() {
            return true;
        }
        if Instant::now() > until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
