//! `leanbox gc`: what it says, what it removes, and what it leaves alone.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Done, Place, Running, place};
use std::path::PathBuf;

/// A command that runs on in a state folder of its own.
struct Owner {
    place: Place,
    state: PathBuf,
    running: Running,
}

impl Owner {
    /// `around` are words to begin the command with.
    fn start(name: &str, around: &[&str]) -> Self {
        let place = place(name);
        let state = place.0.join("state");
        let words = ["run", "./root", "sh", "-c", "echo ready; sleep 60"];
        let mut command = place.leanbox(&words);
        if let Some((first, rest)) = around.split_first() {
            let mut outer = std::process::Command::new(first);
            outer.args(rest).arg(command.get_program()).args(command.get_args());
            command = outer;
            command.current_dir(&place.0).stdin(std::process::Stdio::null());
        }
        let running = Running::start(&place, command.env("LEANBOX_STATE", &state));
        running.await_text("ready");
        Self { place, state, running }
    }

    fn kill(&mut self) {
        self.running.child.kill().unwrap();
        self.running.child.wait().unwrap();
    }

    fn gc(&self, words: &[&str]) -> std::process::Command {
        let mut command = self.place.leanbox(&[&["gc"], words].concat());
        command.env("LEANBOX_STATE", &self.state);
        command
    }

    /// What gc says about this state folder's record of the owner with that pid. What it has of the
    /// machine (ids, groups) is on another record, in `/run/leanbox`, which other tests may have
    /// reclaimed already.
    fn lines(&self, words: &[&str], pid: &str) -> Vec<String> {
        let done = Done::of(self.gc(words).output().unwrap());
        assert_eq!((done.code, done.err.as_str()), (0, ""), "{done:?}");
        let of_it = |line: &&str| line.contains(&format!(" leanbox-{pid}-"));
        done.out.lines().filter(of_it).map(String::from).collect()
    }

    /// As its record is called.
    fn pid(&self) -> String {
        let mut records = std::fs::read_dir(&self.state).unwrap().flatten();
        let name = records.next().unwrap().file_name().to_string_lossy().into_owned();
        name.split('-').nth(1).unwrap().to_string()
    }
}

#[test]
fn it_tells_first_if_asked_and_then_removes_what_a_killed_command_left() {
    let mut owner = Owner::start("gc", &[]);
    let pid = owner.pid();
    owner.kill();
    let told = |done: &str, lines: Vec<String>| {
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with(&format!("{done} leanbox-{pid}-")), "{lines:?}");
        assert!(lines[0].contains(&format!(": pid {pid} has ended")), "{lines:?}");
    };
    told("would remove", owner.lines(&["--dry-run"], &pid));
    told("would remove", owner.lines(&["--dry-run"], &pid));
    told("removed", owner.lines(&[], &pid));
    assert_eq!(owner.lines(&["--dry-run"], &pid), Vec::<String>::new());
    assert_eq!(owner.lines(&[], &pid), Vec::<String>::new());
}

#[test]
fn it_leaves_a_running_command_alone_in_whichever_pid_namespace() {
    let unshared = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "--"];
    for around in [&[][..], &unshared] {
        let mut owner = Owner::start("gc-alive", around);
        let pid = owner.pid();
        assert_eq!(owner.lines(&["--dry-run"], &pid), Vec::<String>::new());
        assert_eq!(owner.lines(&[], &pid), Vec::<String>::new());
        assert!(owner.running.child.try_wait().unwrap().is_none(), "{around:?}");
        owner.kill();
        let told = owner.lines(&["--dry-run"], &pid).join("\n");
        let why = if around.is_empty() { " has ended" } else { "another pid namespace, has ended" };
        assert!(told.contains(why), "{told}");
        assert_eq!(owner.lines(&[], &pid).len(), 1);
    }
}

#[test]
fn two_at_once_remove_each_thing_once() {
    let mut owner = Owner::start("gc-twice", &[]);
    let pid = owner.pid();
    owner.kill();
    let both = [owner.gc(&[]), owner.gc(&[])].map(|mut command| {
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        command.spawn().unwrap()
    });
    let lines: Vec<String> = both
        .into_iter()
        .map(|gc| Done::of(gc.wait_with_output().unwrap()))
        .flat_map(|done| {
            assert_eq!((done.code, done.err.as_str()), (0, ""), "{done:?}");
            done.out.lines().map(String::from).collect::<Vec<_>>()
        })
        .filter(|line| line.contains(&format!(" leanbox-{pid}-")))
        .collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
}
