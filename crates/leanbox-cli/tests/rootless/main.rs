//! leanbox for an ordinary user: with and without resource groups of its own, with and without
//! subordinate ids, and what it is told where something is missing.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;
mod isolation;
mod user;

use common::{Done, Running, json_of};
use std::time::{Duration, Instant};
use user::User;

#[test]
fn a_container_runs_and_gives_its_exit_code() {
    let user = User::new("runs");
    user.sh("id; exit 7").said_with(7, "uid=0(root) gid=0");
    user.sh("echo $$; hostname").said("2\nleanbox");
    user.done(&["run", "--cgroups", "disabled", "--user", "app", "./root", "id"])
        .said("uid=1000(app) gid=1000");
    user.has_nothing_left();
}

#[test]
fn without_delegated_groups_a_run_is_refused_with_what_to_do() {
    let user = User::new("refused");
    let done = user.done(&["run", "./root", "true"]);
    done.failed(125, "no mounted cgroup hierarchy lets us use the memory controller");
    done.failed(125, "systemd-run --user --scope -p Delegate=yes");
    done.failed(125, "--cgroups disabled");
}

#[test]
fn without_groups_nothing_is_accounted_and_processes_are_limited_for_each_user() {
    let user = User::new("no-groups");
    let fork = ["./root", "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done"];
    let run = ["run", "--cgroups", "disabled", "--json"];
    let unlimited = user.done(&[&run[..], &fork].concat());
    let report = json_of(&unlimited.err);
    assert_eq!((&report["cpu_us"], &report["memory_peak_bytes"]), (&().into(), &().into()));
    let words = [&run[..], &["--pids", "8"], &fork].concat();
    // Where all processes of the user would count, none are limited, and who asks is told.
    let refused = Done::of(user.leanbox(&words).env("LEANBOX_WITHOUT", "nproc").output().unwrap());
    assert!(refused.code == 125 && refused.err.contains("takes Linux 5.14"), "{refused:?}");
    let mut unlimited = user.leanbox(&[&run[..], &fork].concat());
    let unlimited = Done::of(unlimited.env("LEANBOX_WITHOUT", "nproc").output().unwrap());
    assert!(unlimited.code == 0 && !unlimited.err.contains("can't fork"), "{unlimited:?}");
    if leanbox::probe::counts_processes_by_namespace() {
        let limited = user.done(&words);
        assert!(limited.err.contains("can't fork"), "{limited:?}");
    }
}

