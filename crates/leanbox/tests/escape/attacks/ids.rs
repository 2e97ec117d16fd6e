//! Identities and capabilities: getting more than one was given.

use super::status;
use crate::call::{at, call, minus, nr};
use crate::stage::{self, Stage};
use crate::verdict::{Blocked, Open, Verdict, all, refused, refused_with};
use std::process::{Command, Stdio};

const NONE: &str = "0000000000000000";

/// What a program of the image has that gives its caller more: as an ordinary user.
fn executed(program: &str) -> Verdict {
    let _ = call(nr::__NR_setgid, [1000]);
    let _ = call(nr::__NR_setuid, [1000]);
    let mut command = Command::new(program);
    let before = rustix::process::geteuid().as_raw();
    match command.args(stage::WORDS).env(stage::MODE, "ids").stdin(Stdio::inherit()).output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).to_string();
            let line = text.lines().find_map(|line| line.strip_prefix("ids "));
            match line {
                Some(line) if line == format!("{before} {NONE}") => Blocked("gives nothing".into()),
                Some(line) => Open(format!("user and capabilities are {line}")),
                None => Open(format!("no answer: {text:?} {:?}", output.status)),
            }
        }
        Err(error) => Blocked(error.kind().to_string()),
    }
}

/// What such a program prints.
pub(crate) fn print_own() {
    let held = status("self", "CapEff").unwrap_or_default();
    println!("\nids {} {held}", rustix::process::geteuid().as_raw());
}

pub(crate) fn set_id_program(_: &Stage) -> Verdict {
    executed("/bin/set-id")
}

pub(crate) fn file_capabilities(_: &Stage) -> Verdict {
    executed("/bin/set-capabilities")
}

pub(crate) fn no_new_privileges(_: &Stage) -> Verdict {
    const PR_SET: usize = 38;
    let _ = call(nr::__NR_prctl, [PR_SET, 0, 0, 0, 0]);
    match status("self", "NoNewPrivs").as_deref() {
        Some("1") => Blocked("stays set".into()),
        _ => Open("is not set".into()),
    }
}

pub(crate) fn secure_bits(_: &Stage) -> Verdict {
    const PR_SET_SECUREBITS: usize = 28;
    refused(call(nr::__NR_prctl, [PR_SET_SECUREBITS, 1 << 4, 0, 0, 0]))
}

pub(crate) fn capset(_: &Stage) -> Verdict {
    let head = [0x2008_0522_u32, 0];
    let all_of_them = [!0_u32; 6];
    let set = call(nr::__NR_capset, [at(&head), at(&all_of_them)]);
    let held = ["CapInh", "CapPrm", "CapEff"].map(|set| status("self", set).unwrap_or_default());
    let none = held.iter().all(|set| set == NONE);
    all([refused(set), if none { Blocked("none held".into()) } else { Open(held[1].clone()) }])
}

pub(crate) fn ambient(_: &Stage) -> Verdict {
    const PR_CAP_AMBIENT: usize = 47;
    const RAISE: usize = 2;
    let raised = (0..41).map(|number| {
        // one must be inheritable first
        let head = [0x2008_0522_u32, 0];
        let mut sets = [0_u32; 6];
        sets[usize::from(number >= 32) * 3..][..3].fill(1 << (number % 32));
        let _ = call(nr::__NR_capset, [at(&head), at(&sets)]);
        refused(call(nr::__NR_prctl, [PR_CAP_AMBIENT, RAISE, number, 0, 0]))
    });
    all(raised.take(2))
}

pub(crate) fn bounding_set(_: &Stage) -> Verdict {
    match status("self", "CapBnd").as_deref() {
        Some(NONE) => Blocked("empty".into()),
        other => Open(format!("is {}", other.unwrap_or("?"))),
    }
}

/// The launcher's user, the next one, the host's root where one is not.
pub(crate) fn other_users(_: &Stage) -> Verdict {
    let own = rustix::process::geteuid().as_raw();
    let wanted = [0, 1, 65_534, 65_535].into_iter().filter(|uid| *uid != own as usize);
    all(wanted.flat_map(|id| {
        [
            refused_with(call(nr::__NR_setresuid, [id, id, id]), &["EPERM", "EINVAL"]),
            refused_with(call(nr::__NR_setresgid, [id, id, id]), &["EPERM", "EINVAL"]),
        ]
    }))
}

pub(crate) fn groups(_: &Stage) -> Verdict {
    let list = [0_u32, 44];
    all([
        refused(call(nr::__NR_setgroups, [0, 0])),
        refused(call(nr::__NR_setgroups, [2, at(&list)])),
    ])
}

pub(crate) fn keyrings(_: &Stage) -> Verdict {
    const SESSION: usize = minus(3);
    const PROCESS: usize = minus(2);
    let payload = [b'x'];
    let add = [at(c"user"), at(c"leanbox-escape"), at(&payload), 1, PROCESS];
    all([
        refused(call(nr::__NR_keyctl, [0, SESSION, 0])),
        refused(call(nr::__NR_add_key, add)),
        refused(call(nr::__NR_request_key, [at(c"user"), at(c"leanbox-escape"), 0, 0])),
    ])
}

/// A user of the host outside of the id map: root inside must not be root there.
pub(crate) fn root_of_the_host(_: &Stage) -> Verdict {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
    let words: Vec<&str> = map.split_whitespace().collect();
    match words.as_slice() {
        ["0", "0", _] => Open("user 0 is the host's".into()),
        ["0", _, "65536"] => Blocked("user 0 is another".into()),
        other => Open(format!("mapped as {other:?}")),
    }
}

/// Their limit is 0, and nobody raises it.
pub(crate) fn coredumps(_: &Stage) -> Verdict {
    const RLIMIT_CORE: usize = 4;
    let raise = [1_u64 << 20, 1 << 20];
    refused(call(nr::__NR_prlimit64, [0, RLIMIT_CORE, at(&raise), 0]))
}
