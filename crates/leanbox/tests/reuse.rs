//! What a run left in a slot that serves again, the next run does not find.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/host.rs"]
mod host;

use common::{
    Folder, attack, busybox, has_peak, hostile, peaks_begin_anew, run, says, template, upper,
};
use leanbox::{
    Capability, Command, ErrorKind, Policy, Pool, Profile, Rootfs, Security, Stdio, Template,
};
use std::time::Duration;

/// One slot, used again and again.
fn reused(root: &Folder) -> Pool {
    Pool::new(&template(root, Policy::Reuse), 1).unwrap()
}

/// The host's pid of the launcher that a run has.
fn launcher(pool: &Pool) -> i32 {
    let mut command = Command::new("sleep");
    let container = command.arg("60").spawn(pool).unwrap();
    let pid = host::parent_of(host::pid_of(&container));
    container.signal(15).unwrap();
    container.wait().unwrap();
    pid
}

#[test]
fn a_clean_slot_serves_again_where_its_peak_of_memory_can_begin_anew() {
    let root = hostile("again");
    let pool = reused(&root);
    let mut before = launcher(&pool);
    for _ in 0..10 {
        assert!(Command::new("true").status(&pool).unwrap().success());
        let after = launcher(&pool);
        assert_eq!(after == before, peaks_begin_anew());
        before = after;
    }
}

#[test]
fn a_slot_with_used_scratch_serves_again_with_new_scratch() {
    let root = hostile("scratch");
    let pool = reused(&root);
    let first = launcher(&pool);
    for folder in ["/tmp", "/dev/shm"] {
        says(
            &pool,
            &format!("echo left >{folder}/file; mkdir -p {folder}/a/b; ln -s x {folder}/l"),
        );
        assert_eq!(
            says(&pool, &format!("ls -A {folder}; stat -c '%a %u:%g' {folder}")),
            "1777 0:0"
        );
    }
    assert_eq!(launcher(&pool) == first, peaks_begin_anew(), "was the slot thrown away?");
}

#[test]
fn nothing_hidden_in_the_scratch_folder_itself_stays() {
    let root = hostile("hidden");
    let pool = reused(&root);
    let clean = attack(&pool, &["hidden-look"]);
    for what in ["mode", "xattr", "flag", "atime", "file"] {
        attack(&pool, &["hidden", what]);
        assert_eq!(attack(&pool, &["hidden-look"]), clean, "after {what}");
    }
}

#[test]
fn ipc_objects_do_not_stay() {
    const ENOENT: i32 = 2;
    let root = hostile("ipc");
    let pool = reused(&root);
    for _ in 0..3 {
        assert!(attack(&pool, &["system-v"]).lines().all(|line| line.ends_with(" 0")));
        let gone = format!("shm {ENOENT}\nsem {ENOENT}\nmsg {ENOENT}");
        assert_eq!(attack(&pool, &["system-v-look"]), gone);
    }
}

#[test]
fn posix_queues_cannot_be_made_in_a_slot_that_serves_again() {
    const EMFILE: i32 = 24;
    let root = hostile("queues");
    let pool = reused(&root);
    assert!(attack(&pool, &["posix-queue"]).ends_with(&format!(" {EMFILE}")));
}

#[test]
fn background_processes_do_not_stay() {
    let root = hostile("daemons");
    let pool = reused(&root);
    for _ in 0..5 {
        attack(&pool, &["daemons", "8"]);
        assert_eq!(run(&pool, "ps", &[]).lines().count(), 3); // a head line, pid 1, ps
    }
}

#[test]
fn background_processes_do_not_stay_where_no_stream_is_captured() {
    let root = hostile("daemons-null");
    let pool = reused(&root);
    for _ in 0..5 {
        let mut command = Command::new("attack");
        command.args(["daemons", "8"]).stdout(Stdio::Null).stderr(Stdio::Null);
        assert!(command.status(&pool).unwrap().success());
        assert_eq!(run(&pool, "ps", &[]).lines().count(), 3); // a head line, pid 1, ps
    }
}

