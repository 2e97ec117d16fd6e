//! Mounts and namespaces. On `classic` each of these attacks has a copy of the mounts to itself.

use crate::call::{HERE, at, call, minus, nr, text, word};
use crate::stage::Stage;
use crate::verdict::{Blocked, Verdict, all, refused, refused_with};
use leanbox_sys::process::{
    CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER,
    CLONE_NEWUTS, SIGCHLD,
};
use std::fs;

const BIND: usize = 4096;
const REMOUNT: usize = 32;
const DETACH: usize = 2;

fn mount(source: &str, target: &str, kind: &str, flags: usize, options: &str) -> Verdict {
    let _ = fs::create_dir_all(target);
    let [source, target, kind, options] = [source, target, kind, options].map(text);
    refused(call(nr::__NR_mount, [at(&*source), at(&*target), at(&*kind), flags, at(&*options)]))
}

pub(crate) fn new_tmpfs(_: &Stage) -> Verdict {
    mount("none", "/tmp/mount", "tmpfs", 0, "size=4k")
}

pub(crate) fn bind(_: &Stage) -> Verdict {
    mount("/", "/tmp/mount", "none", BIND, "")
}

pub(crate) fn remount(_: &Stage) -> Verdict {
    all(["/", "/proc/sys", "/dev"].map(|place| mount("none", place, "none", REMOUNT | BIND, "")))
}

/// What lies below a mask.
pub(crate) fn unmask(_: &Stage) -> Verdict {
    let masks = [c"/proc/kcore", c"/proc/keys", c"/proc/timer_list", c"/proc/sys", c"/proc/irq"];
    all(masks.map(|place| refused(call(nr::__NR_umount2, [at(place), DETACH]))))
}

pub(crate) fn new_proc(_: &Stage) -> Verdict {
    mount("none", "/tmp/mount", "proc", 0, "")
}

pub(crate) fn new_devices(_: &Stage) -> Verdict {
    all([
        mount("none", "/tmp/mount", "devtmpfs", 0, ""),
        mount("none", "/tmp/mount", "devpts", 0, "newinstance"),
    ])
}

pub(crate) fn overlay(_: &Stage) -> Verdict {
    for folder in ["/tmp/upper", "/tmp/work"] {
        let _ = fs::create_dir_all(folder);
    }
    let options = "lowerdir=/bin,upperdir=/tmp/upper,workdir=/tmp/work";
    all([options, "lowerdir=/bin:/etc"].map(|options| {
        match mount("none", "/tmp/mount", "overlay", 0, options) {
            // only where the kernel lacks it
            crate::verdict::Open(detail) if detail.ends_with("ENODEV") => Blocked("ENODEV".into()),
            other => other,
        }
    }))
}

/// By the calls of the new interface, one of which would be enough.
pub(crate) fn new_interface(_: &Stage) -> Verdict {
    const CLONE_TREE: usize = 1;
    let attributes = [0_u64; 4];
    all([
        refused(call(nr::__NR_fsopen, [at(c"tmpfs"), 0])),
        refused(call(nr::__NR_fsmount, [minus(1), 0, 0])),
        refused(call(nr::__NR_fspick, [HERE, at(c"/"), 0])),
        refused(call(nr::__NR_open_tree, [HERE, at(c"/"), CLONE_TREE])),
        refused(call(nr::__NR_move_mount, [HERE, at(c"/tmp"), HERE, at(c"/etc"), 0])),
        refused(call(nr::__NR_mount_setattr, [HERE, at(c"/"), 0, at(&attributes), 32])),
    ])
}

pub(crate) fn pivot_root(_: &Stage) -> Verdict {
    refused(call(nr::__NR_pivot_root, [at(c"/tmp"), at(c"/tmp")]))
}

pub(crate) fn unshare_user(_: &Stage) -> Verdict {
    refused(unshare(CLONE_NEWUSER))
}

fn unshare(flags: u64) -> crate::call::Tried {
    call(nr::__NR_unshare, [usize::try_from(flags).unwrap()])
}

pub(crate) fn unshare_others(_: &Stage) -> Verdict {
    const CLONE_NEWTIME: u64 = 0x80;
    all([
        CLONE_NEWNS,
        CLONE_NEWNET,
        CLONE_NEWPID,
        CLONE_NEWIPC,
        CLONE_NEWUTS,
        CLONE_NEWCGROUP,
        CLONE_NEWTIME,
    ]
    .map(|flag| refused(unshare(flag))))
}

pub(crate) fn clone(_: &Stage) -> Verdict {
    let flags = CLONE_NEWUSER | u64::try_from(SIGCHLD).unwrap();
    match call(nr::__NR_clone, [usize::try_from(flags).unwrap(), 0, 0, 0, 0]) {
        Ok(0) => leanbox_sys::process::exit(0),
        other => refused(other),
    }
}

/// Its flags are behind a pointer, out of a filter's sight.
pub(crate) fn clone3(_: &Stage) -> Verdict {
    let mut arguments = [0_u64; 11];
    arguments[0] = CLONE_NEWUSER;
    arguments[4] = u64::try_from(SIGCHLD).unwrap();
    match call(nr::__NR_clone3, [at(&arguments), 88]) {
        Ok(0) => leanbox_sys::process::exit(0),
        other => refused(other),
    }
}

/// Into the launcher's namespaces, by its pidfd, and into one's own again.
pub(crate) fn setns(_: &Stage) -> Verdict {
    let flags = usize::try_from(CLONE_NEWNS | CLONE_NEWPID).unwrap();
    let by_pidfd = match call(nr::__NR_pidfd_open, [1, 0]) {
        Ok(pidfd) => call(nr::__NR_setns, [pidfd, flags]),
        refused => refused,
    };
    let own = fs::File::open("/proc/self/ns/uts").map(|file| {
        let number = word(&file);
        call(nr::__NR_setns, [number, 0])
    });
    all([refused(by_pidfd), refused_with(own.unwrap(), &["EPERM", "ENOSYS"])])
}
