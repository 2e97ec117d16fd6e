//! Abuse: containers that take all they can get. With default limits and a timeout each ends for
//! the right reason, and nothing of it is left. The abuser is this program in a hidden mode.

#![allow(
    unsafe_code,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "abusers fork; tests print a table"
)]

mod acts;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/host.rs"]
mod host;
#[path = "../common/itself.rs"]
mod itself;

use common::template;
use leanbox::{Command, End, Outcome, Policy, Pool, Template};
use std::fs;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

const MODE: &str = "LEANBOX_ABUSE_MODE";
const WORDS: [&str; 4] = ["--exact", "inside", "--nocapture", "--test-threads=1"];
/// Mebibytes of the output flood, unless `LEANBOX_ABUSE_OUTPUT_MIB` says.
const OUTPUT_MIB: usize = 512;
/// What of it is kept.
const KEPT: usize = 1 << 20;
/// What the host may grow by meanwhile.
const HOST_GROWTH_KIB: u64 = 16 << 10;
/// When a container is to end, and when its end has to be known at the latest.
const SHORT: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(600);
const PATIENCE: Duration = Duration::from_secs(20);

/// Why a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Exited,
    Signaled,
    TimedOut,
    OutOfMemory,
}

/// An abuser: what it does, when its time is up, why it has to end, how much it may get.
struct Abuse {
    act: &'static str,
    timeout: Duration,
    why: Why,
    got: Option<RangeInclusive<usize>>,
}

const fn times_out(act: &'static str) -> Abuse {
    Abuse { act, timeout: SHORT, why: Why::TimedOut, got: None }
}

const fn gets(act: &'static str, got: RangeInclusive<usize>) -> Abuse {
    Abuse { act, timeout: LONG, why: Why::Exited, got: Some(got) }
}

const fn ends(act: &'static str, why: Why) -> Abuse {
    Abuse { act, timeout: LONG, why, got: None }
}

/// The numbers are the default limits: 256 processes with the program's own, 64 MiB in each of
/// two folders, 65,536 inodes, 4,096 descriptors.
const ABUSES: &[Abuse] = &[
    times_out("fork bomb"),
    ends("memory bomb", Why::OutOfMemory),
    gets("scratch filler", 120..=128),
    gets("million files", 60_000..=65_536),
    ends("output flood", Why::Exited),
    gets("descriptor hog", 4_000..=4_096),
    gets("thread hog", 200..=255),
    times_out("zombie maker"),
    times_out("deaf"),
    ends("daemons", Why::Exited),
    gets("held output", 1..=1),
    times_out("busy loop"),
    times_out("busy crowd"),
    times_out("stopped"),
    gets("pipe hog", 1..=256),
];

/// Not a test: what the abuser does when a test has started it in a container.
#[test]
fn inside() {
    if let Ok(act) = std::env::var(MODE) {
        acts::run(&act);
    }
}

#[test]
fn whoever_takes_all_ends_for_the_right_reason_and_leaves_nothing() {
    let root = itself::root("abuse", &[("abuse", 0o755)]);
    let mut wrong = Vec::new();
    println!(
        "\n{:16} {:8} {:>12} {:>9} {:>9} {:>9}",
        "abuse", "policy", "end", "wall ms", "cpu ms", "peak MiB"
    );
    for abuse in ABUSES {
        for policy in [Policy::Once, Policy::Reuse] {
            let found = suffer(abuse, &template(&root, policy));
            wrong.extend(
                found.into_iter().map(|text| format!("\n  {} {policy:?}: {text}", abuse.act)),
            );
            let left = left_of_all();
            wrong.extend(
                left.into_iter().map(|text| format!("\n  {} {policy:?} left {text}", abuse.act)),
            );
        }
    }
    assert!(wrong.is_empty(), "wrong:{}", wrong.concat());
}

