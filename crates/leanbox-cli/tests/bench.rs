//! `leanbox bench`, through the built command: every way to drive it gives its fields, what makes
//! no sense is one line, and whatever ends it leaves nothing.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "common/mod.rs"]
mod common;

use common::{Done, Place, Running, json_of, place};
use serde_json::Value;
use std::fs;
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

const SHORT: [&str; 4] = ["--seconds", "0.2", "--turns", "1"];

/// `leanbox bench WORDS --json` to its end, which must be a good one.
#[track_caller]
fn report(place: &Place, words: &[&str]) -> Value {
    let words = [&["bench", words[0], "--json"], &words[1..]].concat();
    let done = Done::of(place.leanbox(&words).output().unwrap());
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(done.out.lines().count(), 1, "{done:?}");
    json_of(&done.out)
}

#[track_caller]
fn start(place: &Place, words: &[&str]) -> Value {
    let report = report(place, &[&["start"], &SHORT[..], words].concat());
    let flat = "mode policy pinned_cpu starts seconds p50_us p99_us max_us sustained_per_second \
                floor_p50_us classic_p50_us ratio_to_floor times_faster_than_classic leaked \
                kernel_processes sustained vfork vfork_exec fork classic machine distribution \
                floor_before floor_after cycle cycle_ratio_to_floor turns converged processes";
    for field in flat.split_whitespace() {
        assert!(report.get(field).is_some(), "{field} is not in {report}");
    }
    assert_eq!(report["benchmark"], "start");
    assert_eq!(report["leaked"], 0, "{report}");
    for field in ["starts", "p50_us", "floor_p50_us", "classic_p50_us", "sustained_per_second"] {
        assert!(report[field].as_f64().unwrap() > 0.0, "{field} of {report}");
    }
    for row in ["leanbox", "floor", "classic"] {
        let rows = report["distribution"][row].as_array().unwrap();
        assert_eq!((rows.len(), &rows[0][0], &rows[102][0]), (103, &0.0.into(), &1.0.into()));
        let times = rows.iter().map(|row| row[1].as_f64().unwrap());
        assert!(times.is_sorted(), "{rows:?}");
    }
    report
}

#[test]
fn every_mode_and_policy_reports_itself() {
    let place = place("bench-modes");
    for (words, mode, policy) in [
        (&["--policy", "once"][..], "noop", "once"),
        (&["--mode", "exec", "--policy", "reuse"], "exec", "reuse"),
        (&["--policy", "shared"], "noop", "shared"),
        (&["--mode", "fork"], "fork", "shared"),
        (&["--mode", "cold"], "cold", "once"),
    ] {
        let report = start(&place, words);
        assert_eq!((&report["mode"], &report["policy"]), (&mode.into(), &policy.into()));
        assert_eq!(report["fork_of_small"].is_object(), mode == "fork");
        assert_eq!(report["dirty"].is_object(), policy == "reuse", "{report}");
    }
}

#[test]
fn pausing_is_measured_for_each_number_of_processes() {
    let place = place("bench-pause");
    let report = report(&place, &["pause", "--processes", "1,20", "--pin", "0"]);
    assert_eq!((&report["benchmark"], &report["pinned_cpu"]), (&"pause".into(), &0.into()));
    let rows = report["rows"].as_array().unwrap();
    let counts: Vec<_> = rows.iter().map(|row| row["processes"].as_u64().unwrap()).collect();
    assert_eq!(counts, [1, 20]);
    let fields = "pause_p50_us pause_p99_us unpause_p50_us unpause_p99_us round_p50_us \
                  round_p99_us first_pause_us";
    for (row, field) in rows.iter().flat_map(|row| fields.split_whitespace().map(move |f| (row, f)))
    {
        assert!(row[field].as_f64().unwrap() > 0.0, "{field} of {row}");
    }
    let words = ["bench", "pause", "--processes", "1000"];
    Done::of(place.leanbox(&words).output().unwrap()).failed(1, "from 1 to 250");
}

#[test]
fn a_machine_says_what_it_is_and_how_quiet_it_was() {
    let place = place("bench-machine");
    let machine = &start(&place, &["--policy", "reuse"])["machine"];
    for field in ["kernel", "cpu", "cgroups", "leanbox", "build", "linkage", "date"] {
        assert!(!machine[field].as_str().unwrap().is_empty(), "{field} of {machine}");
    }
    assert!(machine["cpus"].as_u64().unwrap() > 0);
    for field in ["others_percent_before", "steal_percent", "load_after", "vfork_before_us"] {
        assert!(machine["noise"][field].is_number(), "{field} of {machine}");
    }
}

#[test]
fn a_command_in_a_root_is_started_again_and_again() {
    let place = place("bench-command");
    let report = start(&place, &["--rootfs", "./root", "--", "sh", "-c", "exit 0"]);
    assert_eq!(report["mode"], "command");
    let words =
        ["bench", "start", "--seconds", "5", "--rootfs", "./root", "--", "sh", "-c", "exit 3"];
    let done = Done::of(place.leanbox(&words).output().unwrap());
    done.failed(1, "ended with code 3");
}

