//! Detached containers, from `run -d` to `rm`, with the built command.
#![allow(clippy::unwrap_used, reason = "tests")]

mod attacks;
#[path = "../common/mod.rs"]
mod common;
mod copies;
mod life;
mod terminal;
#[path = "../common/tty.rs"]
#[allow(dead_code, reason = "these tests do not use all of it")]
mod tty;

use common::{Done, Place, place};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// A place whose containers are its own; what a test that failed left running is ended.
struct Yard(Place);

impl Yard {
    fn new(name: &str) -> Self {
        Self(place(name))
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.0.leanbox(words);
        command.env("LEANBOX_STATE", self.0.0.join("state"));
        command
    }

    fn leanbox(&self, words: &[&str]) -> Done {
        Done::of(self.command(words).output().unwrap())
    }

    /// `run -d --name NAME OPTIONS ./root sh -c SCRIPT`.
    fn detach(&self, name: &str, options: &[&str], script: &str) {
        let words = [&["run", "-d", "--name", name], options, &["./root", "sh", "-c", script]];
        self.leanbox(&words.concat()).said(name);
    }

    fn status(&self, name: &str) -> serde_json::Value {
        let done = self.leanbox(&["inspect", name]);
        common::json_of(&done.out)
    }

    fn host_of(&self, name: &str) -> u32 {
        self.status(name)["host_pid"].as_u64().unwrap().try_into().unwrap()
    }
}

impl Drop for Yard {
    fn drop(&mut self) {
        let names = self.leanbox(&["ps", "-a", "--json"]).out;
        for line in names.lines() {
            if let Some(name) = common::json_of(line)["name"].as_str() {
                let _ = self.leanbox(&["rm", "-f", name]);
            }
        }
    }
}

fn within(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + limit;
    while !done() {
        if Instant::now() > until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn all(children: Vec<Child>) -> Vec<Done> {
    children.into_iter().map(|child| Done::of(child.wait_with_output().unwrap())).collect()
}
