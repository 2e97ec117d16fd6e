//! `leanbox run` on a real kernel: exit codes, streams, signals, limits, identity.

mod common;

use common::{Done, Running, fed, json_of, place};
use std::fs;
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

#[test]
fn it_exits_with_the_programs_code() {
    let place = place("code");
    place.run(&[], &["true"]).said("");
    assert_eq!(place.sh(&[], "exit 7").code, 7);
    assert_eq!(place.sh(&[], "exit 255").code, 255);
}

#[test]
fn a_signal_that_ends_the_program_becomes_128_and_its_number() {
    let place = place("signal-code");
    assert_eq!(place.sh(&[], "kill -TERM $$").code, 143);
    assert_eq!(place.sh(&[], "kill -KILL $$").code, 137);
}

#[test]
fn what_is_not_there_is_127_and_what_cannot_be_executed_126() {
    let place = place("exec");
    place.file("app/data", "text");
    place.program("app/garbage", "\u{1}\u{2}\u{3}");
    place.run(&[], &["nope"]).failed(127, "nope");
    place.run(&[], &["/app/nope"]).failed(127, "/app/nope");
    place.run(&[], &["/app/data"]).failed(126, "not executable");
    place.run(&[], &["/app/garbage"]).failed(126, "not a program");
}

#[test]
fn input_output_and_errors_are_streamed() {
    let place = place("streams");
    let input = vec![b'x'; 3 << 20];
    let mut command = place.leanbox(&["run", "./root", "sh", "-c", "cat; echo done >&2"]);
    let output = fed(&mut command, &input);
    assert_eq!(output.stdout.len(), input.len());
    assert_eq!(output.stdout, input);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "done\n");
}

#[test]
fn output_arrives_while_the_program_runs() {
    let place = place("live");
    let mut command = place.leanbox(&["run", "./root", "sh", "-c", "echo first; sleep 30"]);
    let running = Running::start(&place, &mut command);
    running.await_text("first");
    running.signal("TERM");
    assert_eq!(running.end().0, 143);
}

#[test]
fn a_reader_that_goes_away_ends_the_program() {
    let place = place("pipe");
    let bin = env!("CARGO_BIN_EXE_leanbox");
    let script = format!("{bin} run ./root yes | head -n 1");
    let mut shell = std::process::Command::new("sh");
    let output = shell.args(["-c", &script]).current_dir(&place.0).output().unwrap();
    Done::of(output).said("y");
}

#[test]
fn signals_are_forwarded_to_the_program() {
    let place = place("forward");
    let script = "for s in HUP INT QUIT USR1 USR2; do trap \"echo got $s\" $s; done; \
        trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let mut command = place.leanbox(&["run", "./root", "sh", "-c", script]);
    let running = Running::start(&place, &mut command);
    running.await_text("ready");
    for signal in ["HUP", "INT", "QUIT", "USR1", "USR2"] {
        running.signal(signal);
        running.await_text(&format!("got {signal}"));
    }
    running.signal("TERM");
    assert_eq!(running.end().0, 9);
}

#[test]
fn a_hangup_that_was_ignored_stays_ignored() {
    let place = place("nohup");
    let bin = env!("CARGO_BIN_EXE_leanbox");
    let script = format!("trap '' HUP; exec {bin} run ./root sh -c 'echo ready; sleep 0.5'");
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &script]).current_dir(&place.0);
    let running = Running::start(&place, &mut command);
    running.await_text("ready");
    running.signal("HUP");
    assert_eq!(running.end().0, 0);
}

#[test]
fn a_timeout_kills_what_ignores_signals_and_is_124() {
    let place = place("timeout");
    let began = Instant::now();
    let done = place.sh(&["--timeout", "300ms"], "trap '' TERM INT HUP; sleep 20");
    assert!(began.elapsed() < Duration::from_secs(10));
    done.failed(124, "timed out after 0.3 s");
    place.run(&["--timeout", "20"], &["true"]).said("");
}