#[test]
fn several_processes_are_merged_into_lines_of_all() {
    let place = place("bench-processes");
    let words = ["bench", "start", "--seconds", "1.3", "--turns", "1", "--processes", "3"];
    let words = [&words[..], &["--policy", "reuse", "--name", "all", "--json"]].concat();
    let done = Done::of(place.leanbox(&words).output().unwrap());
    let report = json_of(&done.out);
    let lines: Vec<&str> = done.err.lines().collect();
    assert_eq!((done.code, lines.len()), (0, 2), "{done:?}");
    assert!(lines[0].starts_with("@all        start "), "{done:?}");
    assert!(lines[1].contains("total: start "), "{done:?}");
    let count = |line: &str| -> u64 {
        line.split(' ').skip_while(|word| *word != "start").nth(1).unwrap().parse().unwrap()
    };
    assert_eq!(count(lines[1]), report["starts"].as_u64().unwrap());
    assert!(count(lines[0]) <= count(lines[1]) && count(lines[0]) > 0, "{done:?}");
    assert_eq!(report["processes"], 3);
    let counted = report["sustained"]["count"].as_u64().unwrap();
    assert_eq!(counted, report["starts"].as_u64().unwrap());
}

#[test]
fn threads_share_a_pool() {
    let place = place("bench-threads");
    let report = start(&place, &["--threads", "3", "--reserve", "3"]);
    assert_eq!(report["threads"], 3);
    start(&place, &["--threads", "2", "--processes", "2", "--policy", "reuse"]);
}

#[test]
fn a_rate_gives_an_open_loop() {
    let place = place("bench-rate");
    for processes in ["1", "2"] {
        let report = start(&place, &["--rate", "200", "--processes", processes]);
        let open = &report["open_loop"];
        assert_eq!(open["offered_rate"], 200.0);
        let arrivals = open["arrivals"].as_u64().unwrap();
        assert!((5..100).contains(&arrivals), "{open}");
        assert_eq!(open["count"], arrivals);
        let started = report["starts"].as_u64().unwrap() + open["unserved"].as_u64().unwrap();
        assert_eq!(started, arrivals);
        assert!(open["p99_us"].as_f64() >= open["p50_us"].as_f64(), "{open}");
        assert!(open["achieved_rate"].as_f64().unwrap() > 0.0 && open["late"].is_u64());
    }
}

#[test]
fn a_sweep_has_a_row_for_each_number_of_processes() {
    let place = place("bench-sweep");
    let words = ["sweep", "--processes", "1,2", "--seconds", "0.2", "--mode", "exec"];
    let report = report(&place, &words);
    assert_eq!((&report["benchmark"], &report["policy"]), (&"sweep".into(), &"reuse".into()));
    assert!(report["machine"]["kernel"].is_string());
    let rows = report["rows"].as_array().unwrap();
    let processes: Vec<_> = rows.iter().map(|row| row["processes"].as_u64().unwrap()).collect();
    assert_eq!(processes, [1, 2]);
    for row in rows {
        for who in ["leanbox", "classic", "floor", "vfork"] {
            for field in ["rate", "p50_us", "p99_us", "cpu", "starts_per_cpu_second"] {
                assert!(row[who][field].as_f64().unwrap() > 0.0, "{who} {field} of {row}");
            }
        }
    }
    assert!(report["peaks"]["leanbox"]["kept"].as_f64().unwrap() <= 1.0);
    assert_eq!(report["leaked"], 0);
}

#[test]
fn growth_has_rows_and_tenths_and_leaks_nothing() {
    let place = place("bench-growth");
    let words = ["growth", "--containers", "1,120", "--starts", "100", "--network", "host"];
    let report = report(&place, &words);
    assert_eq!((&report["benchmark"], &report["network"]), (&"growth".into(), &"host".into()));
    let rows = report["rows"].as_array().unwrap();
    let kinds: Vec<_> =
        rows.iter().map(|row| (row["containers"].as_u64(), &row["state"])).collect();
    let (idle, live) = (Value::from("idle"), Value::from("live"));
    assert_eq!(kinds, [(Some(1), &idle), (Some(120), &idle), (Some(1), &live), (Some(120), &live)]);
    for row in rows {
        assert!(row["p50_us"].as_f64() > Some(0.0) && row["memory_kib_each"].is_number(), "{row}");
        assert!(row["grown"].is_array(), "{row}");
    }
    assert_eq!(report["starts"].as_array().unwrap().len(), 10);
    assert_eq!((&report["total_starts"], &report["leaked"]), (&100.into(), &0.into()));
    assert!(report["before"]["namespaces"].as_u64() > Some(0), "{report}");
}

