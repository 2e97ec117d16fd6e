//! A host that has too little of something: descriptors, processes, memory, disk; or whose groups
//! somebody removes. It does what was asked, or says in one line why not, or the kernel kills it
//! for its memory; in bounded time, nothing runs on, and whoever reclaims next leaves nothing.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "crash/after.rs"]
mod after;
mod common;
#[path = "faults/driver.rs"]
mod driver;
#[path = "common/host.rs"]
mod host;

use after::Dead;
use common::{Folder, busybox, folder};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const POLICIES: [&str; 3] = ["once", "reuse", "shared"];
/// A host that waits for a slot for want of one does so for a minute; none here has a reason to.
const PATIENCE: Duration = Duration::from_secs(20);

/// No test of its own: the host that has too little.
#[test]
fn the_host_whose_calls_fail() {
    driver::run();
}

/// What is left over is seen since it comes to this process: one test at a time.
struct Trial {
    _alone: MutexGuard<'static, ()>,
    root: Folder,
    ends: BTreeMap<String, u32>,
}

impl Trial {
    fn begin(name: &str) -> Option<Self> {
        static ALONE: Mutex<()> = Mutex::new(());
        if std::env::var_os(driver::ROOT).is_some() {
            return None;
        }
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
        Some(Self { _alone: alone, root: busybox(name), ends: BTreeMap::new() })
    }

    /// Runs the host: `around` are words to begin with.
    fn host(&mut self, policy: &str, around: &[&str], change: impl Fn(&mut Command), what: &str) {
        self.host_beside(policy, around, change, what, |_| ());
    }

    fn host_beside(
        &mut self,
        policy: &str,
        around: &[&str],
        change: impl Fn(&mut Command),
        what: &str,
        beside: impl Fn(&Child),
    ) {
        let this = std::env::current_exe().unwrap();
        let words = ["--exact", driver::NAME, "--nocapture", "--test-threads=1"];
        let mut command = match around.split_first() {
            None => Command::new(this),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(this);
                command
            }
        };
        command.args(words).env(driver::ROOT, &self.root.0).env(driver::POLICY, policy);
        command.env("RUST_BACKTRACE", "0").stdin(Stdio::null()).stdout(Stdio::null());
        change(&mut command);
        let mut host = command.stderr(Stdio::piped()).spawn().unwrap();
        let began = Instant::now();
        while host.try_wait().unwrap().is_none() {
            if began.elapsed() > PATIENCE {
                host.kill().unwrap();
                panic!("{policy}, {what}: it hangs");
            }
            beside(&host);
            std::thread::sleep(Duration::from_millis(2));
        }
        let dead = Dead { name: format!("leanbox-{}-", host.id()), others: &[] };
        let output = host.wait_with_output().unwrap();
        let end = end_of(&output);
        let end = end.unwrap_or_else(|| panic!("{policy}, {what}: {output:?}"));
        *self.ends.entry(end).or_insert(0) += 1;
        dead.assert_nothing_runs(what);
        dead.assert_all_reclaimed(what);
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        for (end, count) in &self.ends {
            eprintln!("{count} × {end}");
        }
    }
}

/// How it ended, if that will do; paths and numbers apart.
fn end_of(output: &Output) -> Option<String> {
    let said = String::from_utf8_lossy(&output.stderr);
    let one_line = said.lines().count() == 1 && said.starts_with("error: ");
    let alike = |text: &str| text.trim_end().replace(|c: char| c.is_ascii_digit(), "");
    match (output.status.code(), output.status.signal()) {
        (Some(driver::DONE), _) if said.is_empty() => Some("done".into()),
        (Some(driver::ERROR), _) if one_line => Some(alike(&said)),
        (None, Some(9)) => Some("killed".into()),
        _ => None,
    }
}

#[test]
fn too_few_descriptors() {
    let Some(mut trial) = Trial::begin("descriptors") else { return };
    for policy in POLICIES {
        for count in 10..=80 {
            let few = |host: &mut Command| {
                host.env(driver::DESCRIPTORS, count.to_string());
            };
            trial.host(policy, &[], few, &format!("{count} descriptors"));
        }
    }
    assert!(trial.ends.contains_key("done") && !trial.ends.contains_key("killed"));
}

/// A group of this test's in the hierarchy that has a controller, and the one for its processes.
struct Fence {
    folder: PathBuf,
    inside: PathBuf,
}

