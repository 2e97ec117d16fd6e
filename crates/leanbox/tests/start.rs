//! Starting, waiting, streams, outcomes, on the real kernel.

mod common;

use common::{busybox, says, sh, template};
use leanbox::{Command, End, ErrorKind, Policy, Pool, Stdio};
use std::io::{Read, Write};
use std::time::Duration;

#[test]
fn a_program_runs_as_a_child_of_pid_1() {
    let root = busybox("child");
    let pool = Pool::new(&template(&root, Policy::Once), 0).unwrap();
    assert_eq!(says(&pool, "echo $$ $PPID"), "2 1");
    assert_eq!(says(&pool, "id"), "uid=0(root) gid=0(root)");
}

#[test]
fn exit_codes_and_signals_are_told_apart() {
    let root = busybox("codes");
    for policy in [Policy::Once, Policy::Reuse] {
        let pool = Pool::new(&template(&root, policy), 1).unwrap();
        for code in [0, 1, 42, 255] {
            assert_eq!(sh(&pool, &format!("exit {code}")).end, End::Exited(code));
        }
        assert_eq!(sh(&pool, "kill -TERM $$").end, End::Signaled(15));
        assert_eq!(Command::noop().status(&pool).unwrap().end, End::Exited(0));
    }
}

#[test]
fn a_missing_program_is_not_found_and_a_plain_file_not_executable() {
    let root = busybox("missing");
    let pool = Pool::new(&template(&root, Policy::Once), 0).unwrap();
    for run in [
        |name: &str, pool: &Pool| Command::new(name).spawn(pool).map(drop).unwrap_err(),
        |name: &str, pool: &Pool| Command::new(name).output(pool).map(drop).unwrap_err(),
    ] {
        assert_eq!(run("nothing", &pool).kind(), ErrorKind::NotFound);
        assert_eq!(run("/bin/nothing", &pool).kind(), ErrorKind::NotFound);
        assert_eq!(run("/etc/passwd", &pool).kind(), ErrorKind::NotExecutable);
    }
}

#[test]
fn streams_can_be_piped_through() {
    let root = busybox("pipes");
    let pool = Pool::new(&template(&root, Policy::Once), 0).unwrap();
    let mut command = Command::new("cat");
    command.stdin(Stdio::Piped).stdout(Stdio::Piped);
    let mut container = command.spawn(&pool).unwrap();
    container.stdin.take().unwrap().write_all(b"through").unwrap();
    let mut text = String::new();
    container.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "through");
    assert!(container.wait().unwrap().success());
}

#[test]
fn captured_output_is_bounded_and_says_so() {
    let root = busybox("capture");
    let pool = Pool::new(&template(&root, Policy::Once), 0).unwrap();
    let mut command = Command::new("head");
    command.args(["-c", "1000000", "/dev/zero"]).stdout(Stdio::Captured { max_bytes: 1000 });
    let outcome = command.output(&pool).unwrap();
    assert_eq!(outcome.stdout.bytes.len(), 1000);
    assert!(outcome.stdout.truncated && outcome.success());
}

#[test]
fn output_does_not_wait_for_a_grandchild_that_holds_it_open() {
    let root = busybox("grandchild");
    for policy in [Policy::Once, Policy::Reuse] {
        let pool = Pool::new(&template(&root, policy), 0).unwrap();
        let begin = std::time::Instant::now();
        let outcome = sh(&pool, "setsid sleep 60 & echo done");
        assert_eq!(outcome.stdout.bytes, b"done\n");
        assert!(begin.elapsed() < Duration::from_secs(20));
    }
}

#[test]
fn a_program_that_takes_too_long_is_killed_and_timed_out() {
    let root = busybox("timeout");
    let pool = Pool::new(&template(&root, Policy::Once), 0).unwrap();
    let mut command = Command::new("sleep");
    command.arg("60").timeout(Duration::from_millis(100));
    let outcome = command.status(&pool).unwrap();
    assert!(outcome.timed_out);
    assert_eq!(outcome.end, End::Signaled(9));
    assert!(outcome.wall < Duration::from_secs(20));
}

