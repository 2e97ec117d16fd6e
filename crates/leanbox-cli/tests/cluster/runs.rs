//! What runs on the hosts, and what is counted.

use crate::common::json_of;
use crate::lab::{HOSTS, Lab, install};
use std::time::Duration;

/// A block of the original's.
pub(crate) fn pass(host: &str, seconds: u32, name: &str) -> String {
    format!(
        "[[pass]]\nhost = \"{host}\"\npath = ''\n\
         cmd  = 'sudo ./benchmark_lean_container {seconds} {name}'\n\n"
    )
}

/// The line of the table that begins so, in words.
#[track_caller]
pub(crate) fn row(out: &str, name: &str) -> Vec<String> {
    let mut lines = out.lines().filter(|line| line.split_whitespace().next() == Some(name));
    let line = lines.next().unwrap_or_else(|| panic!("no {name} in {out}"));
    line.split_whitespace().map(Into::into).collect()
}

#[test]
fn the_original_s_file_runs_on_three_hosts() {
    let lab = Lab::make("original");
    install(&lab);
    let text: String = HOSTS.iter().map(|host| pass(host, 3, "test0")).collect();
    let done = lab.cluster(&text, &[]);
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{done:?}");
    for host in HOSTS {
        let begin = format!("@{host}      start ");
        let lines = done.out.lines().filter(|line| line.starts_with(&begin));
        let lines: Vec<&str> = lines.filter(|line| line.contains("latency per")).collect();
        assert!(lines.len() >= 2, "{done:?}");
        assert!(done.out.contains(&format!("@{host}      total: start ")), "{done:?}");
        assert_eq!(row(&done.out, host)[1], "1");
    }
    assert!(!done.out.contains('\r') && !done.out.contains("barrier"), "{done:?}");
    let total = row(&done.out, "total");
    let rate = |words: &[String]| words[3].parse::<f64>().unwrap();
    let sum: f64 = HOSTS.iter().map(|host| rate(&row(&done.out, host))).sum();
    assert!((rate(&total) - sum).abs() < 0.2 && sum > 0.0, "{done:?}");
    assert!(total.join(" ").contains("seconds that all 3 processes ran"), "{done:?}");
}

#[test]
fn twelve_blocks_of_one_host_all_run_and_are_summed_up() {
    let lab = Lab::make("twelve");
    install(&lab);
    let text: String = (0..12).map(|index| pass("val01", 2, &format!("test{index}"))).collect();
    let done = lab.cluster(&text, &["--json"]);
    assert_eq!(done.code, 0, "{done:?}");
    let report = json_of(&done.out);
    assert_eq!(report["benchmark"], "cluster");
    assert_eq!(
        (&report["hosts"][0]["host"], &report["hosts"][0]["processes"]),
        (&"val01".into(), &12.into())
    );
    assert_eq!((&report["counted"], &report["without_barrier"]), (&12.into(), &0.into()));
    assert!(report["overlap_seconds"].as_f64().unwrap() > 1.0, "{report}");
    assert_eq!(report["total_rate"], report["hosts"][0]["rate"]);
    assert!(done.err.contains("@val01      start "), "lines go to standard error: {done:?}");
}

#[test]
fn our_form_of_file_runs_processes_with_a_policy() {
    let lab = Lab::make("ours");
    install(&lab);
    let text = "hosts = ['val01', 'root@val02']\nprocesses = 2\nseconds = 2\nmode = 'exec'\n\
                policy = 'once'\n[[host]]\nname = 'val03'\nprocesses = 1\nmode = 'noop'\n\
                policy = 'reuse'\npin = 0\ncommand = 'sudo ./leanbox'\n";
    let done = lab.cluster(text, &["--json"]);
    assert_eq!(done.code, 0, "{done:?}");
    let report = json_of(&done.out);
    let processes: Vec<u64> =
        (0..3).map(|at| report["hosts"][at]["processes"].as_u64().unwrap()).collect();
    assert_eq!(processes, [2, 2, 1]);
    assert_eq!((&report["counted"], &report["without_barrier"]), (&5.into(), &0.into()));
}

#[test]
fn commands_of_others_run_too_here_and_there() {
    let lab = Lab::make("foreign");
    install(&lab);
    let here = lab.folder.display();
    let text = format!(
        "[[pass]]\nhost = 'here'\npath = '{here}/val01/home'\n\
         cmd = 'tty >tty; ./benchmark_lean_container 2'\nlocal = \"yes\"\n\
         [[pass]]\nhost = 'val02'\npath = '~'\n\
         cmd = 'pwd; ./benchmark_lean_container 2; echo \"it is $HOME\"'\n"
    );
    let done = lab.cluster(&text, &[]);
    assert_eq!(done.code, 0, "{done:?}");
    let home = lab.home("val02").display().to_string();
    assert!(done.out.contains(&format!("@val02      {home}\n")), "{done:?}");
    assert!(done.out.contains(&format!("@val02      it is {home}\n")), "{done:?}");
    assert!(done.out.contains("@here       start "), "{done:?}");
    assert!(done.out.contains("2 of them began from the shell"), "{done:?}");
    let tty = std::fs::read_to_string(lab.home("val01").join("tty")).unwrap();
    assert!(tty.starts_with("/dev/pts/"), "{tty}");
}

#[test]
fn files_are_copied_before_anything_runs() {
    let lab = Lab::make("copy");
    std::fs::write(lab.folder.join("words"), "hello").unwrap();
    let text = "[[sync]]\nsource = 'words'\ntargets = ['val01:', 'val02:renamed']\n\
                [[pass]]\nhost = 'val02'\npath = ''\ncmd = 'cat renamed'\n";
    let done = lab.cluster(text, &[]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.out.contains("@val02      hello"), "{done:?}");
    assert_eq!(std::fs::read_to_string(lab.home("val01").join("words")).unwrap(), "hello");
}

#[test]
fn ctrl_c_ends_what_runs_and_prints_what_there_is() {
    let lab = Lab::make("interrupt");
    install(&lab);
    let text: String = HOSTS.iter().map(|host| pass(host, 30, "test0")).collect();
    let mut command = lab.cluster_command(&text, &[]);
    let out = lab.folder.join("out");
    let errors = std::fs::File::create(lab.folder.join("err")).unwrap();
    command.stdout(std::fs::File::create(&out).unwrap()).stderr(errors);
    let mut child = command.spawn().unwrap();
    std::thread::sleep(Duration::from_millis(3500));
    assert!(lab.runs());
    crate::common::done::send(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!lab.runs(), "something still runs");
    let out = std::fs::read_to_string(&out).unwrap();
    assert!(out.contains("interrupted: this is what there was"), "{out}");
    assert_eq!(row(&out, "total")[1], "3", "{out}");
    let left = std::fs::read_dir(lab.folder.join("val01/tmp")).unwrap().count();
    assert_eq!(left, 0, "the benchmark left its folder");
    assert_eq!(std::fs::read_dir(lab.folder.join("client")).unwrap().count(), 0);
}

#[test]
fn a_command_that_is_killed_leaves_nothing_running_on_the_hosts() {
    let lab = Lab::make("shot");
    install(&lab);
    let text: String = HOSTS.iter().map(|host| pass(host, 30, "test0")).collect();
    let mut command = lab.cluster_command(&text, &[]);
    let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(2500));
    assert!(lab.runs());
    child.kill().unwrap();
    child.wait().unwrap();
    std::thread::sleep(Duration::from_millis(1000));
    assert!(!lab.runs(), "something still runs");
}
