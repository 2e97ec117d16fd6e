//! `leanbox bench compare` beside the tools that are installed. crun, bubblewrap and unshare must
//! be; others are compared where they are.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Done, Place, Running, place};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const LEVELS: [&str; 3] = ["namespaces", "limits", "full"];
/// Program, and the package that it comes in.
const NEEDED: [(&str, &str); 3] =
    [("crun", "crun"), ("bwrap", "bubblewrap"), ("unshare", "util-linux")];
const NAMESPACES: [(&str, &str); 7] = [
    ("pid", "pid namespace"),
    ("mnt", "mount namespace"),
    ("uts", "uts namespace"),
    ("ipc", "ipc namespace"),
    ("net", "network namespace"),
    ("cgroup", "cgroup namespace"),
    ("user", "user namespace"),
];
/// Tells what it has, one line each. Not everybody has a /dev/null, which background jobs need
/// and pipelines do not.
const PROBE: &str = r#"
for name in pid mnt uts ipc net cgroup user; do echo ns $name $(readlink /proc/self/ns/$name); done
grep -E '^(Seccomp|CapEff|NoNewPrivs):' /proc/self/status
awk '$5 == "/" { print "root is a mount" }' /proc/self/mountinfo
(echo >/etc/written) 2>&1 && rm /etc/written && echo root is writable
line='sleep 0.5'
for number in $(seq 300); do line="$line | sleep 0.5"; done
(eval "$line") 2>&1
(awk 'BEGIN { s = sprintf("%560000000s", ""); print "got the memory" }') 2>&1
true
"#;

fn demand_peers() {
    for (program, package) in NEEDED {
        let found = Command::new(program).arg("--version").output();
        assert!(found.is_ok(), "the tests need {program}: apt-get install {package}");
    }
}

/// The command with temporary files and state in the place.
fn command(place: &Place, words: &[&str]) -> Command {
    let mut command = place.leanbox(&[&["bench", "compare"], words].concat());
    command.env("TMPDIR", &place.0).env("LEANBOX_STATE", place.0.join("state"));
    command
}

fn compare(place: &Place, words: &[&str]) -> Done {
    Done::of(command(place, words).output().unwrap())
}

fn compared(place: &Place, words: &[&str]) -> Value {
    let done = compare(place, &[&["--json"], words].concat());
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{done:?}");
    serde_json::from_str(&done.out).unwrap()
}

/// Nothing of this name is in the temporary folder, in a group, or in a process.
fn assert_nothing_left(place: &Place) {
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        let left = left_in(place);
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < until, "left behind: {left:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn left_in(place: &Place) -> Vec<String> {
    let mut left = Vec::new();
    for folder in [place.0.clone(), place.0.join("state")] {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("leanbox-") {
                let inside = fs::read_dir(entry.path()).into_iter().flatten().flatten();
                let inside: Vec<_> = inside.map(|entry| entry.file_name()).collect();
                left.push(format!("{name} with {inside:?}"));
            }
        }
    }
    let folder = place.0.display().to_string();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
        let line = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
        if line.contains(&folder) {
            left.push(line);
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    left.extend(mounts.lines().filter(|line| line.contains(&folder)).map(str::to_string));
    left
}

/// A place for a test that needs peers.
fn own_place(name: &str) -> Place {
    demand_peers();
    place(name)
}

#[test]
fn every_installed_tool_is_timed_at_every_level_and_says_what_it_lacks() {
    let place = own_place("compare-levels");
    let found = compared(&place, &["--runs", "2", "--gap-ms", "1"]);
    assert_eq!((&found["benchmark"], &found["gap_ms"]), (&"compare".into(), &1.into()));
    let levels = found["levels"].as_array().unwrap();
    let names: Vec<&str> = levels.iter().map(|level| level["level"].as_str().unwrap()).collect();
    assert_eq!(names, LEVELS);
    for level in levels {
        let rows = level["rows"].as_array().unwrap();
        assert_eq!(rows[0]["tool"], "leanbox");
        assert_eq!(rows[0]["lacks"], serde_json::json!([]));
        for (tool, _) in NEEDED {
            let row = rows.iter().find(|row| row["tool"] == tool).expect(tool);
            assert!(row["p50_us"].as_f64().unwrap() > 0.0, "{row}");
            assert!(row["p99_us"].as_f64() >= row["p50_us"].as_f64(), "{row}");
            assert!(row["version"].as_str().unwrap().contains('.'), "{row}");
        }
    }
    assert_nothing_left(&place);
}

