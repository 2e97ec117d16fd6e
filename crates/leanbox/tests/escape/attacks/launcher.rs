//! At the launcher: pid 1 of the namespace. In `classic` there the process is that holds the
//! namespaces, and of the host's user.

use super::{others, parent, status};
use crate::call::{NOWHERE, Tried, at, call, minus, nr, word};
use crate::stage::Stage;
use crate::verdict::{Blocked, Open, Verdict, all, name, opens, refused, refused_with};
use leanbox_sys::Errno;
use leanbox_sys::fd::{O_RDONLY, O_WRONLY};
use std::fs;
use std::io::Read;

const LAUNCHER: usize = 1;
/// User of leanbox's launchers inside.
const LAUNCHER_UID: &str = "65535 65535 65535 65535";
const SIGURG: usize = 23;

/// Whether it is one of leanbox's, at which an attack may be a real one.
fn is_launcher() -> bool {
    status("1", "Uid").as_deref() == Some(LAUNCHER_UID)
}

pub(crate) fn trace(_: &Stage) -> Verdict {
    const ATTACH: usize = 16;
    const SEIZE: usize = 0x4206;
    let attach = is_launcher().then(|| call(nr::__NR_ptrace, [ATTACH, LAUNCHER, 0, 0]));
    let seize = call(nr::__NR_ptrace, [SEIZE, LAUNCHER, 0, 0]);
    all(attach.into_iter().chain([seize]).map(refused))
}

pub(crate) fn memory_file(_: &Stage) -> Verdict {
    all([opens("/proc/1/mem", O_RDONLY), opens("/proc/1/mem", O_WRONLY)])
}

pub(crate) fn maps(_: &Stage) -> Verdict {
    let files = ["maps", "smaps", "pagemap", "numa_maps", "auxv", "stack", "syscall"];
    let head = |file| fs::File::open(file)?.read(&mut [0; 16]); // one is as long as the memory
    all(files.map(|file| match head(format!("/proc/1/{file}")) {
        Ok(1..) => Open(format!("/proc/1/{file} was read")),
        Ok(0) => Blocked("empty".into()),
        Err(error) => Blocked(name(Errno(error.raw_os_error().unwrap_or(0)))),
    }))
}

pub(crate) fn environment(_: &Stage) -> Verdict {
    opens("/proc/1/environ", O_RDONLY)
}

pub(crate) fn descriptors(_: &Stage) -> Verdict {
    let copy = match call(nr::__NR_pidfd_open, [LAUNCHER, 0]) {
        Err(errno) => refused(Err(errno)),
        Ok(pidfd) => refused(call(nr::__NR_pidfd_getfd, [pidfd, 0, 0])),
    };
    all([copy, opens("/proc/1/fd", O_RDONLY), opens("/proc/1/fdinfo", O_RDONLY)])
}

fn vectors(number: u32) -> Tried {
    let byte = [0_u8; 1];
    let (here, there) = ([at(&byte), 1], [NOWHERE, 1]);
    call(number, [LAUNCHER, at(&here), 1, at(&there), 1, 0])
}

pub(crate) fn read_memory(_: &Stage) -> Verdict {
    refused(vectors(nr::__NR_process_vm_readv))
}

pub(crate) fn write_memory(_: &Stage) -> Verdict {
    refused(vectors(nr::__NR_process_vm_writev))
}

pub(crate) fn advise_memory(_: &Stage) -> Verdict {
    const COLD: usize = 20;
    let range = [0_usize, 4096];
    let advised = match call(nr::__NR_pidfd_open, [LAUNCHER, 0]) {
        Ok(pidfd) => call(nr::__NR_process_madvise, [pidfd, at(&range), 1, COLD, 0]),
        refused => refused,
    };
    let moved = call(nr::__NR_move_pages, [LAUNCHER, 0, 0, 0, 0, 0]);
    all([refused(advised), refused(moved)])
}

pub(crate) fn compare(_: &Stage) -> Verdict {
    let own = std::process::id() as usize;
    refused(call(nr::__NR_kcmp, [LAUNCHER, own, 0, 0, 0]))
}

/// All of them at a launcher; elsewhere number 0, which asks whether one might. SIGCONT may be
/// sent within a session (kill(2)), and is nothing to who is not stopped.
pub(crate) fn signals(_: &Stage) -> Verdict {
    const SIGCONT: usize = 18;
    let last = if is_launcher() { 64 } else { 0 };
    let tried = (0..=last).filter(|signal| *signal != SIGCONT);
    all(tried.map(|signal| refused(call(nr::__NR_kill, [LAUNCHER, signal]))))
}

pub(crate) fn signals_by_other_calls(_: &Stage) -> Verdict {
    let signal = if is_launcher() { 9 } else { 0 };
    // siginfo_t with si_code SI_QUEUE.
    let mut info = [0_i32; 32];
    info[2] = -1;
    let by_pidfd = match call(nr::__NR_pidfd_open, [LAUNCHER, 0]) {
        Ok(pidfd) => call(nr::__NR_pidfd_send_signal, [pidfd, signal, 0, 0]),
        refused => refused,
    };
    all([
        refused(call(nr::__NR_tgkill, [LAUNCHER, LAUNCHER, signal])),
        refused(call(nr::__NR_tkill, [LAUNCHER, signal])),
        refused(call(nr::__NR_rt_sigqueueinfo, [LAUNCHER, signal, at(&info)])),
        refused(call(nr::__NR_rt_tgsigqueueinfo, [LAUNCHER, LAUNCHER, signal, at(&info)])),
        refused(by_pidfd),
    ])
}

