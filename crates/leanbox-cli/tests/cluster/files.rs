//! Files and words that make no sense: one line, and nothing is begun.

use crate::common::done::send;
use crate::common::{Done, has_entry, place};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn a_file_that_makes_no_sense_is_one_line_with_its_place() {
    let place = place("cluster-files");
    let cases = [
        ("hosts = ['a'", "x.toml:1: "),
        ("[[pass]]\nhost = 'a'\n", "x.toml:1: this [[pass]] has no cmd"),
        ("hosts = ['a']\nspeed = 1\n", "x.toml:2: unknown key \"speed\""),
        ("hosts = ['a']\nseconds = 'x'\n", "x.toml:2: seconds must be seconds above 0"),
        ("hosts = ['-oProxyCommand=x']\n", "x.toml:1: \"-oProxyCommand=x\" is not a host"),
        ("", "no [[pass]] block and no hosts"),
    ];
    for (text, words) in cases {
        fs::write(place.0.join("x.toml"), text).unwrap();
        for verb in ["cluster", "sync"] {
            let output = place.leanbox(&["bench", verb, "-f", "x.toml"]).output();
            Done::of(output.unwrap()).failed(1, words);
        }
    }
    let output = place.leanbox(&["bench", "cluster", "-f", "nosuch.toml"]).output();
    Done::of(output.unwrap()).failed(1, "nosuch.toml: ENOENT");
}

#[test]
fn words_that_make_no_sense_are_one_line() {
    let place = place("cluster-words");
    let bench = |words: &[&str]| {
        let output = place.leanbox(&[&["bench"], words].concat()).output();
        Done::of(output.unwrap())
    };
    bench(&["cluster"]).failed(2, "--file");
    bench(&["sync"]).failed(2, "--hosts");
    bench(&["sync", "--hosts", "a b"]).failed(1, "\"a b\" is not a host");
    bench(&["sync", "--hosts", "a", "-u", "b c"]).failed(1, "is not a user");
}

#[test]
fn under_the_original_s_name_it_is_the_original_s_benchmark() {
    let place = place("cluster-name");
    let name = place.0.join("benchmark_lean_container");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_leanbox"), &name).unwrap();
    let run = |words: &[&str]| Done::of(Command::new(&name).args(words).output().unwrap());
    let done = run(&["2.2", "test0"]);
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{done:?}");
    let lines: Vec<&str> = done.out.lines().collect();
    assert_eq!(lines.len(), 3, "{done:?}");
    for line in &lines[..2] {
        assert!(line.starts_with("start ") && line.contains("latency per container"), "{line}");
    }
    assert!(lines[2].starts_with("total: start ") && lines[2].ends_with(" second(s)"), "{done:?}");
    for words in [&[][..], &["x"], &["0"], &["-1"], &["1", "a", "b"]] {
        let done = run(words);
        assert!(done.code != 0 && done.err.lines().count() == 1, "{words:?} {done:?}");
    }
}

#[test]
fn its_lines_go_into_a_pipe_at_once_and_sigterm_ends_it_in_order() {
    let place = place("cluster-pipe");
    let name = place.0.join("benchmark_lean_container");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_leanbox"), &name).unwrap();
    let mut command = Command::new("env");
    command.arg("--default-signal").arg(&name).arg("30").env("TMPDIR", &place.0);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let begin = Instant::now();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert!(begin.elapsed() < Duration::from_secs(10), "{line}");
    send(&child, "TERM");
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(line.starts_with("start ") && rest.contains("total: start "), "{line}{rest}");
    assert!(!has_entry(&place.0, "leanbox-bench-"), "the benchmark left its folder");
}
