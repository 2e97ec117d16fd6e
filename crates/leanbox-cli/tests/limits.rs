//! Limits of `leanbox run` on a real kernel: options, exit codes, lines, JSON.

mod common;

use common::{json_of, place};

#[test]
fn both_timeouts_are_124_and_json_tells_which() {
    let place = place("timeouts");
    let spin = "while :; do :; done";
    let cpu = place.sh(&["--cpu-time", "200ms", "--json"], spin);
    assert_eq!(cpu.code, 124);
    assert!(cpu.err.starts_with("leanbox: timed out after 0.2 s of CPU time\n"), "{cpu:?}");
    assert_eq!(json_of(&cpu.err)["cause"], "cpu_timeout");
    let wall = place.sh(&["--timeout", "200ms", "--json"], spin);
    assert_eq!((wall.code, &json_of(&wall.err)["cause"]), (124, &"wall_timeout".into()));
    let script = "trap 'echo asked; exit 3' INT; while :; do sleep 0.01; done";
    let options = ["--timeout", "300ms", "--stop-signal", "SIGINT", "--stop-timeout", "60"];
    let asked = place.sh(&options, script);
    assert_eq!((asked.code, asked.out.as_str()), (124, "asked"));
}

#[test]
fn a_flood_of_output_is_killed_and_what_was_allowed_is_there() {
    let place = place("flood");
    let flood = place.run(&["--output-max", "1k", "--json"], &["yes"]);
    assert_eq!(
        (flood.code, flood.out.len()),
        (137, 1023),
        "its last newline apart: {:?}",
        flood.err
    );
    assert!(flood.err.contains("wrote more than 1 KiB; raise --output-max"), "{}", flood.err);
    assert_eq!(json_of(&flood.err)["cause"], "output_limit");
    place.sh(&["--output-max", "10"], "echo 123456789").said("123456789");
}

#[test]
fn causes_of_other_ends_are_in_json() {
    let place = place("json-causes");
    let cause = |options: &[&str], script: &str| {
        let done = place.sh(&[options, &["--json"]].concat(), script);
        json_of(&done.err)["cause"].as_str().unwrap().to_string()
    };
    assert_eq!(cause(&[], "exit 3"), "exited");
    assert_eq!(cause(&[], "kill -9 $$"), "signal");
    let hog = "exec dd if=/dev/zero of=/dev/null bs=100M count=1";
    assert_eq!(cause(&["-m", "16m"], hog), "oom_killed");
}

#[test]
fn ulimits_and_cpusets_are_as_asked() {
    let place = place("ulimit");
    place.sh(&["--ulimit", "nofile=64:128"], "ulimit -n; ulimit -Hn").said("64\n128");
    let cpus = "while read k v; do [ $k = Cpus_allowed_list: ] && echo $v; done \
        < /proc/self/status; :";
    place.sh(&["--cpuset-cpus", "0", "--cpu-shares", "512"], cpus).said("0");
}

#[test]
fn what_makes_no_sense_is_refused_in_one_line() {
    let place = place("no-sense");
    place.run(&["--cpu-weight", "0"], &["true"]).failed(125, "cpu weight of 0");
    place.run(&["--memory-swap", "1m"], &["true"]).failed(125, "is below --memory");
    place.run(&["--cpuset-cpus", "60000"], &["true"]).failed(125, "60000 cannot be had");
    let words: [&[&str]; 5] = [
        &["--ulimit", "files=1"],
        &["--cpuset-cpus", "x"],
        &["--device-read-bps", "/dev/null:1m"],
        &["--stop-signal", "NOPE"],
        &["--cpu-shares", "1"],
    ];
    for words in words {
        let done = place.run(words, &["true"]);
        assert!(
            done.code == 125 && done.err.contains(words[1].split(':').next().unwrap()),
            "{done:?}"
        );
    }
}
