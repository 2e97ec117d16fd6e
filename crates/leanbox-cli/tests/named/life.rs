//! The life of a detached container, verb by verb.

use super::{Yard, common, within};
use std::os::unix::fs::symlink;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn a_detached_container_runs_is_listed_waited_for_and_removed() {
    let yard = Yard::new("named-life");
    let script = "echo out; echo err >&2; while ! test -e /tmp/go; do sleep 0.05; done; exit 3";
    yard.detach("web", &[], script);
    let listed = yard.leanbox(&["ps"]);
    assert!(listed.out.contains("web") && listed.out.contains("running"), "{listed:?}");
    assert_eq!(yard.status("web")["status"], "running");
    yard.leanbox(&["exec", "web", "sh", "-c", ": >/tmp/go"]).said("");
    let waited = yard.leanbox(&["wait", "web"]);
    assert_eq!((waited.code, waited.out.as_str()), (3, "3"));
    let logs = yard.leanbox(&["logs", "web"]);
    assert_eq!((logs.out.as_str(), logs.err.as_str()), ("out", "err"));
    assert!(!yard.leanbox(&["ps"]).out.contains("web"));
    assert!(yard.leanbox(&["ps", "-a"]).out.contains("exited (3)"));
    let outcome = &yard.status("web")["outcome"];
    assert_eq!(
        (outcome["exited"].as_i64(), outcome["timed_out"].as_bool()),
        (Some(3), Some(false))
    );
    yard.leanbox(&["run", "-d", "--name", "web", "./root", "true"])
        .failed(125, "there is one of this name");
    yard.leanbox(&["rm", "web"]).said("");
    yard.leanbox(&["logs", "web"]).failed(1, "no container of this name");
}

#[test]
fn one_without_a_name_gets_one_and_with_rm_leaves_nothing() {
    let yard = Yard::new("named-rm");
    let begun = yard.leanbox(&["run", "-d", "--rm", "./root", "sleep", "0.2"]);
    assert_eq!((begun.code, begun.err.as_str()), (0, ""));
    assert!(!begun.out.is_empty());
    assert!(within(PATIENCE, || !yard.leanbox(&["ps", "-a"]).out.contains(&begun.out)));
}

#[test]
fn what_cannot_be_started_is_told_at_once_and_leaves_nothing() {
    let yard = Yard::new("named-not");
    yard.leanbox(&["run", "-d", "--name", "no", "./root", "no-such-program"])
        .failed(127, "no-such-program");
    yard.leanbox(&["run", "-d", "--name", "no", "./nothing", "true"]).failed(125, "no such folder");
    yard.leanbox(&["run", "-d", "--name", "../no", "./root", "true"])
        .failed(125, "letters, digits");
    yard.leanbox(&["run", "--name", "no", "./root", "true"]).failed(125, "--detach");
    assert_eq!(yard.leanbox(&["ps", "-a", "--json"]).out, "");
}

#[test]
fn a_second_program_has_our_streams_and_its_exit_code_is_ours() {
    let yard = Yard::new("named-exec");
    yard.detach("box", &[], "sleep 100");
    yard.leanbox(&["exec", "box", "echo", "hello"]).said("hello");
    let mut command = yard.command(&["exec", "box", "cat"]);
    let fed = common::Done::of(common::fed(&mut command, b"fed"));
    assert_eq!((fed.code, fed.out.as_str()), (0, "fed"));
    let words = ["exec", "-e", "A=b", "-w", "/app", "-u", "app", "box", "sh", "-c"];
    let done = yard.leanbox(&[&words[..], &["echo $A; pwd; id -u; exit 7"]].concat());
    assert_eq!((done.code, done.out.as_str()), (7, "b\n/app\n1000"));
    yard.leanbox(&["exec", "box", "no-such-program"]).failed(127, "no-such-program");
    yard.leanbox(&["exec", "-u", "nobody-here", "box", "true"]).failed(127, "nobody-here");
    yard.leanbox(&["exec", "none", "true"]).failed(1, "no container of this name");
    // Whoever waits for one is gone, and it as well.
    let mut waiting = yard.command(&["exec", "box", "sleep", "77"]).spawn().unwrap();
    let sleeps = || {
        yard.leanbox(&["exec", "box", "sh", "-c", "cat /proc/[0-9]*/cmdline"]).out.contains("77")
    };
    assert!(within(PATIENCE, sleeps));
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    assert!(within(PATIENCE, || !sleeps()));
    yard.leanbox(&["kill", "box"]).said("");
    assert_eq!(yard.leanbox(&["wait", "box"]).code, 137);
    yard.leanbox(&["exec", "box", "true"]).failed(1, "is not running: exited (137)");
}

