//! `classic`: our own implementation of the original lean container's critical path, the
//! baseline to beat. Double fork; four `setns` into cached namespaces; `chroot`; the pid written
//! to `cgroup.procs` of every hierarchy, opened, written and closed each time; `waitpid`. It
//! shares nothing with the fast path but the system calls.

use core::ffi::CStr;
use leanbox_sys::process::{self, CLONE_NEWIPC, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUTS};
use leanbox_sys::{Errno, Fd, Result, fd, mount, sync};

/// Namespaces of a process that only sleeps, in the order they are entered.
struct Cached {
    holder: i32,
    namespaces: [Fd; 4],
}

/// Fills `samples` with nanoseconds from before the first fork to after the wait. `texts`: the
/// root file system, then the `cgroup.procs` files, each ended by NUL, the list by another.
pub(crate) fn measure(texts: &[u8], samples: &mut [u64]) -> Result<()> {
    let root = text_at(texts, 0);
    let cached = Cached::new()?;
    let root_fd = fd::open(root, fd::O_RDONLY | fd::O_DIRECTORY | fd::O_CLOEXEC)?;
    let mut outcome = Ok(());
    for sample in samples {
        let begin = sync::now_ns();
        outcome = critical_path(&cached, root_fd, texts);
        *sample = sync::now_ns() - begin;
        if outcome.is_err() {
            break;
        }
    }
    fd::close(root_fd);
    cached.release();
    outcome
}

fn text_at(texts: &[u8], offset: usize) -> &CStr {
    let rest = texts.get(offset..).unwrap_or(&[]);
    CStr::from_bytes_until_nul(rest).unwrap_or(c"")
}

/// Set up container → it exits at once → wait.
fn critical_path(cached: &Cached, root: Fd, texts: &[u8]) -> Result<()> {
    // SAFETY: one thread; the child ends in `enter`.
    let child = unsafe { process::fork(0) }?;
    if child == 0 {
        let entered = enter(cached, root, texts);
        process::exit(entered.err().map_or(0, |errno| errno.0));
    }
    match process::wait(child, 0)? {
        (_, 0) => Ok(()),
        (_, status) => Err(Errno(status >> 8 & 0xff)),
    }
}

/// The first child: joins groups and namespaces, then forks again to be in the pid namespace.
fn enter(cached: &Cached, root: Fd, texts: &[u8]) -> Result<()> {
    join_groups(texts)?;
    for namespace in cached.namespaces {
        process::setns(namespace, 0)?;
    }
    // SAFETY: one thread; the container ends at once.
    let container = unsafe { process::fork(0) }?;
    if container == 0 {
        let rooted = fd::fchdir(root).and_then(|()| mount::chroot_here());
        process::exit(rooted.err().map_or(0, |errno| errno.0));
    }
    match process::wait(container, 0)? {
        (_, 0) => Ok(()),
        (_, status) => Err(Errno(status >> 8 & 0xff)),
    }
}

fn join_groups(texts: &[u8]) -> Result<()> {
    let mut digits = [0; 12];
    let pid = decimal(process::getpid(), &mut digits);
    let mut offset = text_at(texts, 0).count_bytes() + 1;
    loop {
        let group = text_at(texts, offset);
        if group.is_empty() {
            return Ok(());
        }
        let procs = fd::open(group, fd::O_WRONLY | fd::O_CLOEXEC)?;
        let written = fd::write(procs, pid);
        fd::close(procs);
        written?;
        offset += group.count_bytes() + 1;
    }
}

fn decimal(mut number: i32, digits: &mut [u8; 12]) -> &[u8] {
    let mut begin = digits.len();
    while begin > 0 && (number > 0 || begin == digits.len()) {
        begin -= 1;
        digits[begin] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    &digits[begin..]
}

impl Cached {
    fn new() -> Result<Self> {
        let flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC;
        // SAFETY: one thread; the holder only sleeps until it is killed.
        let holder = unsafe { process::fork(flags) }?;
        if holder == 0 {
            let forever = core::sync::atomic::AtomicU32::new(0);
            loop {
                sync::wait_while(&forever, 0, 60_000);
            }
        }
        let mut cached = Self { holder, namespaces: [-1; 4] };
        let mut path = *b"/proc/0000000000/ns/uts\0";
        let mut digits = [b'0'; 12];
        let pid = decimal(holder, &mut digits);
        // A path that begins with zeros names no process, so the digits are put flush left.
        let base = 6 + pid.len();
        path[6..base].copy_from_slice(pid);
        for (name, slot) in [b"uts", b"ipc", b"pid", b"mnt"].iter().zip(0..4) {
            path[base..base + 4].copy_from_slice(b"/ns/");
            path[base + 4..base + 7].copy_from_slice(*name);
            path[base + 7] = 0;
            let opened = fd::open(text_at(&path, 0), fd::O_RDONLY | fd::O_CLOEXEC);
            match opened {
                Ok(namespace) => cached.namespaces[slot] = namespace,
                Err(errno) => {
                    cached.release();
                    return Err(errno);
                }
            }
        }
        Ok(cached)
    }

    fn release(self) {
        self.namespaces.into_iter().filter(|fd| *fd >= 0).for_each(fd::close);
        let _ = process::kill(self.holder, process::SIGKILL);
        let _ = process::wait(self.holder, process::WALL);
    }
}
