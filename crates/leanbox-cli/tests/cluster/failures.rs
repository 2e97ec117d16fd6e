//! Hosts that cannot be had, or that are lost on the way: one line each, and the rest goes on.

use crate::common::Done;
use crate::lab::{HOSTS, Lab, install};
use crate::runs::{pass, row};
use std::time::{Duration, Instant};

#[track_caller]
fn told(done: &Done, host: &str, words: &str) {
    let begin = format!("leanbox: {host}: ");
    let lines: Vec<&str> = done.err.lines().filter(|line| line.starts_with(&begin)).collect();
    assert_eq!(lines.len(), 1, "{done:?}");
    assert!(lines[0].contains(words), "{words:?} is not in {:?}", lines[0]);
}

#[test]
fn hosts_that_cannot_be_had_are_said_and_the_others_run() {
    let lab = Lab::make("refusals");
    install(&lab);
    let hosts = ["down", "closed", "nokey", "stranger", "nowhere", "val01", "val02", "closed"];
    let text: String = hosts.iter().map(|host| pass(host, 2, "test0")).collect();
    let text = text + "[[pass]]\nhost = 'val03'\npath = '/nosuch'\ncmd = 'pwd'\n";
    let done = lab.cluster(&text, &["--connect-timeout", "4s"]);
    assert_eq!(done.code, 1, "{done:?}");
    told(&done, "down", "is it up?");
    told(&done, "closed", "is sshd running on that port?");
    told(&done, "nokey", "refused the login");
    told(&done, "stranger", "its host key is not known");
    told(&done, "nowhere", "no such host name");
    told(&done, "val03", "its folder \"/nosuch\" cannot be entered");
    assert_eq!(done.err.lines().count(), 6, "{done:?}");
    assert_eq!(row(&done.out, "total")[1], "2", "{done:?}");
    let missing = "missing down, closed, nokey, stranger, nowhere, val03";
    assert!(done.out.contains(missing), "{done:?}");
}

/// Runs all three for that long, and does something to the second after two seconds.
fn lost(lab: &Lab, seconds: u32, what: impl FnOnce(&Lab)) -> (Done, Duration) {
    let text: String = HOSTS.iter().map(|host| pass(host, seconds, "test0")).collect();
    let mut command = lab.cluster_command(&text, &[]);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let child = command.spawn().unwrap();
    std::thread::sleep(Duration::from_millis(2500));
    what(lab);
    let begin = Instant::now();
    (Done::of(child.wait_with_output().unwrap()), begin.elapsed())
}

#[track_caller]
fn is_total_of_the_rest(done: &Done) {
    assert_eq!(done.code, 1, "{done:?}");
    told(done, "val02", "connection lost");
    let total = row(&done.out, "total");
    let sum: f64 =
        ["val01", "val03"].iter().map(|host| row(&done.out, host)[3].parse::<f64>().unwrap()).sum();
    assert!((total[3].parse::<f64>().unwrap() - sum).abs() < 0.2 && sum > 0.0, "{done:?}");
    assert_eq!(total[1], "2", "{done:?}");
    assert!(done.out.contains("the total is that of the rest: missing val02"), "{done:?}");
}

#[test]
fn an_sshd_that_is_killed_half_way_leaves_the_total_of_the_rest() {
    let lab = Lab::make("killed");
    install(&lab);
    let (done, _) = lost(&lab, 4, |lab| lab.kill_sshds("val02"));
    is_total_of_the_rest(&done);
    assert!(row(&done.out, "val02")[2].parse::<u64>().unwrap() > 0, "{done:?}");
}

#[test]
fn a_host_whose_plug_is_pulled_is_given_up_after_seconds() {
    let lab = Lab::make("unplugged");
    install(&lab);
    let (done, took) = lost(&lab, 4, |lab| lab.unplug(2));
    is_total_of_the_rest(&done);
    assert!(took < Duration::from_secs(12), "{took:?}");
}

#[test]
fn a_program_that_is_not_there_names_bench_sync() {
    let lab = Lab::make("absent");
    let done = lab.cluster(&pass("val01", 2, "test0"), &[]);
    assert_eq!(done.code, 1, "{done:?}");
    told(&done, "val01", "leanbox bench sync copies it there");
    assert!(done.out.contains("no total"), "{done:?}");
}