#[test]
fn what_a_row_says_of_a_tool_is_what_a_program_sees_in_it() {
    let place = own_place("compare-claims");
    let mut command = command(&place, &["--json", "--show", "--", "/bin/sh", "-c", PROBE]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mounts = mount_namespace(&mut child);
    let output = child.wait_with_output().unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let shown = found["shown"].as_array().unwrap();
    assert!(shown.len() >= LEVELS.len() * (1 + NEEDED.len()), "{found}");
    for one in shown {
        let names = |key: &str| -> Vec<String> {
            one[key].as_array().unwrap().iter().map(|name| name.as_str().unwrap().into()).collect()
        };
        let level = one["level"].as_str().unwrap();
        let mut claimed: Vec<String> =
            asked(level).iter().filter(|name| !names("lacks").contains(name)).cloned().collect();
        claimed.extend(names("beyond"));
        claimed.sort();
        let mut seen = seen_in(one["said"].as_str().unwrap(), &mounts);
        seen.sort();
        assert_eq!(seen, claimed, "{}, {level}: {}", one["tool"], one["said"]);
    }
    assert_nothing_left(&place);
}

/// The mount namespace in which the tools are started: where cgroup v2 stands beside v1 it is not
/// ours.
fn mount_namespace(child: &mut Child) -> PathBuf {
    let link = PathBuf::from(format!("/proc/{}/ns/mnt", child.id()));
    std::thread::sleep(Duration::from_secs(1));
    assert!(child.try_wait().unwrap().is_none(), "it ended at once");
    fs::read_link(link).unwrap()
}

/// What a level asks for.
fn asked(level: &str) -> Vec<String> {
    let mut names: Vec<&str> = NAMESPACES[..6].iter().map(|(_, name)| *name).collect();
    names.push("pivot_root");
    if level != "namespaces" {
        names.extend(["memory limit", "pids limit"]);
    }
    if level == "full" {
        names.extend(["seccomp filter", "user namespace", "dropped capabilities"]);
        names.extend(["no_new_privs", "read-only root"]);
    }
    names.into_iter().map(str::to_string).collect()
}

/// What the probe saw.
fn seen_in(said: &str, mounts: &Path) -> Vec<String> {
    let value = |begin: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(begin));
        line.unwrap_or_else(|| panic!("no {begin:?} in {said}")).trim().to_string()
    };
    let mut seen: Vec<&str> = Vec::new();
    for (file, name) in NAMESPACES {
        let ours = || fs::read_link(Path::new("/proc/self/ns").join(file)).unwrap();
        let outside = if file == "mnt" { mounts.to_path_buf() } else { ours() };
        if value(&format!("ns {file} ")) != outside.display().to_string() {
            seen.push(name);
        }
    }
    // Whole lines: a tool may print the script itself.
    let tells = |text: &str| said.lines().any(|line| line == text);
    let own_mounts = seen.contains(&"mount namespace");
    let facts = [
        (own_mounts && tells("root is a mount"), "pivot_root"),
        (!tells("got the memory"), "memory limit"),
        (said.contains("can't fork: Resource temporarily unavailable"), "pids limit"),
        (value("Seccomp:") == "2", "seccomp filter"),
        (value("CapEff:").bytes().all(|digit| digit == b'0'), "dropped capabilities"),
        (value("NoNewPrivs:") == "1", "no_new_privs"),
        (!tells("root is writable"), "read-only root"),
    ];
    seen.extend(facts.iter().filter(|(fact, _)| *fact).map(|(_, name)| *name));
    seen.into_iter().map(str::to_string).collect()
}

