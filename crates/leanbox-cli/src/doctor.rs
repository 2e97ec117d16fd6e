//! `leanbox doctor`: what this kernel and user can do, one line each, with the remedy where
//! something is missing. At the end it really starts a container, which decides the exit code.
//!
//! In: `/proc`, `/sys`, PATH, and one start. Out: lines. Never: changes anything, but for its own
//! group, as every start does it, and what killed commands left, which is reclaimed likewise.

mod cgroups;
mod network;
mod trial;
mod user;

use crate::{gc, say};
use leanbox::{Result, probe};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ok,
    /// It works in another way, or not all of it does.
    Limited,
    Missing,
}

/// One line.
#[derive(Debug)]
struct Finding {
    state: State,
    text: String,
}

impl Finding {
    fn ok(text: impl Into<String>) -> Self {
        Self { state: State::Ok, text: text.into() }
    }

    fn limited(text: impl Into<String>) -> Self {
        Self { state: State::Limited, text: text.into() }
    }

    fn missing(text: impl Into<String>) -> Self {
        Self { state: State::Missing, text: text.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Ok => "ok",
            State::Limited => "limited",
            State::Missing => "missing",
        };
        write!(out, "{state:8} {}", self.text)
    }
}

/// Looks at everything, says it, and starts a container.
pub(crate) fn run() -> Result<ExitCode> {
    let looks: [fn() -> Finding; 5] = [kernel, user_namespaces, seccomp, memfd, overlay];
    for look in looks {
        say(&look().to_string());
    }
    for finding in user::look() {
        say(&finding.to_string());
    }
    for finding in build_tools().into_iter().chain([network::look(), network::sockets()]) {
        say(&finding.to_string());
    }
    // What follows is done as every start is.
    let entered = leanbox::enter_user_namespace();
    if let Err(error) = leanbox::make_room_for_groups() {
        say(&Finding::missing(format!("cgroups: {error}")).to_string());
    }
    for finding in cgroups::look() {
        say(&finding.to_string());
    }
    let trial = match entered {
        Ok(_) => {
            say(&left_behind().to_string());
            trial::run()
        }
        Err(error) => vec![Finding::missing(format!("start: {error}"))],
    };
    for finding in &trial {
        say(&finding.to_string());
    }
    let works = trial.iter().all(|finding| finding.state != State::Missing);
    Ok(if works { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn kernel() -> Finding {
    let (major, minor) = probe::kernel_version();
    let (least_major, least_minor) = probe::OLDEST_KERNEL;
    let text = format!("kernel: Linux {major}.{minor}");
    if (major, minor) < probe::OLDEST_KERNEL {
        return Finding::missing(format!("{text}; {least_major}.{least_minor} or newer is needed"));
    }
    let ends = if probe::kernel_tells_ends() { "the kernel" } else { "the launcher" };
    Finding::ok(format!(
        "{text}, {least_major}.{least_minor} is needed; {ends} tells how a run ended"
    ))
}

fn user_namespaces() -> Finding {
    let most = number("/proc/sys/user/max_user_namespaces");
    match most {
        None => Finding::missing("user namespaces: not in this kernel; it needs CONFIG_USER_NS"),
        Some(0) => {
            Finding::missing("user namespaces: none allowed; sysctl user.max_user_namespaces=10000")
        }
        Some(most) => Finding::ok(format!("user namespaces: up to {most}")),
    }
}

fn seccomp() -> Finding {
    let actions = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    if actions.split_whitespace().any(|action| action == "errno") {
        return Finding::ok("seccomp: filters");
    }
    Finding::missing("seccomp: no filters; the kernel needs CONFIG_SECCOMP_FILTER")
}

/// The launcher is executed from memory; `2` forbids that, which has a fallback (kernel document
/// `admin-guide/sysctl/vm.rst`).
fn memfd() -> Finding {
    match number("/proc/sys/vm/memfd_noexec") {
        Some(2) => Finding::limited(
            "programs in memory: forbidden, so a file in the state folder is used; \
             sysctl vm.memfd_noexec=1",
        ),
        _ => Finding::ok("programs in memory: allowed"),
    }
}

fn overlay() -> Finding {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if known.split_whitespace().any(|name| name == "overlay") {
        return Finding::ok("overlay file system (for build)");
    }
    Finding::limited("overlay file system: not loaded, and build needs it; modprobe overlay")
}

/// What `leanbox build` runs.
fn build_tools() -> [Finding; 2] {
    let mmdebstrap = match in_path("mmdebstrap") {
        Some(path) => Finding::ok(format!("mmdebstrap (for build): {}", path.display())),
        None => Finding::limited(
            "mmdebstrap: not there, and build needs it; apt-get install mmdebstrap",
        ),
    };
    let remedy = "and build needs it for leanbox/busybox; apt-get install busybox-static";
    let busybox = match in_path("busybox") {
        Some(path) if is_static(&path) => {
            Finding::ok(format!("busybox (for build): {}", path.display()))
        }
        Some(path) => {
            Finding::limited(format!("busybox: {} is not static, {remedy}", path.display()))
        }
        None => Finding::limited(format!("busybox: not there, {remedy}")),
    };
    [mmdebstrap, busybox]
}

fn left_behind() -> Finding {
    match leanbox::reclaim() {
        Ok(owners) => Finding::ok(format!("left behind: {}", gc::reclaimed(owners))),
        Err(error) => Finding::missing(format!("left behind: {error}")),
    }
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Whether it names no loader of shared libraries.
fn is_static(program: &Path) -> bool {
    let bytes = fs::read(program).unwrap_or_default();
    !bytes.windows(4).take(4096).any(|window| window == b"/ld-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_that_begins_with_its_state() {
        assert_eq!(Finding::ok("a").to_string(), "ok       a");
        assert_eq!(Finding::limited("b").to_string(), "limited  b");
        assert_eq!(Finding::missing("c").to_string(), "missing  c");
    }
}