#[test]
fn a_paused_one_stands_still_and_takes_no_second_program() {
    let yard = Yard::new("named-pause");
    yard.detach("box", &[], "while :; do echo tick; sleep 0.05; done");
    yard.leanbox(&["pause", "box"]).said("");
    assert_eq!(yard.status("box")["status"], "paused");
    yard.leanbox(&["exec", "box", "true"]).failed(125, "the container is paused");
    let ticks = || yard.leanbox(&["logs", "box"]).out.lines().count();
    std::thread::sleep(Duration::from_millis(200));
    let before = ticks();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(ticks(), before);
    yard.leanbox(&["unpause", "box"]).said("");
    assert!(within(PATIENCE, || ticks() > before));
    assert_eq!(yard.status("box")["status"], "running");
}

#[test]
fn stop_asks_first_and_kills_what_does_not_hear() {
    let yard = Yard::new("named-stop");
    // Whose trap is set.
    let begin = |name: &str, trap: &str| {
        yard.detach(name, &[], &format!("{trap}; echo set; while :; do sleep 0.05; done"));
        assert!(within(PATIENCE, || yard.leanbox(&["logs", name]).out == "set"));
    };
    begin("hears", "trap 'exit 5' TERM");
    begin("deaf", "trap '' TERM");
    yard.leanbox(&["stop", "hears"]).said("");
    assert_eq!(yard.leanbox(&["wait", "hears"]).out, "5");
    yard.leanbox(&["stop", "-t", "0.3", "deaf"]).said("");
    assert_eq!(yard.leanbox(&["wait", "deaf"]).out, "137");
    yard.leanbox(&["stop", "deaf"]).failed(1, "is not running");
    begin("signalled", "trap 'exit 6' USR1");
    yard.leanbox(&["kill", "-s", "SIGUSR1", "signalled"]).said("");
    assert_eq!(yard.leanbox(&["wait", "signalled"]).out, "6");
}

#[test]
fn a_running_one_is_removed_by_force_only() {
    let yard = Yard::new("named-force");
    yard.detach("box", &[], "sleep 100");
    yard.leanbox(&["rm", "box"]).failed(1, "is running");
    yard.leanbox(&["rm", "-f", "box"]).said("");
    assert_eq!(yard.leanbox(&["ps", "-a", "--json"]).out, "");
}

#[test]
fn logs_follow_to_the_end_and_show_the_last_lines_only() {
    let yard = Yard::new("named-logs");
    let script = "i=0; while [ $i -lt 20 ]; do echo line $i; i=$((i+1)); sleep 0.05; done";
    yard.detach("box", &[], script);
    let followed = yard.leanbox(&["logs", "-f", "box"]);
    assert_eq!(followed.out.lines().count(), 20, "{followed:?}");
    yard.leanbox(&["logs", "--tail", "2", "box"]).said("line 18\nline 19");
    yard.leanbox(&["logs", "--tail", "0", "box"]).said("");
    let stamped = yard.leanbox(&["logs", "-t", "--tail", "1", "box"]).out;
    assert!(stamped.contains('.') && stamped.ends_with(" line 19"), "{stamped}");
}

#[test]
fn stats_tell_what_it_uses_and_update_changes_what_it_may() {
    let yard = Yard::new("stats");
    let script = "dd if=/dev/zero of=/tmp/x bs=1M count=8 2>/dev/null; sleep 60 & sleep 60 & wait";
    yard.detach("box", &["--memory", "64m", "--cpus", "1"], script);
    let stats = || common::json_of(&yard.leanbox(&["stats", "--json", "box"]).out);
    let full = |stats: &serde_json::Value| stats["memory_bytes"].as_u64().unwrap() > 8 << 20;
    assert!(within(PATIENCE, || full(&stats()) && stats()["pids"] == 3), "{}", stats());
    let table = yard.leanbox(&["stats"]);
    assert!(table.out.lines().nth(1).unwrap().starts_with("box "), "{table:?}");
    yard.leanbox(&["update", "--memory", "128m", "--pids", "3", "--cpus", "0.5", "box"]).said("");
    yard.leanbox(&["exec", "box", "true"]).failed(125, "too many processes");
    yard.leanbox(&["update", "--memory", "5m", "box"]).failed(1, "memory");
    yard.leanbox(&["update", "--pids", "16", "box"]).said("");
    yard.leanbox(&["exec", "box", "echo", "again"]).said("again");
    yard.leanbox(&["stats", "nobody"]).failed(1, "nobody");
    yard.leanbox(&["rm", "-f", "box"]).said("");
}