#[test]
fn going_past_the_memory_limit_is_137_with_one_line() {
    let place = place("oom");
    let done = place.sh(&["--memory", "16m"], "x=$(yes)");
    done.failed(137, "out of memory: killed at the limit of 16 MiB");
}

#[test]
fn a_child_killed_for_memory_leaves_the_programs_own_code() {
    let place = place("oom-child");
    // The kernel's choice among the three is not a matter of size alone.
    let victim = "echo 1000 > /proc/self/oom_score_adj; x=$(yes)";
    let script = format!("exec 2>/dev/null; sh -c '{victim}' & wait $!; exit 3");
    let done = place.sh(&["--memory", "16m"], &script);
    done.failed(3, "one of its processes was killed");
}

#[test]
fn processes_beyond_the_limit_are_refused() {
    let place = place("pids");
    let done = place.sh(&["--pids", "3"], "sleep 1 & sleep 1 & sleep 1 & echo all");
    assert_ne!(done.out, "all");
    assert!(done.err.contains("fork"), "{done:?}");
}

#[test]
fn the_cpu_limit_slows_a_busy_program_down() {
    let place = place("cpus");
    let busy = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
    let json = place.sh(&["--cpus", "0.1", "--json"], busy);
    assert_eq!(json.code, 0, "{json:?}");
    let number = |name| json_of(&json.err)[name].as_u64().unwrap();
    assert!(number("wall_us") > 3 * number("cpu_us"), "{json:?}");
}

#[test]
fn nonsense_limits_are_refused_before_anything_runs() {
    let place = place("nonsense");
    let cases: &[(&[&str], &str)] = &[
        (&["--memory", "1"], "memory limit of 1 byte: at least"),
        (&["--memory", "-5m"], "is not a size"),
        (&["--memory", "lots"], "is not a size"),
        (&["--cpus", "-3"], "is not a number of cpus"),
        (&["--cpus", "0"], "is not a number of cpus"),
        (&["--pids", "0"], "at least 1 process"),
        (&["--pids", "-1"], "--pids"),
        (&["--timeout", "0"], "is not a time above 0"),
        (&["--timeout", "soon"], "is not a time above 0"),
        (&["--tmp-size", "1"], "size of /tmp"),
        (&["--cap-add", "FLY"], "is not a capability"),
        (&["--env", "=x"], "is not a variable"),
        (&["--workdir", "app"], "is not an absolute path"),
        (&["--hostname", "a b"], "is not a host name"),
        (&["--user", "nobody-here"], "/etc/passwd"),
        (&["--user", "70000"], "ids inside go up to"),
        (&["--frobnicate"], "unexpected argument"),
    ];
    for (options, words) in cases {
        let done = place.run(options, &["echo", "ran"]);
        done.failed(125, words);
        assert_eq!(done.out, "");
    }
}