#[test]
fn waiting_can_give_up_and_killing_ends_it() {
    let root = busybox("wait");
    let pool = Pool::new(&template(&root, Policy::Once), 0).unwrap();
    let mut container = Command::new("sleep").arg("60").spawn(&pool).unwrap();
    assert_eq!(container.wait_timeout(Duration::from_millis(50)).unwrap(), None);
    container.kill();
    assert_eq!(container.wait().unwrap().end, End::Signaled(9));
}

#[test]
fn signals_reach_the_program() {
    let root = busybox("signal");
    let pool = Pool::new(&template(&root, Policy::Once), 0).unwrap();
    let container = Command::new("sleep").arg("60").spawn(&pool).unwrap();
    container.signal(15).unwrap();
    assert_eq!(container.wait().unwrap().end, End::Signaled(15));
}

#[test]
fn environment_and_working_directory_are_clean_unless_given() {
    let root = busybox("env");
    let pool = Pool::new(&template(&root, Policy::Once), 0).unwrap();
    let env = says(&pool, "env | grep -v -e ^SHLVL -e ^PWD; pwd");
    assert_eq!(
        env,
        "HOME=/root\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n/"
    );
    let mut command = Command::new("sh");
    command.args(["-c", "echo $A $PWD"]).env("A", "b").current_dir("/etc");
    assert_eq!(command.output(&pool).unwrap().stdout.bytes, b"b /etc\n");
}

#[test]
fn long_arguments_go_through_memory_of_their_own() {
    let root = busybox("long");
    let pool = Pool::new(&template(&root, Policy::Once), 0).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "echo ${#0} ${#1}"]).args(["x".repeat(100_000), "y".repeat(99_999)]);
    assert_eq!(command.output(&pool).unwrap().stdout.bytes, b"100000 99999\n");
}

#[test]
fn a_descriptor_given_on_purpose_arrives_under_its_number() {
    let root = busybox("fd");
    let pool = Pool::new(&template(&root, Policy::Once), 0).unwrap();
    let file = std::fs::File::open(root.0.join("home/app/note")).unwrap();
    let other = std::fs::File::open(root.0.join("etc/group")).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "cat <&7; head -n 1 <&3; ls /proc/self/fd | tr '\\n' ' '"]);
    command.fd(7, file.into()).fd(3, other.into());
    let outcome = command.output(&pool).unwrap();
    assert_eq!(String::from_utf8_lossy(&outcome.stdout.bytes), "of app\nroot:x:0:\n0 1 2 3 4 7 ");
}

#[test]
fn a_reused_slot_serves_again_and_a_reserve_is_refilled() {
    let root = busybox("again");
    for policy in [Policy::Once, Policy::Reuse] {
        let pool = Pool::new(&template(&root, policy), 3).unwrap();
        for _ in 0..20 {
            assert!(Command::new("true").status(&pool).unwrap().success());
        }
        pool.settle().unwrap();
    }
}

#[test]
fn a_program_is_in_the_session_of_its_slot_and_may_begin_its_own() {
    for policy in [Policy::Once, Policy::Reuse] {
        let root = busybox("start-session");
        let pool = Pool::new(&template(&root, policy), 1).unwrap();
        // Of proc_pid_stat(5): the pid, its group and its session.
        let ids = "cut -d ' ' -f 1,5,6 /proc/self/stat";
        for _ in 0..3 {
            let text = says(&pool, ids);
            assert!(text.ends_with(" 1 1"), "{text}");
            let own = says(&pool, &format!("setsid sh -c \"{ids} & wait\""));
            let own: Vec<&str> = own.split(' ').collect();
            assert!(own.len() == 3 && own[1] == own[2] && own[2] != "1", "{own:?}");
        }
    }
}
