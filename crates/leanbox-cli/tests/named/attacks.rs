//! What tries to break detached containers: killed hosts, floods, races.

use super::{Yard, all, is_alive, within};
use std::fs;
use std::process::Stdio;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn when_its_host_is_killed_the_container_is_gone_and_everybody_says_so() {
    let yard = Yard::new("named-killed");
    yard.detach("box", &[], "sleep 4321");
    let host = yard.host_of("box");
    let programs = || {
        let all = fs::read_dir("/proc").unwrap().flatten();
        all.filter(|entry| {
            fs::read(entry.path().join("cmdline")).is_ok_and(|words| words == b"sleep\x004321\x00")
        })
        .count()
    };
    assert_eq!(programs(), 1);
    let kill = format!("kill -9 {host}");
    assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    assert!(within(PATIENCE, || programs() == 0 && !is_alive(host)));
    assert!(!yard.leanbox(&["ps"]).out.contains("box"));
    assert!(yard.leanbox(&["ps", "-a"]).out.contains("host gone"));
    yard.leanbox(&["wait", "box"]).failed(1, "host gone");
    yard.leanbox(&["exec", "box", "true"]).failed(1, "is not running: host gone");
    // Its groups may be gone: whoever else starts something on this machine reclaims ids, and with
    // them what lives in these.
    let listed = yard.leanbox(&["gc", "--dry-run"]);
    assert!(listed.out.contains("would remove the record and logs of \"box\""), "{listed:?}");
    assert!(listed.out.contains(&format!("pid {host} has ended")), "{listed:?}");
    assert!(yard.leanbox(&["ps", "-a"]).out.contains("host gone"), "a dry run removes nothing");
    yard.leanbox(&["gc"]);
    assert_eq!(yard.leanbox(&["ps", "-a", "--json"]).out, "");
    assert!(!yard.leanbox(&["gc", "--dry-run"]).out.contains(&format!("pid {host}")));
    let left = fs::read_dir(yard.0.0.join("state")).unwrap().flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).filter(|name| name != "named").collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Anonymous memory of a process, but for what its loader has relocated of the program: that grows
/// with the code of a debug build.
fn private_kib(pid: u32) -> u64 {
    let maps = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap_or_default();
    let mut of_program = false;
    let mut sum = 0;
    for line in maps.lines() {
        if let Some(anonymous) = line.strip_prefix("Anonymous:").filter(|_| !of_program) {
            sum += anonymous.trim().trim_end_matches(" kB").parse::<u64>().unwrap();
        } else if line.split(' ').next().is_some_and(|range| range.contains('-')) {
            of_program = line.ends_with("/leanbox");
        }
    }
    sum
}

#[test]
fn a_flood_of_output_leaves_bounded_logs_and_a_small_host() {
    let yard = Yard::new("named-flood");
    yard.detach("box", &[], "yes 0123456789012345678901234567890 | head -c 100000000; echo last");
    let host = yard.host_of("box");
    let mut most_kib = 0;
    let over = || yard.status("box")["status"] == "exited";
    assert!(within(Duration::from_secs(240), || {
        most_kib = most_kib.max(private_kib(host));
        over()
    }));
    let folder = yard.0.0.join("state/named/box");
    let kept: u64 =
        fs::read_dir(folder).unwrap().flatten().map(|file| file.metadata().unwrap().len()).sum();
    assert!(kept < 11 << 20, "{kept} bytes");
    yard.leanbox(&["logs", "--tail", "1", "box"]).said("last");
    assert!(most_kib > 0 && most_kib <= 1024, "{most_kib} KiB");
}

#[test]
fn of_two_with_one_name_at_once_one_gets_it() {
    let yard = Yard::new("named-race");
    for _ in 0..5 {
        let begin = || {
            let mut command =
                yard.command(&["run", "-d", "--name", "one", "./root", "sleep", "100"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let done = all((0..4).map(|_| begin()).collect());
        assert_eq!(done.iter().filter(|done| done.code == 0).count(), 1, "{done:?}");
        for lost in done.iter().filter(|done| done.code != 0) {
            lost.failed(125, "there is one of this name");
        }
        yard.leanbox(&["rm", "-f", "one"]).said("");
    }
}

#[test]
fn twenty_run_beside_each_other() {
    let yard = Yard::new("named-twenty");
    let begin = |number: usize| {
        let name = format!("n{number}");
        let script = format!("echo {name}; sleep 100");
        let words = ["run", "-d", "--name", &name, "./root", "sh", "-c", &script];
        yard.command(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let done = all((0..20).map(begin).collect());
    assert!(done.iter().all(|done| done.code == 0), "{done:?}");
    assert_eq!(yard.leanbox(&["ps", "--json"]).out.lines().count(), 20);
    for number in 0..20 {
        let name = format!("n{number}");
        yard.leanbox(&["exec", &name, "echo", &name]).said(&name);
        assert!(within(PATIENCE, || yard.leanbox(&["logs", &name]).out == name));
    }
    let names: Vec<String> = (0..20).map(|number| format!("n{number}")).collect();
    let words: Vec<&str> =
        ["rm", "-f"].into_iter().chain(names.iter().map(String::as_str)).collect();
    yard.leanbox(&words).said("");
    assert_eq!(yard.leanbox(&["ps", "-a", "--json"]).out, "");
}