#[test]
fn a_time_limit_ends_it_without_groups_too() {
    let user = User::new("timeout");
    let words = ["run", "--cgroups", "disabled", "--timeout", "300ms", "./root", "sh", "-c"];
    let began = Instant::now();
    let done = user.done(&[&words[..], &["trap '' TERM; sleep 1000 & sleep 1000"]].concat());
    assert_eq!(done.code, 124, "{done:?}");
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[test]
fn delegated_groups_limit_and_account() {
    let user = User::new("delegated").with_groups();
    let fill = "dd if=/dev/zero of=/tmp/x bs=1M count=40 2>&1";
    let words = ["run", "--memory", "16m", "--json", "./root", "sh", "-c", fill];
    let done = user.done(&words);
    assert_eq!(done.code, 137, "{done:?}");
    let report = json_of(&done.err);
    assert_eq!(report["oom_killed"], true);
    // cgroup v2 before Linux 5.19 does not tell.
    let peak = report["memory_peak_bytes"].as_u64().unwrap();
    assert!(peak == 16 << 20 || peak == 0 && leanbox::probe::kernel_version() < (5, 19));
    assert!(report["cpu_us"].as_u64().unwrap() > 0);
    let forks = "i=0; while [ $i -lt 20 ]; do sleep 1 & i=$((i+1)); done";
    let done = user.done(&["run", "--pids", "8", "./root", "sh", "-c", forks]);
    assert!(done.err.contains("can't fork"), "{done:?}");
    user.has_nothing_left();
}

#[test]
fn slots_serve_again_in_delegated_groups_and_nothing_leaks() {
    let user = User::new("reuse").with_groups();
    for policy in ["once", "reuse"] {
        let words = ["bench", "start", "--seconds", "1", "--mode", "exec", "--json", "--policy"];
        let done = user.done(&[&words[..], &[policy]].concat());
        assert_eq!(done.code, 0, "{done:?}");
        let report = json_of(&done.out);
        assert!(report["starts"].as_u64().unwrap() > 10, "{report}");
        assert_eq!(report["leaked"].as_array().map_or(0, Vec::len), 0, "{report}");
    }
    user.has_nothing_left();
}

#[test]
fn too_few_subordinate_ids_are_told_with_the_command_that_gives_them() {
    let mut user = User::new("no-ids");
    for ids in [0, 65_534] {
        user.ids = ids;
        let done = user.sh("true");
        done.failed(125, "/etc/subuid gives user leanbox-user fewer than 65535 ids");
        done.failed(125, "usermod --add-subuids");
    }
    user.ids = 65_535;
    user.sh("echo enough").said("enough");
}

#[test]
fn without_newuidmap_the_package_is_named() {
    let mut user = User::new("no-newuidmap");
    let empty = user.home.0.join("empty");
    std::fs::create_dir(&empty).unwrap();
    std::os::unix::fs::symlink("/usr/bin/env", empty.join("env")).unwrap();
    std::os::unix::fs::symlink("/usr/bin/setpriv", empty.join("setpriv")).unwrap();
    user.path = Some(empty);
    user.sh("true").failed(125, "install newuidmap");
}

#[test]
fn a_killed_command_leaves_nothing_running_and_the_next_removes_the_rest() {
    let user = User::new("killed").with_groups();
    let words = ["run", "./root", "sh", "-c", "echo begun; exec sleep 98765"];
    let running = Running::start(&user.home, &mut user.leanbox(&words));
    running.await_text("begun");
    running.signal("KILL");
    let mut child = running;
    let _ = child.child.wait();
    let until = Instant::now() + Duration::from_secs(10);
    while is_running("98765") {
        assert!(Instant::now() < until, "it runs on");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(user.done(&["gc"]).code, 0);
    user.has_nothing_left();
}

#[test]
fn doctor_says_how_far_it_goes_and_starts_a_container() {
    let user = User::new("doctor");
    let done = user.done(&["doctor"]);
    assert_eq!(done.code, 0, "{done:?}");
    for words in ["limited  user: not root", "limited  limits: none can be set", "limited  start: "]
    {
        assert!(done.out.contains(words), "{words:?} is not in {}", done.out);
    }
    let done = user.with_groups().done(&["doctor"]);
    assert!(done.out.contains("ok       start: "), "{}", done.out);
}

#[test]
fn doctor_fails_with_the_remedy_where_no_container_starts() {
    let mut user = User::new("doctor-fails");
    user.ids = 0;
    let done = user.done(&["doctor"]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.out.contains("missing  subordinate ids: /etc/subuid gives user"), "{}", done.out);
}

/// As in an engine's container.
#[test]
fn root_without_cap_sys_admin_goes_on_in_a_user_namespace_of_its_own() {
    let place = common::place("rootless-caps");
    let leanbox = place.leanbox(&["run", "./root", "sh", "-c", "id"]);
    let done = std::process::Command::new("setpriv")
        .args(["--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"])
        .arg(leanbox.get_program())
        .args(leanbox.get_args())
        .current_dir(&place.0)
        .output()
        .unwrap();
    Done::of(done).said("uid=0(root) gid=0");
}

fn is_running(word: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut lines = processes.map(|entry| std::fs::read(entry.path().join("cmdline")));
    let wanted = format!("sleep\0{word}\0");
    lines.any(|line| line.is_ok_and(|line| line == wanted.as_bytes()))
}

impl Done {
    /// It printed that and exited with that code.
    #[track_caller]
    fn said_with(&self, code: i32, text: &str) {
        assert_eq!((self.code, self.out.as_str(), self.err.as_str()), (code, text, ""), "{self:?}");
    }
}
