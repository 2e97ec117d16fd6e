//! Devices: nodes that are there, nodes that one makes, terminals.

use crate::call::{at, call, nr, text};
use crate::stage::{Stage, TERMINAL};
use crate::verdict::{Blocked, Open, Verdict, all, opens, refused, refused_with};
use leanbox_sys::fd::{O_RDONLY, O_WRONLY};
use std::fs;

const CHARACTER: usize = 0o020_666;
const BLOCK: usize = 0o060_666;

/// Makes a node and opens it; what it is of is never read.
fn node(kind: usize, major: usize, minor: usize) -> Verdict {
    let path = "/tmp/node";
    let _ = fs::remove_file(path);
    let name = text(path);
    let made = call(nr::__NR_mknodat, [crate::call::HERE, at(&*name), kind, major << 8 | minor]);
    let verdict = match made {
        Err(errno) => refused(Err(errno)),
        Ok(_) if kind == BLOCK => Open("a node was made".into()),
        Ok(_) => match opens(path, O_RDONLY) {
            Open(_) => Open("a node was made and opens".into()),
            Blocked(detail) => Open(format!("a node was made; opening: {detail}")),
        },
    };
    let _ = fs::remove_file(path);
    verdict
}

/// A twin of `/dev/null`.
pub(crate) fn character(_: &Stage) -> Verdict {
    node(CHARACTER, 1, 3)
}

pub(crate) fn block(_: &Stage) -> Verdict {
    all([7, 8, 253, 254].map(|major| node(BLOCK, major, 0)))
}

pub(crate) fn memory(_: &Stage) -> Verdict {
    all([opens("/dev/mem", O_RDONLY), opens("/dev/kmem", O_RDONLY), node(CHARACTER, 1, 1)])
}

pub(crate) fn messages(_: &Stage) -> Verdict {
    all([opens("/dev/kmsg", O_WRONLY), opens("/proc/kmsg", O_RDONLY), node(CHARACTER, 1, 11)])
}

pub(crate) fn ports(_: &Stage) -> Verdict {
    all([opens("/dev/port", O_RDONLY), node(CHARACTER, 1, 4)])
}

pub(crate) fn fuse(_: &Stage) -> Verdict {
    all([opens("/dev/fuse", O_WRONLY), node(CHARACTER, 10, 229)])
}

pub(crate) fn tunnel(_: &Stage) -> Verdict {
    all([opens("/dev/net/tun", O_WRONLY), node(CHARACTER, 10, 200)])
}

pub(crate) fn machines(_: &Stage) -> Verdict {
    all(["/dev/kvm", "/dev/vhost-vsock", "/dev/vsock", "/dev/loop-control", "/dev/userfaultfd"]
        .map(|path| opens(path, O_RDONLY)))
}

/// A new file or another mode in `/dev`.
pub(crate) fn folder_of_devices(_: &Stage) -> Verdict {
    let made = call(nr::__NR_mkdirat, [crate::call::HERE, at(c"/dev/escape"), 0o700]);
    let _ = fs::remove_dir("/dev/escape");
    refused_with(made, &["EPERM", "EACCES", "EROFS"])
}

/// Types into a terminal, as into that of whoever started the container: the test's own one.
pub(crate) fn terminal_input(_: &Stage) -> Verdict {
    const TIOCSCTTY: usize = 0x540e;
    const TIOCSTI: usize = 0x5412;
    let _ = call(nr::__NR_setsid, []);
    let _ = call(nr::__NR_ioctl, [TERMINAL, TIOCSCTTY, 0]);
    let plain = call(nr::__NR_ioctl, [TERMINAL, TIOCSTI, at(&b'x')]);
    let high = call(nr::__NR_ioctl, [TERMINAL, 1 << 32 | TIOCSTI, at(&b'x')]);
    all([refused_with(plain, &["EPERM", "EACCES", "EIO"]), refused(high)])
}

/// Selects and pastes on a console; on this terminal it would be of no effect.
pub(crate) fn console_selection(_: &Stage) -> Verdict {
    const TIOCLINUX: usize = 0x541c;
    refused(call(nr::__NR_ioctl, [TERMINAL, TIOCLINUX, at(&[2_u8])]))
}
