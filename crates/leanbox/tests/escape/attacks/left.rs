//! What one run leaves for the next in a slot that serves again (policy `reuse`), by pairs: one
//! leaves, one looks. On `classic` both run in the same cached namespaces.

use super::{neighbours, others, status};
use crate::call::{at, call, minus, nr};
use crate::stage::Stage;
use crate::verdict::{Blocked, Open, Verdict, all};
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::Duration;

const NAME: &str = "left";
const QUEUE: &str = "/leanbox-left";
const MARK: &str = "leanbox-left-in-memory";

/// A child that goes on without its parent, its streams closed.
fn daemon(life: impl FnOnce()) {
    // SAFETY: the test binary runs attacks in one thread; the child never returns.
    if unsafe { leanbox_sys::process::fork(0) } == Ok(0) {
        let _ = leanbox_sys::process::setsid();
        let _ = leanbox_sys::process::set_signal(15, true);
        (0..3).for_each(leanbox_sys::fd::close);
        life();
        std::thread::sleep(Duration::from_secs(60));
        leanbox_sys::process::exit(0);
    }
    std::thread::sleep(Duration::from_millis(100)); // it has begun
}

pub(crate) fn leave_files(stage: &Stage) {
    neighbours::make_files(stage, NAME);
}

pub(crate) fn find_files(stage: &Stage) -> Verdict {
    neighbours::no_files(stage, NAME)
}

pub(crate) fn leave_objects(_: &Stage) {
    neighbours::make_objects();
}

pub(crate) fn find_objects(_: &Stage) -> Verdict {
    all([neighbours::no_shared_memory(), neighbours::no_semaphores(), neighbours::no_messages()])
}

pub(crate) fn leave_queue(_: &Stage) {
    let _ = neighbours::make_queue(QUEUE);
}

pub(crate) fn find_queue(_: &Stage) -> Verdict {
    neighbours::no_queue(QUEUE)
}

pub(crate) fn leave_process(_: &Stage) {
    daemon(|| ());
}

pub(crate) fn find_process(_: &Stage) -> Verdict {
    match others().as_slice() {
        [] => Blocked("none".into()),
        _ => Open("it lives on".into()),
    }
}

fn socket(stage: &Stage) -> SocketAddr {
    SocketAddr::from_abstract_name(format!("leanbox-left-{}", stage.token)).unwrap()
}

pub(crate) fn leave_socket(stage: &Stage) {
    daemon(|| std::mem::forget(UnixListener::bind_addr(&socket(stage))));
}

pub(crate) fn find_socket(stage: &Stage) -> Verdict {
    match UnixStream::connect_addr(&socket(stage)) {
        Ok(_) => Open("connected".into()),
        Err(error) => Blocked(error.kind().to_string()),
    }
}

/// A lock on a file of the root, which all slots have in common, and that dies with its holder.
pub(crate) fn leave_lock(_: &Stage) {
    daemon(|| {
        let file = fs::File::open("/etc/group").unwrap();
        let _ = rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive);
        std::mem::forget(file);
    });
}

/// Its holder may be on its way out in a slot that is thrown away.
pub(crate) fn find_lock(_: &Stage) -> Verdict {
    let file = fs::File::open("/etc/group").unwrap();
    let lock = || rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive);
    let free = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        lock().is_ok()
    });
    if free { Blocked("went with its holder".into()) } else { Open("is still locked".into()) }
}

/// Limits, priority, mask, layout of the process that leaves: none may be the next one's.
pub(crate) fn leave_settings(_: &Stage) {
    let limit = [64_u64, 64];
    let _ = call(nr::__NR_prlimit64, [0, 7, at(&limit), 0]);
    let _ = call(nr::__NR_setpriority, [0, 0, 7]);
    let _ = call(nr::__NR_umask, [0o777]);
    let _ = fs::write("/proc/self/oom_score_adj", "999");
    let seconds = [0_i64, 0, 1000, 0];
    let _ = call(nr::__NR_setitimer, [0, at(&seconds), 0]);
}