#[test]
fn only_selects_tools_and_level_selects_levels() {
    let place = own_place("compare-only");
    let words = ["--runs", "1", "--only", "bwrap,unshare", "--level", "limits"];
    let found = compared(&place, &words);
    let levels = found["levels"].as_array().unwrap();
    assert_eq!((levels.len(), &levels[0]["level"]), (1, &"limits".into()));
    let rows = levels[0]["rows"].as_array().unwrap();
    let tools: Vec<&str> = rows.iter().map(|row| row["tool"].as_str().unwrap()).collect();
    assert_eq!(tools, ["leanbox", "bwrap", "unshare"]);
}

#[test]
fn a_tool_that_is_not_there_or_cannot_work_is_listed_with_the_reason() {
    let place = own_place("compare-absent");
    let bin = place.0.join("tools");
    fs::create_dir(&bin).unwrap();
    for (name, script) in [
        ("docker", "echo noise >&2; echo 'no engine answers' >&2; exit 1"),
        ("runc", "[ $1 = --version ] && echo runc version 9.9 || { echo no room >&2; exit 1; }"),
    ] {
        place.program(&format!("../tools/{name}"), &format!("#!/bin/sh\n{script}\n"));
    }
    let words = ["--json", "--runs", "1", "--only", "docker,runc,crun", "--level", "full"];
    let mut command = command(&place, &words);
    let output = command.env("PATH", format!("{}:/bin", bin.display())).output().unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let absent = found["absent"].as_array().unwrap();
    let reason = |tool: &str| {
        let one = absent.iter().find(|one| one["tool"] == tool);
        one.map(|one| one["reason"].as_str().unwrap().to_string())
    };
    assert_eq!(reason("docker").as_deref(), Some("no engine answers"));
    assert_eq!(reason("runc").as_deref(), Some("runc: exit status: 1: no room"));
    let in_bin = Path::new("/bin/crun").exists();
    assert_eq!(reason("crun").as_deref(), (!in_bin).then_some("not installed"));
}

#[test]
fn rates_and_bursts_stand_beside_cruns() {
    let place = own_place("compare-rates");
    let words = ["--runs", "0", "--sustained", "1.2", "--burst", "12", "--reserve", "4"];
    let found = compared(&place, &words);
    assert_eq!(found["levels"], serde_json::json!([]));
    for key in ["sustained", "burst"] {
        let rows = found[key].as_array().unwrap();
        let tools: Vec<&str> = rows.iter().map(|row| row["tool"].as_str().unwrap()).collect();
        assert_eq!(tools, ["leanbox", "crun"], "{key}");
    }
    let sustained = &found["sustained"];
    let rate = |at: usize| sustained[at]["rate"].as_f64().unwrap();
    let seconds = sustained[0]["seconds"].as_f64().unwrap();
    assert!(rate(0) > rate(1) && rate(1) > 0.0, "{sustained}");
    assert!((0.6..1.2).contains(&seconds), "blocks of a sixth each: {sustained}");
    let ratio = found["sustained_ratio"].as_f64().unwrap();
    assert!((ratio - rate(0) / rate(1)).abs() < 1e-6);
    for burst in found["burst"].as_array().unwrap() {
        assert_eq!(burst["count"], 12);
        assert!(burst["last_us"].as_f64() >= burst["p50_us"].as_f64(), "{burst}");
    }
    assert_nothing_left(&place);
}

#[test]
fn words_that_make_no_sense_are_one_line() {
    let place = own_place("compare-words");
    let cases: [(&[&str], i32, &str); 6] = [
        (&["--only", "chroot"], 2, "the tools are leanbox, crun"),
        (&["--level", "most"], 2, "the levels are namespaces, limits, full"),
        (&["--runs", "0"], 1, "--runs 0 measures nothing"),
        (&["--sustained", "0"], 1, "a number above 0"),
        (&["--", "true"], 1, "not an absolute path"),
        (&["--runs", "1", "--", "/bin/false"], 1, "exit status: 1"),
    ];
    for (words, code, line) in cases {
        let done = compare(&place, words);
        done.failed(code, line);
        assert_nothing_left(&place);
    }
}

