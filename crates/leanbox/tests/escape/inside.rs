//! What the test binary does inside: one process for each attack, one line for each verdict.

use crate::attacks::{ids, neighbours};
use crate::call::{at, call, nr};
use crate::cases::{self, Attack, CASES};
use crate::stage::Stage;
use crate::verdict::{Verdict, all, opens};
use std::fs::{self, File};
use std::io::{Read, Write};

/// How long one attack may take, in seconds.
const PATIENCE: i64 = 20;
/// What pid 1 is called where the attacks may run: leanbox's launcher, and in `classic` the
/// process that holds the namespaces. Everywhere else they would hit the machine.
const PID_1: [&str; 2] = ["leanbox-init", "leanbox-holder"];

/// Does what the mode says.
pub(crate) fn run(mode: &str) {
    if !mode.starts_with("image ") {
        prepare();
    }
    let stage = || Stage::of_environment();
    match mode.split_once(' ').unwrap_or((mode, "")) {
        ("attack", _) => attack(&stage()),
        ("leave", name) => match cases::find(name).attack {
            Attack::Twice(leave, _) => leave(&stage()),
            _ => panic!("{name} leaves nothing"),
        },
        ("find", name) => match cases::find(name).attack {
            Attack::Twice(_, find) | Attack::Networked(find) => {
                say(name, &apart(|| find(&stage())))
            }
            _ => panic!("{name} finds nothing"),
        },
        ("image", name) => say(name, &apart(|| image(&stage()))),
        ("neighbour", _) => neighbours::live(&stage()),
        ("ids", _) => ids::print_own(),
        _ => panic!("no mode {mode}"),
    }
}

fn attack(stage: &Stage) {
    for case in CASES {
        if let Attack::Inside(by) = case.attack {
            say(case.name, &apart(|| by(stage)));
        }
    }
}

/// Where there is no `/proc` yet, as in `classic`, an attacker who may mount one does.
fn prepare() {
    if !fs::exists("/proc/self").unwrap() {
        let _ = call(nr::__NR_mount, [at(c"proc"), at(c"/proc"), at(c"proc"), 0, 0]);
    }
    let pid_1 = fs::read_to_string("/proc/1/comm").unwrap_or_default();
    assert!(PID_1.contains(&pid_1.trim()), "not inside a container: pid 1 is {pid_1:?}");
}

fn say(name: &str, verdict: &str) {
    println!("\ncase {name} {verdict}");
}

/// What another attack altered is not this one's: neither process nor mounts.
fn apart(by: impl FnOnce() -> Verdict) -> String {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    // SAFETY: the test binary runs attacks in one thread; the child ends below.
    let child = unsafe { leanbox_sys::process::fork(0) }.unwrap();
    if child == 0 {
        drop(reader);
        let seconds = [0_i64, 0, PATIENCE, 0];
        let _ = call(nr::__NR_setitimer, [0, at(&seconds), 0]);
        let _ = leanbox_sys::process::unshare(leanbox_sys::process::CLONE_NEWNS);
        let verdict = by();
        let _ = File::from(writer).write_all(verdict.to_string().as_bytes());
        leanbox_sys::process::exit(0);
    }
    drop(writer);
    let mut verdict = String::new();
    let _ = File::from(reader).read_to_string(&mut verdict);
    let (_, status) = leanbox_sys::process::wait(child, 0).unwrap();
    match (status & 0x7f, verdict.is_empty()) {
        (0, false) => verdict,
        (31, _) => "blocked: killed by SIGSYS".into(),
        (11, _) => "blocked: killed by SIGSEGV".into(),
        _ => format!("broken: status {status:#x}"),
    }
}

/// Whether a mount went where a link of the image points, or was left out for it.
fn image(stage: &Stage) -> Verdict {
    let canary = |folder: &str| match fs::read_to_string(format!("{folder}/canary")) {
        Ok(text) if text == stage.token => Verdict::Open(format!("the host's folder is {folder}")),
        _ => Verdict::Blocked("as isolated as without it".into()),
    };
    let write = |folder: &str| fs::write(format!("{folder}/written"), "x");
    let folders = ["/dev", "/proc", "/tmp", "/mnt", "/dev/shm"];
    let _ = folders.map(write); // the host looks for it
    // Where what is mounted on a folder went that was swapped with a link since.
    let steering = ["/proc", "/proc.link"].map(|proc| format!("{proc}/sys/kernel/ns_last_pid"));
    let steering = steering.map(|file| opens(&file, leanbox_sys::fd::O_WRONLY));
    let blocked = |verdict: Verdict| match verdict {
        Verdict::Blocked(_) => Verdict::Blocked("as isolated as without it".into()),
        open @ Verdict::Open(_) => open,
    };
    all(folders.map(canary).into_iter().chain(steering.map(blocked)))
}
