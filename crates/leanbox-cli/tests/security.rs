//! `--security`, `--cap-add`, `--cap-drop`, `--seccomp` and `leanbox seccomp` on a real kernel.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Done, Place, place};
use std::fs;

fn capabilities(place: &Place, options: &[&str]) -> u64 {
    let done = place.sh(options, "cat /proc/self/status");
    let line = done.out.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(line.trim(), 16).unwrap()
}

#[test]
fn docker_gives_its_fourteen_and_drops_and_adds_as_docker_does() {
    let place = place("security-caps");
    assert_eq!(capabilities(&place, &[]), 0);
    assert_eq!(capabilities(&place, &["--security", "docker"]), 0xa804_25fb);
    let options = ["--security", "docker", "--cap-drop", "CHOWN", "--cap-add", "SYS_TIME"];
    assert_eq!(capabilities(&place, &options), 0xa804_25fb & !1 | 1 << 25);
    let options = ["--security", "docker", "--cap-drop", "ALL", "--cap-add", "KILL"];
    assert_eq!(capabilities(&place, &options), 1 << 5);
    assert_eq!(capabilities(&place, &["--cap-add", "KILL", "--cap-drop", "KILL"]), 0);
    let options = ["--cap-add", "ALL", "--cap-drop", "SYS_ADMIN"];
    assert_eq!(capabilities(&place, &options) & (1 << 21 | 1), 1);
}

#[test]
fn docker_has_no_new_privileges_either() {
    let place = place("security-nnp");
    let status = place.sh(&["--security", "docker"], "cat /proc/self/status").out;
    assert!(status.contains("NoNewPrivs:\t1") && status.contains("Seccomp:\t2"), "{status}");
}

#[test]
fn the_kernel_decides_as_the_file_says() {
    let place = place("security-file");
    let profile = |rules: &str| {
        let text = format!("{{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{rules}]}}");
        fs::write(place.0.join("p.json"), text).unwrap();
    };
    profile("{\"names\":[\"kill\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":28}");
    let done = place.sh(&["--seccomp", "p.json"], "kill -USR1 $$");
    assert!(done.code != 0 && done.err.contains("No space left"), "{done:?}");
    // kill(2) with the second argument 10, SIGUSR1, and no other
    profile(
        "{\"names\":[\"kill\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":1,\"args\":[
            {\"index\":1,\"value\":10,\"op\":\"SCMP_CMP_EQ\"}]}",
    );
    let script = "trap 'echo usr2' USR2; kill -USR1 $$ || echo refused; kill -USR2 $$";
    let done = place.sh(&["--seccomp", "p.json"], script);
    assert_eq!(done.out, "refused\nusr2", "{done:?}");
    profile("{\"names\":[\"uname\"],\"action\":\"SCMP_ACT_KILL_PROCESS\"}");
    assert_eq!(place.run(&["--seccomp", "p.json"], &["hostname"]).code, 128 + 31);
}

#[test]
fn unconfined_has_no_filter() {
    let place = place("security-unconfined");
    let status = place.sh(&["--seccomp", "unconfined"], "cat /proc/self/status").out;
    assert!(status.contains("Seccomp:\t0") && status.contains("NoNewPrivs:\t1"), "{status}");
}

#[test]
fn what_seccomp_shows_can_be_given_back() {
    let place = place("security-show");
    for security in ["strict", "docker"] {
        let words = ["seccomp", "--security", security];
        let shown = Done::of(place.leanbox(&words).output().unwrap());
        assert_eq!((shown.code, shown.err.as_str()), (0, ""));
        fs::write(place.0.join("p.json"), &shown.out).unwrap();
        let options = ["--security", security, "--seccomp", "p.json"];
        place.run(&options, &["echo", "hello"]).said("hello");
        let words = ["seccomp", "--seccomp", "p.json"];
        assert_eq!(Done::of(place.leanbox(&words).output().unwrap()).out, shown.out);
    }
    let table = Done::of(place.leanbox(&["seccomp", "--table"]).output().unwrap()).out;
    assert!(table.lines().any(|line| line.starts_with("mount ") && line.ends_with("EPERM")));
}

#[test]
fn a_profile_that_cannot_be_is_refused_before_anything_starts() {
    let place = place("security-refused");
    place.sh(&["--security", "none"], "true").failed(125, "not a profile");
    place.sh(&["--seccomp", "nope.json"], "true").failed(125, "ENOENT");
    fs::write(place.0.join("p.json"), "{\"defaultAction\":\"SCMP_ACT_ERRNO\"}").unwrap();
    place.sh(&["--seccomp", "p.json"], "true").failed(125, "does not allow openat, close");
    fs::write(place.0.join("p.json"), "{").unwrap();
    place.sh(&["--seccomp", "p.json"], "true").failed(125, "p.json: seccomp profile");
}