/// One container of it; what was wrong.
fn suffer(abuse: &Abuse, template: &Template) -> Vec<String> {
    let pool = Pool::new(template, 1).unwrap();
    pool.settle().unwrap();
    let memory = host_kib();
    let mut command = Command::new("/bin/abuse");
    command.args(WORDS).env(MODE, act_of(abuse)).timeout(abuse.timeout);
    let outcome = command.output(&pool).unwrap();
    show(abuse, pool.policy(), &outcome);
    let mut wrong = judge(abuse, &outcome);
    let grown = host_kib().saturating_sub(memory);
    if grown > HOST_GROWTH_KIB {
        wrong.push(format!("the host grew by {grown} KiB"));
    }
    let next = Command::new("true").output(&pool).unwrap();
    if why(&next) != Why::Exited {
        wrong.push(format!("the next container: {next:?}"));
    }
    // Of the slot nothing lives but, in the pool's reserve, a launcher and what it parked.
    let keeper = template.keeper_pid();
    if !host::within(PATIENCE, || host::below(keeper).len() <= 2) {
        wrong.push(format!("{} processes", host::below(keeper).len()));
    }
    wrong
}

/// The output flood is told how much.
fn act_of(abuse: &Abuse) -> String {
    match abuse.act {
        "output flood" => {
            let mib = std::env::var("LEANBOX_ABUSE_OUTPUT_MIB");
            format!("output_flood {}", mib.map_or(OUTPUT_MIB, |text| text.parse().unwrap()))
        }
        act => act.replace(' ', "_"),
    }
}

fn judge(abuse: &Abuse, outcome: &Outcome) -> Vec<String> {
    let mut wrong = Vec::new();
    if why(outcome) != abuse.why {
        wrong.push(format!("{:?} instead of {:?}: {outcome:?}", why(outcome), abuse.why));
    }
    if abuse.why == Why::TimedOut && outcome.wall > abuse.timeout + PATIENCE {
        wrong.push(format!("its end took {:?}", outcome.wall));
    }
    if outcome.stdout.bytes.len() > KEPT {
        wrong.push(format!("{} bytes were kept", outcome.stdout.bytes.len()));
    }
    let text = String::from_utf8_lossy(&outcome.stdout.bytes);
    let got = text.lines().find_map(|line| line.strip_prefix("got ")?.parse().ok());
    if abuse.got.as_ref().is_some_and(|range| !got.is_some_and(|got| range.contains(&got))) {
        wrong.push(format!("got {got:?}"));
    }
    wrong
}

fn why(outcome: &Outcome) -> Why {
    match outcome {
        Outcome { timed_out: true, .. } => Why::TimedOut,
        Outcome { oom_killed: true, .. } => Why::OutOfMemory,
        Outcome { end: End::Exited(0), .. } => Why::Exited,
        _ => Why::Signaled,
    }
}

fn show(abuse: &Abuse, policy: Policy, outcome: &Outcome) {
    println!(
        "{:16} {:8} {:>12} {:>9} {:>9} {:>9}",
        abuse.act,
        format!("{policy:?}"),
        format!("{:?}", why(outcome)),
        outcome.wall.as_millis(),
        outcome.cpu.as_millis(),
        outcome.memory_peak_bytes >> 20
    );
}

/// What is left when template and pool are gone.
fn left_of_all() -> Vec<String> {
    let name = format!("leanbox-{}-", std::process::id());
    let own = i32::try_from(std::process::id()).unwrap();
    let mut left = Vec::new();
    let gone = host::within(PATIENCE, || {
        left = Vec::new();
        left.extend(host::group_folders(&name).iter().map(|group| group.display().to_string()));
        left.extend(host::below(own).iter().map(|pid| format!("process {pid}")));
        left.extend(records(&name).iter().map(|record| record.display().to_string()));
        left.extend(mounts());
        left.is_empty()
    });
    assert_eq!(gone, left.is_empty());
    left
}

/// Records of what is in use, id blocks among it.
fn records(name: &str) -> Vec<PathBuf> {
    let state = std::env::var_os("LEANBOX_STATE").map_or("/run/leanbox".into(), PathBuf::from);
    let entries = fs::read_dir(state).into_iter().flatten().flatten();
    let own = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(name));
    own.map(|entry| entry.path()).collect()
}

/// On or of this test's folders.
fn mounts() -> Vec<String> {
    let ours = format!("-{}-", std::process::id());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    mounts.lines().filter(|line| line.contains(&ours)).map(String::from).collect()
}

fn host_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    common::field(&status, "VmRSS").trim_end_matches(" kB").trim().parse().unwrap()
}
