//! A host's network for one thread: a namespace of its own, which forwards.

use rustix::thread::UnshareFlags;
use std::process::Command;

/// From now on this thread and what it begins are on a host of their own.
pub(crate) fn on_a_host() {
    #[allow(unsafe_code, reason = "the descriptors stay shared")]
    // SAFETY: the thread's network only.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    assert!(run("ip link set lo up").is_empty());
}

/// What a program of this host prints.
pub(crate) fn run(words: &str) -> String {
    let mut words = words.split(' ');
    let done = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// Links to slots.
pub(crate) fn links() -> Vec<String> {
    run("ip -o link").lines().filter(|line| line.contains("lbox")).map(str::to_string).collect()
}
