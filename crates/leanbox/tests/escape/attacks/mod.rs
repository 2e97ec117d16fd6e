//! The attacks, by what they reach for. Each stops at the proof: it opens without writing, asks
//! with arguments that do nothing, touches what the test itself made. For on `classic` they
//! succeed, and there they are root on this machine.

pub(crate) mod devices;
pub(crate) mod ids;
pub(crate) mod kernel;
pub(crate) mod launcher;
pub(crate) mod left;
pub(crate) mod mounts;
pub(crate) mod neighbours;
pub(crate) mod network;
pub(crate) mod proc;
pub(crate) mod root;

use std::fs;

/// All processes that are in sight.
pub(crate) fn processes() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Those that are neither pid 1, nor this, nor who runs the attacks.
pub(crate) fn others() -> Vec<i32> {
    let own = [1, i32::try_from(std::process::id()).unwrap(), parent()];
    processes().into_iter().filter(|pid| !own.contains(pid)).collect()
}

pub(crate) fn parent() -> i32 {
    rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get())
}

/// A line of `/proc/PID/status` (proc_pid_status(5)).
pub(crate) fn status(pid: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(line.trim().replace('\t', " "))
}
