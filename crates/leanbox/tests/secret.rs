//! What the host process holds in its memory and environment is in no process of its slots.
//! Only a forked child has it, as documented.

#![allow(unsafe_code, clippy::unwrap_used, reason = "forks a child; tests")]

mod common;
#[path = "common/host.rs"]
mod host;

use common::{busybox, template};
use leanbox::{Command, Forked, Policy, Pool};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

const VARIABLE: &str = "LEANBOX_TEST_SECRET";

/// This test again, in a process that has the secret in its environment from its birth.
#[test]
fn a_secret_of_the_host_is_in_no_process_but_a_forked_one() {
    if let Ok(secret) = std::env::var(VARIABLE) {
        return look_everywhere(&secret);
    }
    let random = fs::File::open("/dev/urandom").unwrap();
    let mut bytes = [0; 24];
    std::io::Read::read_exact(&mut &random, &mut bytes).unwrap();
    let secret: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_secret_of_the_host_is_in_no_process_but_a_forked_one"])
        .env(VARIABLE, secret)
        .status()
        .unwrap();
    assert!(status.success());
}

fn look_everywhere(secret: &str) {
    let on_heap: Vec<String> = (0..100).map(|n| format!("{n} {secret}")).collect();
    let own = i32::try_from(std::process::id()).unwrap();
    assert!(holds(own, secret), "the search itself finds nothing");
    let root = busybox("secret");
    for policy in [Policy::Once, Policy::Reuse] {
        let template = template(&root, policy);
        let pool = Pool::new(&template, 2).unwrap();
        pool.settle().unwrap();
        let container = Command::new("sleep").arg("60").spawn(&pool).unwrap();
        let running = host::pid_of(&container);
        let keeper = template.keeper_pid();
        let launchers = host::processes().into_iter().filter(|pid| is_child(*pid, keeper));
        let mut all: Vec<i32> = launchers.collect();
        let inside = all.clone();
        all.extend(
            host::processes().into_iter().filter(|p| inside.iter().any(|l| is_child(*p, *l))),
        );
        all.push(keeper);
        assert!(all.contains(&running) && all.len() >= 5, "{running} {all:?}");
        for pid in all {
            assert!(!holds(pid, secret), "{policy:?}: {}", host::status(pid));
        }
    }
    a_forked_child_has_it(&root, secret);
    assert_eq!(on_heap.len(), 100);
}

fn a_forked_child_has_it(root: &common::Folder, secret: &str) {
    let template = template(root, Policy::Once);
    // SAFETY: the child only sleeps and ends.
    match unsafe { template.fork() }.unwrap() {
        Forked::Child(inside) => {
            let _ = rustix::thread::nanosleep(&rustix::thread::Timespec { tv_sec: 20, tv_nsec: 0 });
            inside.exit(0)
        }
        Forked::Parent(child) => {
            assert!(holds(child.pid(), secret));
            leanbox_sys::process::kill(child.pid(), 9).unwrap();
            child.wait().unwrap();
        }
    }
}

fn is_child(pid: i32, parent: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/status"))
        .is_ok_and(|status| common::field(&status, "PPid") == parent.to_string())
}

/// Whether a process has the secret in its memory, arguments or environment.
fn holds(pid: i32, secret: &str) -> bool {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    assert!(!maps.is_empty(), "no memory of {pid} can be looked at");
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut read = 0;
    let found = maps.lines().filter_map(range).any(|(from, to)| {
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        // The kernel's own pages ([vvar]) cannot be read.
        let length = memory.read_at(&mut bytes, from).unwrap_or(0);
        read += length;
        contains(&bytes[..length], secret.as_bytes())
    });
    assert!(found || read > 4096, "only {read} bytes of {pid} could be read");
    let files = ["environ", "cmdline", "comm"].map(|name| fs::read(format!("/proc/{pid}/{name}")));
    found || files.iter().flatten().any(|text| contains(text, secret.as_bytes()))
}

/// A readable line of `/proc/PID/maps`.
fn range(line: &str) -> Option<(u64, u64)> {
    let (range, rest) = line.split_once(' ')?;
    let (from, to) = range.split_once('-')?;
    let hex = |text| u64::from_str_radix(text, 16).ok();
    (rest.starts_with('r') && !line.ends_with("[vsyscall]")).then_some((hex(from)?, hex(to)?))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    let first = part[0];
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte == first) {
        if rest[at..].starts_with(part) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}