/// kill(-1) with a signal that nobody minds, and that a neighbour holds back to show it.
pub(crate) fn signal_to_all(_: &Stage) -> Verdict {
    let _ = call(nr::__NR_kill, [minus(1), SIGURG]);
    let reached = |pid: i32| {
        let pending = status(&pid.to_string(), "ShdPnd")?;
        let set = u64::from_str_radix(&pending, 16).ok()?;
        (set >> (SIGURG - 1) & 1 == 1).then_some(pid)
    };
    let launcher = reached(1).map(|_| Open("the launcher got it".into()));
    let hit = others().into_iter().find_map(reached);
    launcher
        .or(hit.map(|_| Open("a neighbour got it".into())))
        .unwrap_or(Blocked("reaches nobody else".into()))
}

/// An owner of a descriptor is sent a signal when there is something to read (fcntl(2)).
pub(crate) fn signal_by_descriptor(_: &Stage) -> Verdict {
    const SETOWN: usize = 8;
    const SETSIG: usize = 10;
    const SETFL: usize = 4;
    const ASYNC: usize = 0o20000;
    if !is_launcher() {
        // Only at one of ours is it known what it should have pending.
        return Blocked("pid 1 of a namespace takes none from inside".into());
    }
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let set = [(SETOWN, LAUNCHER), (SETSIG, 15), (SETFL, ASYNC)];
    for (command, value) in set {
        if let Err(errno) = call(nr::__NR_fcntl, [word(&reader), command, value]) {
            return refused(Err(errno));
        }
    }
    rustix::io::write(&writer, b"x").unwrap();
    let pending = ["SigPnd", "ShdPnd"].map(|key| status("1", key).unwrap_or_default());
    let none = pending.iter().all(|set| set.bytes().all(|digit| digit == b'0'));
    if none && parent() != 0 { Blocked("no signal came".into()) } else { Open(pending.join(" ")) }
}

/// As getting: prlimit(2) asks for the same rights to set and to get.
pub(crate) fn limits(_: &Stage) -> Verdict {
    let limit = [5_u64, 5];
    let set = if is_launcher() { at(&limit) } else { 0 };
    let old = [0_u64; 2];
    refused(call(nr::__NR_prlimit64, [LAUNCHER, 7, set, at(&old)]))
}

pub(crate) fn oom_score(_: &Stage) -> Verdict {
    opens("/proc/1/oom_score_adj", O_WRONLY)
}

pub(crate) fn scheduling(_: &Stage) -> Verdict {
    let cpus = [!0_u64; 16];
    let priority = [0_i32; 1];
    const PID_ONLY: usize = 1;
    const BATCH: usize = 3;
    let best_effort = 2 << 13 | 4;
    let nice = if is_launcher() { 19 } else { 0 };
    all([
        refused(call(nr::__NR_setpriority, [0, LAUNCHER, nice])),
        refused(call(nr::__NR_sched_setaffinity, [LAUNCHER, 128, at(&cpus)])),
        refused(call(nr::__NR_sched_setscheduler, [LAUNCHER, BATCH, at(&priority)])),
        refused(call(nr::__NR_ioprio_set, [PID_ONLY, LAUNCHER, best_effort])),
    ])
}

/// Files of `/proc/1` for writing. Of some, everybody may open them, and is asked at the write.
pub(crate) fn other_files(_: &Stage) -> Verdict {
    let files = "attr/current autogroup clear_refs comm coredump_filter gid_map loginuid \
        make-it-fail oom_adj projid_map sched setgroups timens_offsets timerslack_ns uid_map";
    all(files.split_whitespace().map(|file| {
        let path = format!("/proc/1/{file}");
        match opens(&path, O_WRONLY) {
            Open(_) if is_launcher() => match fs::write(&path, "1") {
                Ok(()) => Open(format!("{path} was written")),
                Err(error) => refused(Err(Errno(error.raw_os_error().unwrap_or(0)))),
            },
            verdict => verdict,
        }
    }))
}

/// Moves the launcher into another process group.
pub(crate) fn process_group(_: &Stage) -> Verdict {
    let own = std::process::id() as usize;
    refused_with(call(nr::__NR_setpgid, [LAUNCHER, own]), &["EPERM", "EACCES", "ESRCH"])
}

/// Its namespaces, by their files.
pub(crate) fn namespaces(_: &Stage) -> Verdict {
    all(["mnt", "pid", "net", "user", "cgroup", "ipc", "uts"].map(|kind| {
        let opened = fs::File::open(format!("/proc/1/ns/{kind}"));
        match opened {
            Ok(_) => Open(format!("/proc/1/ns/{kind} opens")),
            Err(error) => Blocked(name(Errno(error.raw_os_error().unwrap_or(0)))),
        }
    }))
}
