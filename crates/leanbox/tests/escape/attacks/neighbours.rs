//! Another container of the same template that runs at the same time: what it has made, an
//! attacker looks for.

use super::others;
use crate::call::{at, call, nr, text};
use crate::stage::{KEY, Stage};
use crate::verdict::{Blocked, Open, Verdict, all, name, opens, refused_with};
use leanbox_sys::Errno;
use leanbox_sys::fd::O_RDONLY;
use std::fs;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::Duration;

const CREATE: usize = 0o1000;
const SIGURG: u64 = 23;
const LIFE: Duration = Duration::from_secs(300);
const GONE: &[&str] = &["ENOENT", "EACCES", "EPERM"];

/// Makes one of everything, says its port, and lives on.
pub(crate) fn live(stage: &Stage) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = SocketAddr::from_abstract_name(stage.neighbour_socket()).unwrap();
    let socket = UnixListener::bind_addr(&socket).unwrap();
    make_files(stage, "neighbour");
    make_objects();
    let _ = make_queue("/leanbox-neighbour");
    // SAFETY: the child only sleeps; it keeps a signal that nobody minds, for who looks.
    if unsafe { leanbox_sys::process::fork(0) } == Ok(0) {
        let _ = leanbox_sys::process::set_signal_mask(1 << (SIGURG - 1));
        std::thread::sleep(LIFE);
        leanbox_sys::process::exit(0);
    }
    println!("\nready {}", port.local_addr().unwrap().port());
    std::thread::sleep(LIFE);
    drop((port, socket));
}

pub(crate) fn make_files(stage: &Stage, name: &str) {
    for folder in ["/tmp", "/dev/shm"] {
        let _ = fs::write(format!("{folder}/{name}"), &stage.token);
    }
}

pub(crate) fn make_objects() {
    let _ = call(nr::__NR_shmget, [KEY, 4096, CREATE | 0o666]);
    let _ = call(nr::__NR_semget, [KEY, 1, CREATE | 0o666]);
    let _ = call(nr::__NR_msgget, [KEY, CREATE | 0o666]);
}

pub(crate) fn make_queue(name: &str) -> crate::call::Tried {
    const READ_WRITE: usize = 2;
    const O_CREAT: usize = 0o100;
    let (name, sizes) = (text(name.trim_start_matches('/')), [0_i64, 1, 8, 0, 0, 0, 0, 0]);
    call(nr::__NR_mq_open, [at(&*name), O_CREAT | READ_WRITE, 0o666, at(&sizes)])
}

pub(crate) fn no_files(stage: &Stage, name: &str) -> Verdict {
    all(["/tmp", "/dev/shm"].map(|folder| match fs::read_to_string(format!("{folder}/{name}")) {
        Ok(text) if text == stage.token => Open(format!("{folder}/{name} was read")),
        Ok(_) => Blocked("another file".into()),
        Err(error) => Blocked(crate::verdict::name(Errno(error.raw_os_error().unwrap_or(0)))),
    }))
}

pub(crate) fn no_shared_memory() -> Verdict {
    refused_with(call(nr::__NR_shmget, [KEY, 0, 0]), GONE)
}

pub(crate) fn no_semaphores() -> Verdict {
    refused_with(call(nr::__NR_semget, [KEY, 0, 0]), GONE)
}

pub(crate) fn no_messages() -> Verdict {
    refused_with(call(nr::__NR_msgget, [KEY, 0]), GONE)
}

pub(crate) fn no_queue(name: &str) -> Verdict {
    let name = text(name.trim_start_matches('/'));
    refused_with(call(nr::__NR_mq_open, [at(&*name), 2, 0, 0]), &["ENOENT", "EACCES", "EMFILE"])
}

pub(crate) fn files(stage: &Stage) -> Verdict {
    no_files(stage, "neighbour")
}

pub(crate) fn shared_memory(_: &Stage) -> Verdict {
    no_shared_memory()
}

pub(crate) fn semaphores(_: &Stage) -> Verdict {
    all([no_semaphores(), no_messages()])
}

pub(crate) fn queues(_: &Stage) -> Verdict {
    no_queue("/leanbox-neighbour")
}

pub(crate) fn processes(_: &Stage) -> Verdict {
    match others().as_slice() {
        [] => Blocked("none in sight".into()),
        _ => Open("they are in sight".into()),
    }
}

pub(crate) fn signals(_: &Stage) -> Verdict {
    let own = [1, std::process::id() as usize, super::parent().unsigned_abs() as usize];
    let hit = (2..2000).filter(|pid| !own.contains(pid)).find(|pid| {
        let asked = call(nr::__NR_kill, [*pid, 0]);
        asked.is_ok() && super::others().iter().any(|other| other.unsigned_abs() as usize == *pid)
    });
    hit.map_or(Blocked("ESRCH".into()), |_| Open("allowed".into()))
}

/// Its memory, environment, root and descriptors.
pub(crate) fn memory(_: &Stage) -> Verdict {
    let looked = others().into_iter().flat_map(|pid| {
        ["mem", "environ", "root/tmp/neighbour", "fd/0"].map(|file| {
            match opens(&format!("/proc/{pid}/{file}"), O_RDONLY) {
                Open(_) => Open(format!("/proc/PID/{file} opens")),
                blocked @ Blocked(_) => blocked,
            }
        })
    });
    let looked: Vec<Verdict> = looked.collect();
    if looked.is_empty() { Blocked("none in sight".into()) } else { all(looked) }
}

/// A descriptor by its pidfd.
pub(crate) fn descriptors(_: &Stage) -> Verdict {
    let taken = others().into_iter().map(|pid| {
        let pidfd = call(nr::__NR_pidfd_open, [pid.unsigned_abs() as usize, 0]);
        match pidfd.and_then(|pidfd| call(nr::__NR_pidfd_getfd, [pidfd, 1, 0])) {
            Ok(_) => Open("one was taken".into()),
            Err(errno) => Blocked(name(errno)),
        }
    });
    let taken: Vec<Verdict> = taken.collect();
    if taken.is_empty() { Blocked("none in sight".into()) } else { all(taken) }
}
