//! Taking groups away, with or without what still runs in them.
//!
//! In: the folder of a group. Out: nothing is left of it, or an error after a bounded wait.
//! Never: signals a process by a bare pid, or a group that holds the caller.

use super::file;
use crate::{Error, ErrorKind, Result};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};
use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A killed process leaves its group when it has exited: microseconds, or as long as its memory
/// takes to free. 200 pauses of 5 ms outlast that for the largest limits we set.
const ATTEMPTS: u32 = 200;
const PAUSE: Duration = Duration::from_millis(5);
/// Ours are three deep; a container cannot make any. Deeper is not ours.
const DEPTH_MOST: u32 = 8;

/// Kills everything in the group at `path` and below it, and removes them: for what a dead owner
/// left. That it is gone already is fine. Waits a second at most.
///
/// # Errors
/// `InvalidInput` if the caller itself is in there, `Busy` if something does not die, else the
/// call that failed.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    refuse_own(path)?;
    attempt(path, || kill_tree(path, DEPTH_MOST))
}

/// Removes the group at `path` and those below it; nothing is killed. Waits a second at most for
/// what was killed before to be gone.
pub(super) fn remove_folders(path: &Path) -> Result<()> {
    attempt(path, || ())
}

fn attempt(path: &Path, before: impl Fn()) -> Result<()> {
    let mut last = Errno::BUSY;
    for _ in 0..ATTEMPTS {
        before();
        match remove_once(path, DEPTH_MOST) {
            Ok(()) => return Ok(()),
            Err(errno @ (Errno::BUSY | Errno::NOTEMPTY)) => last = errno,
            Err(errno) => return Err(Error::syscall(format!("rmdir({path:?})"), errno)),
        }
        crate::thread::pause(PAUSE);
    }
    Err(Error::syscall(format!("rmdir({path:?})"), last).with_kind(ErrorKind::Busy))
}

/// A slot's folder has none below it, so try at once and look for children only when it is busy.
fn remove_once(path: &Path, depth: u32) -> rustix::io::Result<()> {
    let rmdir = || match rustix::fs::rmdir(path) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    };
    match rmdir() {
        Err(Errno::BUSY | Errno::NOTEMPTY) if depth > 0 => {
            folders_in(path).iter().try_for_each(|child| remove_once(child, depth - 1))?;
            rmdir()
        }
        other => other,
    }
}

/// v2 kills a group and all below it in one write (from 5.14 on); else one by one.
fn kill_tree(path: &Path, depth: u32) {
    if file::kill_at_once(path) {
        return;
    }
    kill_listed(path, &mut HashSet::new());
    // What v1 has frozen dies when it is thawed.
    let _ = file::write_if_there(&path.join("freezer.state"), "THAWED");
    if depth > 0 {
        folders_in(path).iter().for_each(|child| kill_tree(child, depth - 1));
    }
}

/// Kills the processes that the group lists, but those `killed` before; returns how many.
pub(super) fn kill_listed(path: &Path, killed: &mut HashSet<Pid>) -> usize {
    signal_listed(path, killed, Signal::KILL)
}

/// Sends a signal likewise. One that ends meanwhile may leave its pid to a stranger: so take pidfds
/// first, list again, and signal only those that are still listed.
pub(super) fn signal_listed(path: &Path, sent: &mut HashSet<Pid>, signal: Signal) -> usize {
    let pidfds: Vec<(Pid, OwnedFd)> = processes(path)
        .into_iter()
        .filter(|pid| !sent.contains(pid))
        .filter_map(|pid| Some((pid, pidfd_open(pid, PidfdFlags::empty()).ok()?)))
        .collect();
    if pidfds.is_empty() {
        return 0;
    }
    let still: HashSet<Pid> = processes(path).into_iter().collect();
    for (pid, pidfd) in pidfds.iter().filter(|(pid, _)| still.contains(pid)) {
        let _ = pidfd_send_signal(pidfd, signal); // gone meanwhile: as wanted
        sent.insert(*pid);
    }
    pidfds.len()
}

/// The pids in a group. A 0 stands for a process outside our pid namespace, which nobody here
/// can name.
pub(super) fn processes(path: &Path) -> Vec<Pid> {
    let text = file::read(&path.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)).collect()
}

fn folders_in(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
    let is_folder = |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    entries.flatten().filter(is_folder).map(|entry| entry.path()).collect()
}

/// A record that names the caller's own group, or one above it, is wrong.
fn refuse_own(path: &Path) -> Result<()> {
    fn holds_us(path: &Path, depth: u32) -> bool {
        processes(path).contains(&getpid())
            || depth > 0 && folders_in(path).iter().any(|child| holds_us(child, depth - 1))
    }
    if holds_us(path, DEPTH_MOST) {
        return Err(Error::invalid(format!("{path:?} holds this process: not removed")));
    }
    Ok(())
}