#[test]
fn a_signal_ends_what_runs_and_leaves_nothing_in_any_tool() {
    let place = own_place("compare-signal");
    // The tool's turn comes when all before it have shown what they have; leanbox is first.
    for (tool, signal, code) in [
        ("leanbox", "TERM", 143),
        ("crun", "INT", 130),
        ("crun", "TERM", 143),
        ("runc", "INT", 130),
        ("youki", "INT", 130),
        ("bwrap", "INT", 130),
        ("unshare", "TERM", 143),
        ("sandlock", "INT", 130),
        ("podman", "INT", 130),
    ] {
        if is_installed(tool) {
            interrupted_in(&place, tool, signal, code);
        }
    }
}

fn is_installed(tool: &str) -> bool {
    tool == "leanbox" || Command::new(tool).arg("--version").output().is_ok()
}

/// leanbox comes first and ends at once; the tool's program runs on, until the signal.
fn interrupted_in(place: &Place, tool: &str, signal: &str, code: i32) {
    let script = if tool == "leanbox" {
        "exec sleep 98765"
    } else {
        "grep -q leanbox-init /proc/1/comm || exec sleep 98765"
    };
    let words = ["--show", "--only", tool, "--level", "limits", "--", "/bin/sh", "-c", script];
    let running = Ending(Some(Running::start(place, &mut command(place, &words))));
    let until = Instant::now() + Duration::from_secs(20);
    let is_tool = |line: &String| line.split(' ').next().unwrap().ends_with(tool);
    while !(left_in(place).iter().any(is_tool) && has_sleeper()) {
        assert!(Instant::now() < until, "{tool}: the program did not run");
        std::thread::sleep(Duration::from_millis(10));
    }
    let pid = running.end(signal, code);
    assert_nothing_left(place);
    assert_eq!(left_groups(pid), Vec::<String>::new(), "{tool}");
    assert!(!has_sleeper(), "{tool}: the program lives");
}

/// A comparison that ends with this value and so takes its containers along, as one that is
/// killed does not.
struct Ending(Option<Running>);

impl Ending {
    /// Ends it by a signal; its pid.
    #[track_caller]
    fn end(mut self, signal: &str, code: i32) -> u32 {
        let running = self.0.take().unwrap();
        let pid = running.child.id();
        running.signal(signal);
        assert_eq!(running.end(), (code, String::new()));
        pid
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let Some(running) = &mut self.0 else { return };
        running.signal("TERM");
        for _ in 0..2000 {
            if matches!(running.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Whether a program of this test runs in any tool.
fn has_sleeper() -> bool {
    fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        fs::read(entry.path().join("cmdline")).is_ok_and(|line| line == b"sleep\x0098765\0")
    })
}

#[test]
fn a_signal_ends_the_loops_of_rates_and_bursts() {
    let place = own_place("compare-signal-rates");
    for words in [["--sustained", "60"], ["--burst", "2000"]] {
        let words = [&["--runs", "0"], &words[..]].concat();
        let running = Ending(Some(Running::start(&place, &mut command(&place, &words))));
        std::thread::sleep(Duration::from_millis(1500));
        let pid = running.end("INT", 130);
        assert_nothing_left(&place);
        assert_eq!(left_groups(pid), Vec::<String>::new(), "{words:?}");
    }
}

/// Groups of that process's comparison.
fn left_groups(pid: u32) -> Vec<String> {
    let name = format!("leanbox-compare-{pid}");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounts = mounts.lines().filter(|line| line.contains(" - cgroup"));
    let mut left = Vec::new();
    for mount in mounts.filter_map(|line| line.split(' ').nth(4)) {
        let groups = fs::read_dir(mount).into_iter().flatten().flatten();
        let names = groups.map(|group| group.file_name().to_string_lossy().into_owned());
        left.extend(names.filter(|group| group.contains(&name)));
    }
    left
}