#[test]
fn stats_go_on_until_nothing_runs() {
    let yard = Yard::new("stats-every");
    yard.detach("busy", &["--cpus", "0.2"], "while :; do :; done");
    yard.detach("idle", &["--timeout", "4s"], "sleep 60");
    let mut watching = yard.command(&["stats", "--every", "500ms"]);
    let watching = watching.stdout(std::process::Stdio::piped()).spawn().unwrap();
    assert!(within(PATIENCE, || yard.status("idle")["outcome"].is_object()));
    // Some rounds more, of which it is no part.
    std::thread::sleep(Duration::from_secs(2));
    yard.leanbox(&["kill", "busy"]).said("");
    let output = watching.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let rounds = text.lines().filter(|line| line.starts_with("NAME ")).count();
    let shares: Vec<f64> = text
        .lines()
        .filter(|line| line.starts_with("busy ") && line.contains('%'))
        .map(|line| line.split_whitespace().nth(1).unwrap().parse().unwrap())
        .collect();
    assert!(rounds > 2 && shares.len() > 1, "{text}");
    assert!(shares.iter().any(|share| (1.0..40.0).contains(share)), "{text}");
    let last = text.rsplit("NAME ").next().unwrap();
    assert!(!last.contains("idle "), "{text}");
}

#[test]
fn an_update_sets_what_the_start_left_unlimited() {
    let yard = Yard::new("unlimited");
    yard.detach("box", &[], "while :; do :; done");
    let stats = || common::json_of(&yard.leanbox(&["stats", "--json", "box"]).out);
    assert_eq!(stats()["throttled_periods"], 0);
    assert!(stats()["io_read_bytes"].is_u64(), "{}", stats());
    let words = ["update", "--cpus", "0.1", "--cpuset-cpus", "0", "--cpuset-mems", "0"];
    yard.leanbox(&[&words[..], &["--cpu-weight", "10", "box"]].concat()).said("");
    assert!(within(PATIENCE, || stats()["throttled_periods"].as_u64() > Some(0)), "{}", stats());
    let status = yard.leanbox(&["exec", "box", "cat", "/proc/self/status"]).out;
    assert!(status.contains("Cpus_allowed_list:\t0\n"), "{status}");
    yard.leanbox(&["update", "--cpuset-cpus", "999", "box"]).failed(1, "999 cannot be had");
    yard.leanbox(&["update", "--device-read-bps", "/dev/null:1m", "box"]).failed(2, "/dev/null");
    yard.leanbox(&["rm", "-f", "box"]).said("");
}

#[test]
fn one_joins_the_network_of_another_by_its_name() {
    let yard = Yard::new("joined");
    symlink("busybox", yard.0.0.join("root/bin/nc")).unwrap();
    yard.detach("server", &[], "while :; do echo from the server | nc -l -p 8080; done");
    let join = ["run", "--network", "container:server", "./root", "sh", "-c"];
    let asked = [&join[..], &["nc 127.0.0.1 8080 </dev/null"]].concat();
    assert!(within(PATIENCE, || yard.leanbox(&asked).out == "from the server"));
    let alone = ["run", "./root", "sh", "-c", "nc 127.0.0.1 8080 </dev/null"];
    assert_ne!(yard.leanbox(&alone).code, 0);
    yard.leanbox(&["rm", "-f", "server"]).said("");
    yard.leanbox(&asked).failed(125, "\"server\"");
    let words = ["run", "--network", "container:no/name", "./root", "true"];
    yard.leanbox(&words).failed(125, "letters, digits");
}

#[test]
fn how_and_why_it_ended_is_told_until_it_is_removed() {
    let yard = Yard::new("cause");
    let cause = |name: &str| {
        yard.leanbox(&["wait", name]);
        yard.status(name)["outcome"]["cause"].as_str().unwrap().to_string()
    };
    yard.detach("exit", &[], "exit 3");
    yard.detach("time", &["--timeout", "300ms"], "sleep 60");
    yard.detach("cpu", &["--cpu-time", "300ms"], "while :; do :; done");
    yard.detach("oom", &["--memory", "8m"], "dd if=/dev/zero of=/tmp/x bs=1M count=40");
    yard.detach("kill", &[], "sleep 60");
    yard.leanbox(&["kill", "kill"]).said("");
    let causes = ["exit", "time", "cpu", "oom", "kill"].map(cause);
    assert_eq!(causes, ["exited", "wall_timeout", "cpu_timeout", "oom_killed", "killed"]);
}