#[test]
fn what_makes_no_sense_is_one_line() {
    let place = place("bench-words");
    let refused = |code: i32, words: &[&str], text: &str| {
        Done::of(place.leanbox(&[&["bench"], words].concat()).output().unwrap()).failed(code, text);
    };
    for seconds in ["0", "-1", "nan", "inf", "1e9"] {
        refused(1, &["start", "--seconds", seconds], "--seconds");
    }
    for rate in ["0", "-5", "nan", "inf"] {
        refused(1, &["start", "--rate", rate], "--rate");
    }
    for option in ["--processes", "--threads", "--reserve", "--turns"] {
        for count in ["0", "-1", "nan", "1.5"] {
            refused(2, &["start", option, count], option);
        }
    }
    refused(1, &["start", "--processes", "65"], "from 1 to 64");
    refused(1, &["start", "--threads", "257"], "from 1 to 256");
    refused(1, &["start", "--reserve", "5000"], "from 1 to 4096");
    refused(1, &["start", "--pin", "9999"], "sched_setaffinity");
    refused(1, &["start", "--mode", "fork", "--policy", "once"], "no --policy");
    refused(1, &["start", "--mode", "cold", "--policy", "once"], "no --policy");
    refused(2, &["start", "--rootfs", "./root"], "COMMAND");
    refused(2, &["start", "--", "true"], "--rootfs");
    refused(1, &["start", "--rootfs", "./none", "--", "true"], "./none");
    refused(1, &["sweep", "--processes", "1,65"], "from 1 to 64");
    refused(2, &["sweep", "--processes", "1,0"], "--processes");
    refused(1, &["growth", "--containers", "100000"], "from 1 to 4000");
    refused(1, &["growth", "--seconds", "-1"], "--seconds");
}

/// The children of a process.
fn children_of(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    list.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

fn records_of(pid: u32) -> usize {
    let folder = fs::read_dir("/run/leanbox").into_iter().flatten().flatten();
    let prefix = format!("leanbox-{pid}-");
    folder.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)).count()
}

#[track_caller]
fn within_seconds(seconds: u64, what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(seconds);
    while !is_so() {
        assert!(Instant::now() < until, "not in {seconds} s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn ctrl_c_prints_the_totals_so_far_and_leaves_nothing() {
    let place = place("bench-interrupt");
    for processes in ["1", "2"] {
        let words = ["bench", "start", "--seconds", "60", "--processes", processes];
        // as a terminal does it: to the whole group
        let running = Running::start(&place, place.leanbox(&words).process_group(0));
        running.await_text("start ");
        let pid = running.child.id();
        let drivers = children_of(pid);
        let group = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        rustix::process::kill_process_group(group, rustix::process::Signal::INT).unwrap();
        let (code, out) = running.end();
        assert_eq!(code, 130, "{out}");
        assert!(out.contains("total: start ") && out.ends_with("leaked: nothing\n"), "{out}");
        let left: usize = drivers.iter().copied().chain([pid]).map(records_of).sum();
        assert_eq!(left, 0, "records are left");
        assert!(drivers.iter().all(|pid| !fs::exists(format!("/proc/{pid}")).unwrap()));
    }
}

#[test]
fn ctrl_c_in_any_benchmark_leaves_nothing() {
    let place = place("bench-interrupt-others");
    let sweep = ["sweep", "--seconds", "60", "--processes", "2"];
    let growth = ["growth", "--containers", "2", "--starts", "2000000000"];
    let command = ["start", "--seconds", "60", "--rootfs", "./root", "--", "sleep", "60"];
    for (words, text) in [(&sweep[..], "processes"), (&growth, "idle"), (&command, "")] {
        let words = [&["bench"], words].concat();
        let running = Running::start(&place, place.leanbox(&words).process_group(0));
        running.await_text(text);
        let pid = running.child.id();
        // What it registers comes after it heeds signals.
        within_seconds(30, "it has begun", || {
            let all = children_of(pid).into_iter().chain([pid]);
            all.map(records_of).sum::<usize>() > 0
        });
        std::thread::sleep(Duration::from_millis(300));
        running.signal("INT");
        let (code, out) = running.end();
        assert_eq!(code, 130, "{words:?}: {out}");
        assert_eq!(records_of(pid), 0, "{words:?}");
    }
}

#[test]
fn drivers_end_with_a_parent_that_is_killed() {
    let place = place("bench-killed");
    let words = ["bench", "start", "--seconds", "60", "--processes", "2"];
    let running = Running::start(&place, place.leanbox(&words).process_group(0));
    running.await_text("start ");
    let drivers = children_of(running.child.id());
    assert!(drivers.len() >= 2, "{drivers:?}");
    let parent = running.child.id();
    running.signal("KILL");
    within_seconds(5, "the drivers have ended", || {
        drivers.iter().all(|pid| !fs::exists(format!("/proc/{pid}")).unwrap())
    });
    assert_eq!(drivers.iter().copied().map(records_of).sum::<usize>(), 0);
    for pid in drivers.into_iter().chain([parent]) {
        let folder = format!("leanbox-bench-{pid}-");
        assert!(!common::has_entry(&std::env::temp_dir(), &folder), "{folder} is left");
    }
}

#[test]
fn a_driver_without_a_job_ends_at_once_and_without_a_panic() {
    let place = place("bench-driver");
    let done = Done::of(place.leanbox(&["bench", "driver"]).output().unwrap());
    assert!(done.out.contains("not a driver's job"), "{done:?}");
    assert_eq!(done.err, "");
}