impl Fence {
    fn new(controller: &str) -> Self {
        let groups = host::groups_of(i32::try_from(std::process::id()).unwrap());
        let has = |(names, _): &(&String, &PathBuf)| {
            names.is_empty() || names.split(',').any(|name| name == controller)
        };
        let (names, own) = groups.iter().filter(has).max_by_key(|(names, _)| names.len()).unwrap();
        let name = format!("leanbox-test-{}-{controller}", std::process::id());
        if !names.is_empty() {
            let folder = own.join(name);
            fs::create_dir(&folder).unwrap();
            return Self { inside: folder.clone(), folder };
        }
        Self::on_v2(own, &name, controller)
    }

    /// Beside our own group, since that holds processes; delegated, as ours is.
    fn on_v2(own: &Path, name: &str, controller: &str) -> Self {
        let is_top = !own.join("cgroup.type").exists();
        let home = if is_top { own } else { own.parent().unwrap() };
        fs::write(home.join("cgroup.subtree_control"), format!("+{controller}"))
            .unwrap_or_else(|error| panic!("this test needs a delegated group: {error}"));
        let (folder, inside) = (home.join(name), home.join(name).join("main"));
        fs::create_dir_all(&inside).unwrap();
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(&folder, "trusted.delegate", b"1", flags).unwrap();
        Self { folder, inside }
    }

    fn set(&self, file: &str, value: u64) {
        fs::write(self.folder.join(file), value.to_string())
            .unwrap_or_else(|error| panic!("this test needs the controller of {file}: {error}"));
    }

    /// A command that begins in the group.
    fn around(&self) -> [String; 4] {
        let procs = self.inside.join("cgroup.procs");
        let script = format!("echo 0 >{} && exec \"$@\"", procs.display());
        ["sh".into(), "-c".into(), script, "sh".into()]
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        let is_gone = || {
            let _ = fs::remove_dir(&self.inside);
            fs::remove_dir(&self.folder).is_ok() || !self.folder.exists()
        };
        assert!(host::within(PATIENCE, is_gone), "{:?}", self.folder);
    }
}

#[test]
fn too_few_processes() {
    let Some(mut trial) = Trial::begin("processes") else { return };
    let fence = Fence::new("pids");
    let around = fence.around();
    let around: Vec<&str> = around.iter().map(String::as_str).collect();
    for policy in POLICIES {
        // Two are the test program's.
        for count in 3..=18 {
            fence.set("pids.max", count);
            trial.host(policy, &around, |_| (), &format!("{count} processes"));
        }
    }
    assert!(trial.ends.contains_key("done") && !trial.ends.contains_key("killed"));
}

#[test]
fn too_little_memory() {
    let Some(mut trial) = Trial::begin("memory") else { return };
    for policy in POLICIES {
        for tenths in (10..=40).step_by(3) {
            // A limit below what is still charged is refused.
            let fence = Fence::new("memory");
            let around = fence.around();
            let around: Vec<&str> = around.iter().map(String::as_str).collect();
            let v1 = fence.folder.join("memory.limit_in_bytes").exists();
            let file = if v1 { "memory.limit_in_bytes" } else { "memory.max" };
            fence.set(file, (tenths << 20) / 10);
            trial.host(policy, &around, |_| (), &format!("{tenths} tenths of a MiB"));
        }
    }
}

#[test]
fn a_full_state_folder() {
    let Some(mut trial) = Trial::begin("state") else { return };
    let state = folder("state-full");
    for policy in POLICIES {
        for copied in [false, true] {
            for (pages, inodes) in [(1, 1), (1, 2), (1, 3), (2, 0), (8, 0), (256, 20), (1024, 0)] {
                let mount = format!(
                    "mount -t tmpfs -o mode=700,size={}k,nr_inodes={inodes} none {} && exec \"$@\"",
                    pages * 4,
                    state.0.display()
                );
                let around = ["unshare", "--mount", "sh", "-c", &mount, "sh"];
                let full = |host: &mut Command| {
                    host.env("LEANBOX_STATE", &state.0);
                    if copied {
                        host.env(driver::COPIED, "1");
                    }
                };
                let what = format!("{pages} pages, {inodes} inodes, copied: {copied}");
                trial.host(policy, &around, full, &what);
            }
        }
    }
    assert!(trial.ends.contains_key("done") && !trial.ends.contains_key("killed"));
}

#[test]
fn groups_that_somebody_removes() {
    let Some(mut trial) = Trial::begin("removed") else { return };
    for policy in POLICIES {
        for _ in 0..10 {
            let remove = |host: &Child| {
                let folders = host::group_folders(&format!("/leanbox-{}-", host.id()));
                for folder in folders.iter().rev() {
                    // Those in which nobody lives.
                    let _ = fs::remove_dir(folder);
                }
            };
            trial.host_beside(policy, &[], |_| (), "groups are removed", remove);
        }
    }
}