#[test]
fn the_environment_is_the_images_then_the_callers_and_nothing_of_the_host() {
    let place = place("env");
    place.config(r#"{"Env":["A=image","B=image"]}"#);
    let options = ["--env", "B=mine", "--env", "FROM_HOST", "--env", "NOT_THERE"];
    let words = [&["run"], &options[..], &["./root", "/bin/env"]].concat();
    let mut command = place.leanbox(&words);
    let output = command.env("FROM_HOST", "told").env("SECRET", "x").output().unwrap();
    let done = Done::of(output);
    let mut lines: Vec<&str> = done.out.lines().collect();
    lines.sort_unstable();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(lines, ["A=image", "B=mine", "FROM_HOST=told", "HOME=/root", path]);
}

#[test]
fn user_folder_and_host_name_are_as_asked() {
    let place = place("identity");
    let options = ["--user", "app", "--workdir", "/tmp", "--hostname", "web-1"];
    place.sh(&options, "id -u; pwd; hostname").said("1000\n/tmp\nweb-1");
    place.sh(&[], "id -u; pwd; hostname").said("0\n/\nleanbox");
    place.run(&["--user", "7:8"], &["id", "-g"]).said("8");
    place.config(r#"{"User":"app","WorkingDir":"/app"}"#);
    place.sh(&[], "id -u; pwd").said("1000\n/app");
}

#[test]
fn capabilities_are_none_unless_asked_for() {
    let place = place("caps");
    let effective = "while read k v; do [ $k = CapEff: ] && echo $v; done < /proc/self/status; :";
    place.sh(&[], effective).said("0000000000000000");
    place.sh(&["--cap-add", "chown,CAP_NET_RAW"], effective).said("0000000000002001");
    place.sh(&["--cap-add", "ALL"], effective).said("000001ffffffffff");
}

#[test]
fn the_scratch_folder_is_as_large_as_asked() {
    let place = place("tmp");
    let fill = "dd if=/dev/zero of=/tmp/x bs=1k count=2000 2>/dev/null; wc -c < /tmp/x";
    place.sh(&["--tmp-size", "1m"], fill).said("1048576");
}

#[test]
fn json_is_the_last_line_of_standard_error() {
    let place = place("json");
    let done = place.sh(&["--json"], "echo words >&2; exit 3");
    assert_eq!(done.code, 3);
    let json = json_of(&done.err);
    assert_eq!(json["exit_code"], 3);
    assert_eq!(json["exited"], 3);
    assert_eq!(json["signal"], serde_json::Value::Null);
    assert_eq!(json["timed_out"], false);
    // v2 tells it from Linux 5.19 on.
    let old = leanbox::probe::kernel_version() < (5, 19);
    assert!(json["memory_peak_bytes"].as_u64().unwrap() > 0 || old);
    assert!(json["wall_us"].as_u64().unwrap() >= json["start_us"].as_u64().unwrap());
}

#[test]
fn json_goes_to_a_file_or_to_standard_output_if_asked() {
    let place = place("json-file");
    let done = place.sh(&["--json=outcome.json"], "kill -TERM $$");
    assert_eq!((done.code, done.err.as_str()), (143, ""));
    let json = json_of(&fs::read_to_string(place.0.join("outcome.json")).unwrap());
    assert_eq!(json["signal"], 15);
    let done = place.run(&["--json=-"], &["echo", "hi"]);
    assert_eq!(done.out.lines().next(), Some("hi"));
    assert_eq!(json_of(&done.out)["exit_code"], 0);
    place.run(&["--json=no/such/folder"], &["echo", "ran"]).failed(125, "no/such/folder");
}

#[test]
fn json_tells_of_a_program_that_did_not_start() {
    let place = place("json-error");
    let done = place.run(&["--json"], &["nope"]);
    assert_eq!(done.code, 127);
    let json = json_of(&done.err);
    assert_eq!(json["exit_code"], 127);
    assert!(json["error"].as_str().unwrap().contains("nope"));
}

#[test]
fn words_behind_the_root_are_the_programs_even_if_they_look_like_options() {
    let place = place("words");
    place.run(&[], &["echo", "--memory", "1", "-h", "--"]).said("--memory 1 -h --");
    place.run(&[], &["--memory", "64m", "true"]).failed(127, "options go before");
}

#[test]
fn it_runs_without_standard_streams() {
    let place = place("closed");
    let bin = env!("CARGO_BIN_EXE_leanbox");
    let script = format!("{bin} run ./root sh -c 'echo x; exit 4' <&- >&- 2>&-");
    let mut shell = std::process::Command::new("sh");
    let status = shell.arg0("sh").args(["-c", &script]).current_dir(&place.0).status().unwrap();
    assert_ne!(status.code(), Some(101));
}

#[test]
fn the_network_is_its_own_unless_the_hosts_is_asked_for() {
    let place = place("network");
    let host = fs::read_link("/proc/self/ns/net").unwrap().display().to_string();
    let ours = |done: &Done| done.out == host;
    let namespace = ["busybox", "readlink", "/proc/self/ns/net"];
    assert!(!ours(&place.run(&[], &namespace)));
    assert!(!ours(&place.run(&["--network", "none"], &namespace)));
    assert!(ours(&place.run(&["--network", "host"], &namespace)));
    place.run(&["--network", "moon"], &namespace).failed(125, "--network");
}
