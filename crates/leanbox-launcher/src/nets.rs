//! Network namespaces that serve one slot after the other: making one takes longer than all the
//! rest of a slot, and the kernel takes them apart one by one. They belong to the keeper's user
//! namespace, so nothing in a slot has a capability over them: devices, addresses, routes, rules
//! and sysctls stay as they were made. What else a run can leave (sockets, counters) is looked for
//! before the next lease, and the kernel is asked whether anything else was changed; one that
//! differs in anything from a fresh one is given up.
//!
//! In: the number of a place. Out: the keeper is in that place's namespace, as good as new.
//! Never: one namespace for two live slots, which have different places.

use crate::pages::KeepersOwn;
use crate::wire::BLOCKS_MAX;
use core::ffi::CStr;
use leanbox_sys::process::{self, CLONE_NEWNET};
use leanbox_sys::{Errno, Fd, fd, socket};

/// The texts of the namespace that the keeper is in, whichever that is.
const FOLDER: &CStr = c"/proc/self/net";
/// What tells of a run: devices' and protocols' counters (proc_pid_net(5)).
const TEXTS: [&CStr; 4] = [c"dev", c"snmp", c"netstat", c"snmp6"];
/// Room for one of these texts; the longest has 4 KiB where every protocol is there.
const TEXT_MAX: usize = 16 * 1024;
/// Sockets of every family, one more line of TCP's of which the connections that only wait for
/// their time belong to the namespace.
const SOCKETS: &CStr = c"sockstat";
/// Besides the one that is told of changes.
const NO_SOCKETS: &[u8] = b"sockets: used 1\n";
const NONE_WAITING: &[u8] = b" tw 0 ";

/// A namespace, and the socket in it that is told of changes to devices, addresses, routes, rules
/// and neighbours: descriptors plus 1; 0 where there is none.
#[derive(Clone, Copy)]
struct Net {
    namespace: Fd,
    changes: Fd,
}

const NONE: Net = Net { namespace: 0, changes: 0 };

struct Own {
    by_place: [Net; BLOCKS_MAX],
    fresh: [[u8; TEXT_MAX]; TEXTS.len()],
    text: [u8; TEXT_MAX],
}

/// The keeper's network namespaces by place.
pub(crate) struct Nets {
    by_place: &'static mut [Net; BLOCKS_MAX],
    /// [`TEXTS`] of a fresh one, one after the other, with their lengths.
    fresh: &'static mut [[u8; TEXT_MAX]; TEXTS.len()],
    lengths: [usize; TEXTS.len()],
    folder: Fd,
    /// To look at one that has served.
    text: &'static mut [u8; TEXT_MAX],
}

impl Nets {
    pub(crate) fn new() -> leanbox_sys::Result<Self> {
        static OWN: KeepersOwn<Own> = KeepersOwn::new(Own {
            by_place: [NONE; BLOCKS_MAX],
            fresh: [[0; TEXT_MAX]; TEXTS.len()],
            text: [0; TEXT_MAX],
        });
        // SAFETY: a keeper has one of these values, and nothing else points there.
        let Own { by_place, fresh, text } = unsafe { &mut *OWN.keep()? };
        let folder = fd::open(FOLDER, fd::O_PATH | fd::O_DIRECTORY | fd::O_CLOEXEC)?;
        Ok(Self { by_place, fresh, lengths: [0; TEXTS.len()], folder, text })
    }

    /// Enters the namespace of `place`: the one that served there if nothing was left in it, else
    /// a new one.
    pub(crate) fn enter(&mut self, place: u32) -> leanbox_sys::Result<()> {
        let net = *self.by_place.get(place as usize).ok_or(Errno::INVAL)?;
        if net.namespace != 0 {
            process::setns(net.namespace - 1, CLONE_NEWNET)?;
            if socket::is_empty(net.changes - 1) && self.is_clean() {
                return Ok(());
            }
            fd::close(net.changes - 1);
            fd::close(net.namespace - 1);
            self.by_place[place as usize] = NONE;
        }
        process::unshare(CLONE_NEWNET)?;
        set_up_fresh()?;
        let changes = socket::network_changes()?;
        let namespace = fd::open(c"/proc/self/ns/net", fd::O_RDONLY | fd::O_CLOEXEC)?;
        self.by_place[place as usize] = Net { namespace: namespace + 1, changes: changes + 1 };
        if self.lengths[0] == 0 {
            self.remember_fresh()?;
        }
        Ok(())
    }

    fn remember_fresh(&mut self) -> leanbox_sys::Result<()> {
        for ((path, room), length) in TEXTS.iter().zip(self.fresh.iter_mut()).zip(&mut self.lengths)
        {
            *length = read(self.folder, path, room)?;
        }
        Ok(())
    }

    /// Whether this namespace is as a fresh one. A kernel without one of the texts (IPv6 switched
    /// off) has nothing to tell there, before and after.
    fn is_clean(&mut self) -> bool {
        let same =
            TEXTS.iter().zip(self.fresh.iter()).zip(self.lengths).all(|((path, fresh), length)| {
                let now = read(self.folder, path, self.text);
                now == Ok(length) && self.text[..length] == fresh[..length]
            });
        same && self.has_no_sockets()
    }

    fn has_no_sockets(&mut self) -> bool {
        let length = read(self.folder, SOCKETS, self.text).unwrap_or(0);
        let text = &self.text[..length];
        text.starts_with(NO_SOCKETS) && text.windows(NONE_WAITING.len()).any(|w| w == NONE_WAITING)
    }
}

/// What every namespace of a slot's own has: `lo`, and ports below 1024 for everybody, as with
/// Docker, since who has them says nothing about who is trusted in there (`ip_unprivileged_port_start`
/// in the kernel's document ip-sysctl). Where `/proc/sys` is read-only they stay the privileged's.
pub(crate) fn set_up_fresh() -> leanbox_sys::Result<()> {
    const LOWEST_PORT: &CStr = c"/proc/sys/net/ipv4/ip_unprivileged_port_start";
    socket::loopback_up()?;
    if let Ok(file) = fd::open(LOWEST_PORT, fd::O_WRONLY | fd::O_CLOEXEC) {
        let _ = fd::write(file, b"0");
        fd::close(file);
    }
    Ok(())
}

/// The whole text, or as much as there is room for; none where the kernel has no such file.
fn read(folder: Fd, path: &CStr, room: &mut [u8; TEXT_MAX]) -> leanbox_sys::Result<usize> {
    let file = match fd::openat(folder, path, fd::O_RDONLY | fd::O_CLOEXEC, 0) {
        Err(Errno::NOENT) => return Ok(0),
        opened => opened?,
    };
    let mut length = 0;
    let whole = loop {
        match fd::read(file, &mut room[length..]) {
            Ok(0) => break Ok(length),
            Ok(more) => length += more,
            Err(errno) => break Err(errno),
        }
    };
    fd::close(file);
    whole
}
