//! The original's critical path as leanbox implements it for its benchmark
//! (`leanbox-launcher/src/classic.rs`: cached namespaces, four `setns`, a second fork, `chroot`),
//! here with a program at its end and without the groups, which isolate nothing. So that what
//! succeeds stays in them, the cached mounts are private, and the root is one of them.

use leanbox_sys::process::{self, CLONE_NEWIPC, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUTS};
use leanbox_sys::{Errno, fd, mount, sync};
use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicU32;
use std::time::Duration;

const HOLDER: &CStr = c"leanbox-holder";
const PR_SET_PDEATHSIG: i32 = 1;

/// Namespaces of a process that only sleeps, and the root.
pub(crate) struct Cached {
    holder: i32,
    namespaces: Vec<File>,
    root: PathBuf,
}

impl Cached {
    pub(crate) fn new(root: &Path) -> Self {
        let flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC;
        // SAFETY: the child only makes system calls.
        let holder = unsafe { process::fork(flags) }.unwrap();
        if holder == 0 {
            hold();
        }
        let named = || fs::read_to_string(format!("/proc/{holder}/comm")).unwrap();
        let ready = || named().trim() == HOLDER.to_str().unwrap();
        assert!(crate::host::within(Duration::from_secs(5), ready), "the holder is not ready");
        let open = |name| File::open(format!("/proc/{holder}/ns/{name}")).unwrap();
        let namespaces = ["uts", "ipc", "pid", "mnt"].map(open).into();
        Self { holder, namespaces, root: root.to_path_buf() }
    }

    /// A program in a container of them; `terminal` becomes a descriptor of that number.
    pub(crate) fn command(&self, program: &str, terminal: &(OwnedFd, usize)) -> Command {
        let namespaces: Vec<i32> = self.namespaces.iter().map(AsRawFd::as_raw_fd).collect();
        let root = CString::new(self.root.as_os_str().as_encoded_bytes()).unwrap();
        let (from, to) = (terminal.0.as_raw_fd(), i32::try_from(terminal.1).unwrap());
        let enter = move || -> Result<(), Errno> {
            namespaces.iter().try_for_each(|namespace| process::setns(*namespace, 0))?;
            // SAFETY: the parent only waits, the child goes on to its exec.
            let container = unsafe { process::fork(0) }?;
            if container != 0 {
                let _ = fd::close_from(0); // the streams are the container's
                let (_, status) = process::wait(container, 0)?;
                process::exit(status >> 8 & 0xff);
            }
            fd::chdir(&root)?;
            mount::chroot_here()?;
            fd::dup_to(from, to, false)
        };
        let mut command = Command::new(program);
        command.env_clear().stdin(Stdio::null());
        // SAFETY: only system calls between fork and exec.
        unsafe {
            command.pre_exec(move || {
                enter().map_err(|errno| std::io::Error::from_raw_os_error(errno.0))
            })
        };
        command
    }
}

/// The holder: it dies with the test.
fn hold() -> ! {
    let forever = AtomicU32::new(0);
    let made = mount::mount(c"none", c"/", mount::MS_REC | mount::MS_PRIVATE)
        .and_then(|()| process::prctl(PR_SET_PDEATHSIG, 9, 0))
        .and_then(|_| process::prctl(process::pr::SET_NAME, HOLDER.as_ptr().addr(), 0));
    if made.is_err() {
        process::exit(1);
    }
    loop {
        sync::wait_while(&forever, 0, 60_000);
    }
}

impl Drop for Cached {
    fn drop(&mut self) {
        let _ = process::kill(self.holder, process::SIGKILL);
        let _ = process::wait(self.holder, process::WALL);
    }
}
