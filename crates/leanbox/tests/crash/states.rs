//! The hosts that are killed: each is busy with one thing, over and over, or stays in one state.

use crate::common::Folder;
use crate::host;
use leanbox::{Command, Container, Limits, Policy, Pool, Rootfs, Stdio, Template, TemplateBuilder};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::PathBuf;

/// Names the root file system, the upper folder, and the state to the process that is killed.
const ROOT: &str = "LEANBOX_TEST_CRASH_ROOT";
const UPPER: &str = "LEANBOX_TEST_CRASH_UPPER";
const STATE: &str = "LEANBOX_TEST_CRASH_STATE";

type State = (&'static str, fn(&Place) -> !);

pub(crate) const STATES: [State; 12] = [
    ("running", |place| hold(&place.template(), "attack daemons 3; while :; do :; done")),
    ("paused", paused),
    ("throttled", throttled),
    ("at its memory limit", out_of_memory),
    ("at its pid limit", out_of_pids),
    ("launcher stopped", launcher_stopped),
    ("making templates", making_templates),
    ("making and warming slots", warming),
    ("resetting slots", resetting),
    ("recycling slots", recycling),
    ("shared namespaces", shared),
    ("a writable root", writable),
];

/// What they work with.
pub(crate) struct Place {
    root: PathBuf,
    upper: PathBuf,
}

/// Starts the host of a state: this program again.
pub(crate) fn start(state: usize, root: &Folder, upper: &Folder) -> std::process::Child {
    start_as("the_host_that_is_killed", &root.0)
        .env(STATE, state.to_string())
        .env(UPPER, &upper.0)
        .spawn()
        .unwrap()
}

pub(crate) fn start_as(test: &str, root: &std::path::Path) -> std::process::Command {
    let mut host = std::process::Command::new(std::env::current_exe().unwrap());
    host.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(ROOT, root);
    host.stdout(std::process::Stdio::null());
    host
}

/// The root file system, where this is a host that is to be killed.
pub(crate) fn root() -> Option<PathBuf> {
    std::env::var_os(ROOT).map(PathBuf::from)
}

/// Does nothing in the test's own process.
pub(crate) fn run() {
    let Some(state) = std::env::var(STATE).ok().and_then(|text| text.parse::<usize>().ok()) else {
        return;
    };
    let upper = PathBuf::from(std::env::var_os(UPPER).unwrap());
    STATES[state].1(&Place { root: root().unwrap(), upper })
}

impl Place {
    fn builder(&self) -> TemplateBuilder {
        Template::builder(Rootfs::open(&self.root).unwrap())
    }

    fn template(&self) -> Template {
        self.builder().build().unwrap()
    }

    fn limited(&self, limits: Limits) -> Template {
        self.builder().limits(limits).build().unwrap()
    }
}

fn spawn(pool: &Pool, script: &str) -> Container {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdout(Stdio::Null).stderr(Stdio::Null);
    command.spawn(pool).unwrap()
}

fn run_in(pool: &Pool, script: &str) {
    spawn(pool, script).wait().unwrap();
}

/// A container that runs on, with two slots in reserve.
fn hold(template: &Template, script: &str) -> ! {
    let pool = Pool::new(template, 2).unwrap();
    let _container = spawn(&pool, script);
    sleep_on()
}

fn sleep_on() -> ! {
    loop {
        std::thread::park();
    }
}

fn paused(place: &Place) -> ! {
    let pool = Pool::new(&place.template(), 2).unwrap();
    let container = spawn(&pool, "attack daemons 3; while :; do :; done");
    loop {
        container.pause().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        container.resume().unwrap();
    }
}

fn throttled(place: &Place) -> ! {
    let limits = Limits { cpus: Some(0.01), ..Limits::default() };
    hold(&place.limited(limits), "while :; do :; done")
}

fn out_of_memory(place: &Place) -> ! {
    let limits = Limits { memory_max_bytes: 8 << 20, ..Limits::default() };
    let pool = Pool::new(&place.limited(limits), 2).unwrap();
    loop {
        run_in(&pool, "tail /dev/zero");
    }
}

fn out_of_pids(place: &Place) -> ! {
    let limits = Limits { pids_max: 8, ..Limits::default() };
    hold(&place.limited(limits), "while :; do sleep 1000 & done")
}

/// As somebody on the host may stop it.
fn launcher_stopped(place: &Place) -> ! {
    let template = place.template();
    let pool = Pool::new(&template, 1).unwrap();
    let _container = spawn(&pool, "while :; do :; done");
    for pid in host::processes() {
        if host::try_parent_of(pid) == Some(template.keeper_pid()) {
            let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::STOP);
        }
    }
    sleep_on()
}

fn making_templates(place: &Place) -> ! {
    for turn in 0.. {
        let builder = place.builder();
        let builder = if turn % 4 == 3 { builder.without_idmap() } else { builder.ahead() };
        let template = builder.build().unwrap();
        if turn % 4 == 2 {
            template.fork_noop().unwrap().wait().unwrap();
        }
        Command::noop().status(&Pool::new(&template, 1).unwrap()).unwrap();
    }
    unreachable!()
}

fn warming(place: &Place) -> ! {
    let template = place.template();
    loop {
        let pool = Pool::builder(&template).ready(8).warm(2).build().unwrap();
        let all: Vec<Container> = (0..6).map(|_| spawn(&pool, "exec sleep 1000")).collect();
        drop(all);
    }
}

fn resetting(place: &Place) -> ! {
    let template = place.builder().policy(Policy::Reuse).build().unwrap();
    let pool = Pool::new(&template, 2).unwrap();
    loop {
        run_in(&pool, "echo x >/tmp/x");
        run_in(&pool, "attack daemons 3; attack system-v");
    }
}

fn recycling(place: &Place) -> ! {
    let pool = Pool::new(&place.template(), 3).unwrap();
    loop {
        run_in(&pool, "dd if=/dev/zero of=/tmp/x bs=1024 count=512");
    }
}

fn shared(place: &Place) -> ! {
    let template = place.builder().policy(Policy::Shared).build().unwrap();
    let pool = Pool::new(&template, 3).unwrap();
    let _container = spawn(&pool, "attack daemons 3; while :; do :; done");
    loop {
        run_in(&pool, "attack daemons 2");
    }
}

fn writable(place: &Place) -> ! {
    let rootfs = Rootfs::overlay(std::slice::from_ref(&place.root), &place.upper).unwrap();
    let pool = Pool::new(&Template::builder(rootfs).build().unwrap(), 1).unwrap();
    for turn in 0.. {
        run_in(&pool, &format!("echo {turn} >/written"));
    }
    let _ = fs::read_dir(&place.upper);
    unreachable!()
}
