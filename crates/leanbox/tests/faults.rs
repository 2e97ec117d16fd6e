//! Each system call that making and starting slots takes, in each process that takes part, fails
//! once with each error that says that something ran out, was interrupted or is forbidden. Every
//! time the host does what was asked, or says in one line why not; in bounded time; nothing runs
//! on; and whoever reclaims next leaves nothing. `LEANBOX_FAULT_POINTS` says how many of these
//! points are tried (60, drawn at random; `all`), `LEANBOX_FAULT_SEED` which,
//! `LEANBOX_FAULT_POLICIES` of what (`once,reuse,shared,nat`), and `LEANBOX_FAULT_SECONDS` how long
//! one may take (15), for machines that are slow.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "faults/driver.rs"]
mod driver;
#[path = "common/host.rs"]
mod host;
#[path = "common/net.rs"]
mod net;
#[path = "faults/trial.rs"]
mod trial;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;
use trial::{Injector, Point, Verdict};

/// What fails: ENOMEM, EAGAIN, EMFILE, ENOSPC, EINTR, EPERM (errno(3)).
const ERRNOS: [i32; 6] = [12, 11, 24, 28, 4, 1];
/// Policies; `nat` is `once` with a network that leads out.
const POLICIES: [&str; 4] = ["once", "reuse", "shared", driver::NAT];

/// No test of its own: the process whose calls fail.
#[test]
fn the_host_whose_calls_fail() {
    driver::run();
}

#[test]
fn any_call_may_fail_and_nothing_hangs_lies_or_stays() {
    if std::env::var_os(driver::ROOT).is_some() {
        return;
    }
    let injector = Injector::build();
    net::on_a_host();
    let asked = std::env::var("LEANBOX_FAULT_POLICIES").unwrap_or(POLICIES.join(","));
    let points = drawn(asked.split(',').flat_map(|policy| injector.points(policy, &ERRNOS)));
    let (count, left) = (points.len(), Mutex::new(points));
    let verdicts = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                net::on_a_host();
                loop {
                    let Some(point) = left.lock().unwrap().pop() else { break };
                    let verdict = injector.try_at(&point);
                    if let Some(complaint) = &verdict.complaint {
                        eprintln!("{point}: {complaint}");
                    }
                    verdicts.lock().unwrap().push((point, verdict));
                }
            });
        }
    });
    report(count, &verdicts.into_inner().unwrap());
}

/// As many as are asked for.
fn drawn(points: impl Iterator<Item = Point>) -> Vec<Point> {
    let mut points: Vec<Point> = points.collect();
    let asked = std::env::var("LEANBOX_FAULT_POINTS").unwrap_or("60".into());
    let count = if asked == "all" { points.len() } else { asked.parse().unwrap() };
    let seed = std::env::var("LEANBOX_FAULT_SEED")
        .map_or_else(|_| u64::from(std::process::id()), |text| text.parse().unwrap());
    eprintln!("faults: {count} of {} points, LEANBOX_FAULT_SEED={seed}", points.len());
    let mut state = seed;
    for last in (1..points.len()).rev() {
        // Knuth's MMIX generator.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let other = usize::try_from(state >> 33).unwrap() % (last + 1);
        points.swap(last, other);
    }
    points.truncate(count);
    points
}

fn report(count: usize, verdicts: &[(Point, Verdict)]) {
    let mut kinds = BTreeMap::new();
    let mut left = BTreeMap::new();
    let mut slowest = Duration::ZERO;
    for (_, verdict) in verdicts {
        *kinds.entry(verdict.kind()).or_insert(0) += 1;
        slowest = slowest.max(verdict.took);
        if verdict.left {
            *left.entry(verdict.call.clone().unwrap_or_default()).or_insert(0) += 1;
        }
    }
    eprintln!("faults: {count} points: {kinds:?}; the slowest took {slowest:?}");
    eprintln!("faults: something was left to reclaim after {left:?}");
    let bad: Vec<String> = verdicts
        .iter()
        .filter_map(|(point, verdict)| Some(format!("{point}: {}", verdict.complaint.as_ref()?)))
        .collect();
    assert!(bad.is_empty(), "{} of {count} points:\n{}", bad.len(), bad.join("\n"));
}
