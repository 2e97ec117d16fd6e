//! One fault: where it is, what came of it, and whether that will do.

use crate::common::{Folder, busybox, folder};
use crate::{driver, host, net};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The system call `call` of `process` (as `inject.c` names and counts them) fails with `errno`.
#[derive(Debug, Clone)]
pub(crate) struct Point {
    policy: String,
    process: String,
    call: u32,
    errno: i32,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) took: Duration,
    /// The call that failed, if it was reached.
    pub(crate) call: Option<String>,
    code: i32,
    /// Something was left to reclaim.
    pub(crate) left: bool,
    pub(crate) complaint: Option<String>,
}

pub(crate) struct Injector {
    root: Folder,
    work: Folder,
    program: PathBuf,
    count: AtomicU32,
    /// The names of system calls.
    names: BTreeMap<i64, String>,
}

impl fmt::Display for Point {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, process, call, errno } = self;
        let error = std::io::Error::from_raw_os_error(*errno);
        write!(out, "{policy}, {process} call {call}, {error}")
    }
}

impl Verdict {
    pub(crate) fn kind(&self) -> &'static str {
        match (&self.call, self.code) {
            (None, _) => "not reached",
            (_, driver::DONE) => "done all the same",
            (_, driver::ERROR) => "said why not",
            _ => "the standard library gave up",
        }
    }
}

impl Injector {
    pub(crate) fn build() -> Self {
        let work = folder("faults-work");
        let program = work.0.join("inject");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/inject.c");
        let gcc = Command::new("gcc").args(["-O1", "-o"]).args([&program, &source]).status();
        assert!(gcc.expect("the tests need a C compiler").success());
        Self { root: busybox("faults"), work, program, count: AtomicU32::new(0), names: names() }
    }

    /// All there are: of the host's threads, of the keeper, and of the first two slots.
    pub(crate) fn points(&self, policy: &str, errnos: &[i32]) -> Vec<Point> {
        let (text, ..) = self.run(policy, "-", 0, 0);
        assert!(text.contains("\nend 0\n"), "{text}");
        let mut calls: Vec<(String, u32)> = Vec::new();
        for line in text.lines().filter_map(|line| line.strip_prefix("call ")) {
            let process = line.split(' ').next().unwrap();
            match calls.iter_mut().find(|(known, _)| known == process) {
                Some((_, count)) => *count += 1,
                None => calls.push((process.to_string(), 1)),
            }
        }
        let slots: Vec<String> = calls
            .iter()
            .filter(|(process, count)| process.matches('.').count() == 2 && *count > 1)
            .map(|(process, _)| process.clone())
            .skip(2)
            .collect();
        calls.retain(|(process, _)| !slots.iter().any(|slot| process.starts_with(slot.as_str())));
        let all = |(process, count): (String, u32)| {
            let policy = policy.to_string();
            (1..=count).flat_map(move |call| {
                let (policy, process) = (policy.clone(), process.clone());
                errnos
                    .iter()
                    .map(move |errno| Point {
                        policy: policy.clone(),
                        process: process.clone(),
                        call,
                        errno: *errno,
                    })
                    .collect::<Vec<_>>()
            })
        };
        calls.into_iter().flat_map(all).collect()
    }

    pub(crate) fn try_at(&self, point: &Point) -> Verdict {
        let began = Instant::now();
        let Point { policy, process, call, errno } = point;
        let (text, said) = self.run(policy, process, *call, *errno);
        let took = began.elapsed();
        let number = |key: &str| -> Option<i64> {
            text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
        };
        let name = format!("-{}-", number("pid ").unwrap());
        let has_net = policy == driver::NAT;
        let left = !left_of(&name, has_net).is_empty();
        let status = number("end ").unwrap_or(-1);
        let code = if status & 0x7f == 0 { i32::try_from(status >> 8).unwrap() } else { -1 };
        let complaint = complaint(&text, code, &said).or_else(|| not_reclaimed(&name, has_net));
        let name = |number: i64| self.names.get(&number).cloned().unwrap_or_default();
        let call = number("hit ").map(name);
        let complaint =
            complaint.map(|text| format!("{}: {text}", call.as_deref().unwrap_or_default()));
        Verdict { took, call, code, left, complaint }
    }

    /// The report, and what the host said.
    fn run(&self, policy: &str, process: &str, call: u32, errno: i32) -> (String, String) {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let report = self.work.0.join(format!("report-{number}"));
        let output = Command::new(&self.program)
            .arg(&report)
            .args([process, &call.to_string(), &errno.to_string()])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", driver::NAME, "--nocapture", "--test-threads=1"])
            .env(driver::ROOT, &self.root.0)
            .env(driver::POLICY, policy)
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "inject: {}", output.status);
        let text = fs::read_to_string(&report).unwrap();
        fs::remove_file(&report).unwrap();
        (text, String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Rust's standard library gives up where a folder cannot be closed or a pipe not be set to wait for
/// nobody, of which the kernel knows no case, or where a thread that begins has no memory.
const GIVES_UP: [&str; 4] = [
    "unexpected error during closedir",
    "library/std/src/sys/process/mod.rs",
    "failed to allocate an alternative stack",
    "failed to set up alternative stack guard page",
];

/// What is wrong with how it ended.
fn complaint(report: &str, code: i32, said: &str) -> Option<String> {
    let lives: Vec<&str> = report
        .lines()
        .filter(|line| line.starts_with("runs ") || line.starts_with("hangs "))
        .collect();
    if !lives.is_empty() {
        return Some(format!("{lives:?}; it said {said:?}"));
    }
    if GIVES_UP.iter().any(|words| said.contains(words)) {
        return None;
    }
    let one_line = said.lines().count() == 1 && said.starts_with("error: ");
    match code {
        driver::DONE if said.is_empty() => None,
        driver::ERROR if one_line => None,
        other => Some(format!("it ended with {other} and said {said:?}")),
    }
}

fn not_reclaimed(name: &str, has_net: bool) -> Option<String> {
    let mut left = Vec::new();
    let clean = host::within(Duration::from_secs(5), || {
        leanbox::reclaim().unwrap();
        left = left_of(name, has_net);
        left.is_empty()
    });
    if !clean && has_net {
        // Not to be blamed on those that follow.
        net::run("nft flush ruleset");
    }
    (!clean).then(|| format!("it left {left:?}"))
}

/// Records, files and groups of a host; links and tables, if it has a network.
fn left_of(name: &str, has_net: bool) -> Vec<PathBuf> {
    let state = fs::read_dir(leanbox::state_folder()).unwrap().flatten();
    let records = state.map(|entry| entry.path());
    let mut left: Vec<_> = records.filter(|path| path.to_string_lossy().contains(name)).collect();
    left.extend(host::group_folders(&format!("/leanbox{name}")));
    if has_net {
        left.extend(net::links().into_iter().map(PathBuf::from));
        left.extend(net::run("nft list tables").lines().map(PathBuf::from));
    }
    left
}

/// From the C library's headers.
fn names() -> BTreeMap<i64, String> {
    let headers = Command::new("gcc")
        .args(["-dM", "-E", "-include", "sys/syscall.h", "-x", "c", "/dev/null"])
        .output()
        .unwrap();
    let text = String::from_utf8(headers.stdout).unwrap();
    let named = text.lines().filter_map(|line| {
        let (name, number) = line.strip_prefix("#define __NR_")?.split_once(' ')?;
        Some((number.parse().ok()?, name.to_string()))
    });
    named.collect()
}