pub(crate) fn find_settings(_: &Stage) -> Verdict {
    let limit = [0_u64; 2];
    let _ = call(nr::__NR_prlimit64, [0, 7, 0, at(&limit)]);
    // SAFETY: the kernel wrote there; the compiler must not think of the zeros.
    let files = unsafe { std::ptr::read_volatile(&raw const limit[0]) };
    let score = fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
    let mask = status("self", "Umask").unwrap_or_default();
    let nice = call(nr::__NR_getpriority, [0, 0]); // 20 for 0
    let says =
        |wrong: bool, what: String| if wrong { Open(what) } else { Blocked("as new".into()) };
    all([
        says(files == 64, format!("{files} descriptors")),
        says(score.trim() == "999", format!("OOM score {score}")),
        says(mask == "0777", format!("mask {mask}")),
        says(nice == Ok(13), format!("priority {nice:?}")),
    ])
}

pub(crate) fn leave_memory(_: &Stage) {
    // SAFETY: it is a single thread here; what is set is in its environment only.
    unsafe { std::env::set_var("LEANBOX_LEFT", MARK) };
    let pages: Vec<String> = (0..200_000).map(|number| format!("{number} {MARK}")).collect();
    std::hint::black_box(&pages);
}

/// In the environment and in memory that is new from the kernel.
pub(crate) fn find_memory(_: &Stage) -> Verdict {
    const LENGTH: usize = 32 << 20;
    let in_environment = std::env::vars().any(|(_, value)| value.contains(MARK));
    let memory = leanbox_sys::memory::map_anonymous(0, LENGTH, false).unwrap();
    // SAFETY: the mapping is that long, and nobody else's.
    let bytes = unsafe { std::slice::from_raw_parts(memory.cast_const(), LENGTH) };
    if in_environment || bytes.iter().any(|byte| *byte != 0) {
        Open("something was there".into())
    } else {
        Blocked("zeros".into())
    }
}

pub(crate) fn leave_key(_: &Stage) {
    const SESSION: usize = minus(3);
    let arguments = [at(c"user"), at(c"leanbox-left"), at(b"x"), 1, SESSION];
    let _ = call(nr::__NR_add_key, arguments);
}

pub(crate) fn find_key(_: &Stage) -> Verdict {
    const SEARCH: usize = 10;
    const UNLINK: usize = 9;
    const SESSION: usize = minus(3);
    match call(nr::__NR_keyctl, [SEARCH, SESSION, at(c"user"), at(c"leanbox-left"), 0]) {
        Ok(key) => {
            let _ = call(nr::__NR_keyctl, [UNLINK, key, SESSION]);
            Open("the key was found".into())
        }
        Err(errno) => Blocked(crate::verdict::name(errno)),
    }
}

/// A watch on the folder that all slots read, by a process that stays.
pub(crate) fn leave_watch(_: &Stage) {
    daemon(|| {
        if let Ok(watch) = call(nr::__NR_inotify_init1, [0]) {
            let _ = call(nr::__NR_inotify_add_watch, [watch, at(c"/tmp"), 0xfff]);
            let event = [0_u8; 4096];
            let _ = call(nr::__NR_read, [watch, at(&event), 4096]);
            let _ = fs::write("/tmp/watched", "seen");
        }
    });
}

pub(crate) fn find_watch(_: &Stage) -> Verdict {
    let _ = fs::write("/tmp/something", "x");
    std::thread::sleep(Duration::from_millis(200));
    if fs::exists("/tmp/watched").unwrap_or(false) {
        Open("an earlier run watched it".into())
    } else {
        Blocked("nobody watches".into())
    }
}

/// A working directory that is gone, a root that is another, a name.
pub(crate) fn leave_place(_: &Stage) {
    let _ = fs::create_dir("/tmp/gone");
    let _ = std::env::set_current_dir("/tmp/gone");
    let _ = fs::remove_dir("/tmp/gone");
    let _ = call(nr::__NR_sethostname, [at(b"left"), 4]);
}

pub(crate) fn find_place(_: &Stage) -> Verdict {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match (std::env::current_dir(), host.trim()) {
        (Ok(_), "left") => Open("the host name is the last run's".into()),
        (Ok(_), _) => Blocked("as new".into()),
        (Err(error), _) => Open(format!("no working directory: {error}")),
    }
}