#[test]
fn a_background_process_cannot_alter_who_comes_next() {
    let root = hostile("alter");
    let pool = reused(&root);
    let tries = "(attack daemons 1; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); attack pids 60; done) >/dev/null 2>&1 &";
    for _ in 0..10 {
        common::sh(&pool, tries);
        let limits = run(&pool, "cat", &["/proc/self/limits", "/proc/1/limits"]);
        let files = limits.lines().filter(|line| line.starts_with("Max open files"));
        let files: Vec<&str> = files.map(|line| line.split_whitespace().nth(4).unwrap()).collect();
        assert_eq!(files[0], files[1]);
        assert_ne!(files[0], "5");
        assert_eq!(says(&pool, "cat /proc/self/oom_score_adj"), "0");
    }
}

#[test]
fn the_launcher_and_what_is_parked_cannot_be_altered() {
    let root = hostile("parked");
    for policy in [Policy::Once, Policy::Reuse] {
        let pool = Pool::new(&template(&root, policy), 2).unwrap();
        assert_eq!(attack(&pool, &["pids", "100"]), "");
    }
}

#[test]
fn network_counters_start_anew() {
    let root = hostile("network");
    let pool = reused(&root);
    let clean = says(&pool, "cat /proc/net/dev");
    attack(&pool, &["loopback"]);
    assert_eq!(says(&pool, "cat /proc/net/dev"), clean);
}

#[test]
fn a_peak_is_never_that_of_an_earlier_run() {
    let root = hostile("peak");
    let pool = reused(&root);
    for _ in 0..20 {
        let large = Command::new("attack").args(["hog", "64"]).output(&pool).unwrap();
        assert!(has_peak(&large, (64 << 20) + 1..), "{large:?}");
        let small = Command::new("attack").arg("ids").output(&pool).unwrap();
        assert!(has_peak(&small, ..8 << 20), "{small:?}");
    }
}

#[test]
fn dirty_and_clean_runs_in_turns_find_nothing() {
    let root = hostile("turns");
    let pool = Pool::new(&template(&root, Policy::Reuse), 2).unwrap();
    for turn in 0..60 {
        match turn % 4 {
            0 => drop(says(&pool, "echo x >/tmp/x; echo y >/dev/shm/y")),
            1 => drop(attack(&pool, &["system-v"])),
            2 => drop(attack(&pool, &["daemons", "2"])),
            _ => {}
        }
        assert_eq!(says(&pool, "ls -A /tmp /dev/shm"), "/dev/shm:\n\n/tmp:");
        assert_eq!(run(&pool, "ps", &[]).lines().count(), 3);
    }
}

#[test]
fn a_launcher_that_answers_no_more_is_replaced() {
    let root = hostile("silent");
    let pool = reused(&root);
    let mut command = Command::new("sleep");
    let container = command.arg("60").spawn(&pool).unwrap();
    let silent = host::parent_of(host::pid_of(&container));
    leanbox_sys::process::kill(silent, 19).unwrap(); // SIGSTOP
    container.signal(15).unwrap();
    let began = std::time::Instant::now();
    container.wait().unwrap();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_ne!(launcher(&pool), silent);
}

#[test]
fn what_the_reset_could_not_see_is_refused() {
    let root = busybox("refused");
    let upper = upper("refused-upper");
    let plain = || Template::builder(Rootfs::open(&root.0).unwrap());
    let overlay = Rootfs::overlay(std::slice::from_ref(&root.0), &upper.0).unwrap();
    let with = Capability::ALL.iter().map(|one| (one.to_string(), plain().cap_add(*one)));
    let writable = [("a writable root".to_string(), Template::builder(overlay))];
    let more = [
        ("the docker profile".to_string(), plain().security(Security::Docker)),
        ("another seccomp profile".to_string(), plain().seccomp(Profile::unconfined())),
    ];
    for (what, builder) in with.chain(writable).chain(more) {
        let refused = builder.policy(Policy::Reuse).build().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        let line = "the next run could find what one left; use policy once";
        assert_eq!(refused.to_string(), format!("policy reuse with {what}: {line}"));
    }
}
