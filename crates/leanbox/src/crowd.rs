//! All containers of a template in one set of namespaces. Their launcher, the anchor, is made by the
//! keeper like a slot's when the first container is needed, and made anew when it has died, with
//! which all containers in it have. It parks whom it is asked to; it has no part in starts and ends.

use crate::cgroup::Group;
use crate::keeper::has_ended;
use crate::making::{Making, await_anchor, slot_sockets};
use crate::network::Attachment;
use crate::packet::send_with_fds;
use crate::plan::step_error;
use crate::slot::{Freed, Ground};
use crate::template::Inner;
use crate::{Error, ErrorKind, Result};
use leanbox_launcher::wire::{Request, Seating, bytes_of};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

/// How long an anchor that takes no more requests may take to be gone, with all in it.
const END_MS: i64 = 10_000;

/// The namespaces that a template's containers share.
#[derive(Debug, Default)]
pub(crate) struct Crowd(Mutex<Option<Anchor>>);

/// Their launcher.
#[derive(Debug)]
struct Anchor {
    /// Takes requests; its end ends the launcher.
    socket: OwnedFd,
    launcher: OwnedFd,
    place: u32,
}

impl Crowd {
    /// Asks for a container on this ground; it is parked while the host goes on.
    pub(crate) fn ask(
        &self,
        inner: &Inner,
        ground: Ground,
        group: Group,
    ) -> Result<Making, Box<(Error, Freed)>> {
        match self.request(inner, &ground, &group) {
            Ok((socket, launcher)) => Ok(Making::shared(ground, group, socket, launcher)),
            Err(error) => Err(Box::new((error, Freed { ground, group: Some(group) }))),
        }
    }

    /// The host's end of the container's socket, and the anchor's pidfd.
    fn request(&self, inner: &Inner, ground: &Ground, group: &Group) -> Result<(OwnedFd, OwnedFd)> {
        let (socket, theirs) = slot_sockets()?;
        let procs = group.open_v2_procs()?;
        let groups = group.join_fds().iter().chain(&procs);
        let fds: Vec<BorrowedFd<'_>> =
            [&theirs].into_iter().chain(groups).map(AsFd::as_fd).collect();
        let seating = Seating { place: ground.place };
        let mut anchor = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..2 {
            let present = living(&mut anchor, inner)?;
            match send_with_fds(&present.socket, bytes_of(&seating), &fds) {
                Ok(()) => {
                    let launcher = present.launcher.try_clone();
                    let wrap = |error| Error::io("fcntl(F_DUPFD_CLOEXEC)", &error);
                    return Ok((socket, launcher.map_err(wrap)?));
                }
                // It is on its way out, and the last of its containers with it.
                Err(Errno::PIPE | Errno::CONNRESET) if has_ended(&present.launcher, END_MS) => {}
                Err(errno) => return Err(Error::syscall("sendmsg(anchor)", errno)),
            }
        }
        Err(Error::new(ErrorKind::Gone, "the launcher of shared namespaces died twice"))
    }
}

/// The anchor, a new one where there is none or it has died.
fn living<'a>(anchor: &'a mut Option<Anchor>, inner: &Inner) -> Result<&'a Anchor> {
    if let Some(dead) = anchor.take_if(|anchor| has_ended(&anchor.launcher, 0)) {
        inner.give_back_place(dead.place);
    }
    match anchor {
        Some(anchor) => Ok(anchor),
        None => Ok(anchor.insert(Anchor::make(inner)?)),
    }
}

impl Anchor {
    fn make(inner: &Inner) -> Result<Self> {
        let (request, net) = inner.shared_ground()?;
        Self::on(inner, request, net).inspect_err(|_| inner.give_back_place(request.place))
    }

    /// Nobody but those inside needs the network from then on.
    fn on(inner: &Inner, request: Request, net: Option<Attachment>) -> Result<Self> {
        let (socket, theirs) = slot_sockets()?;
        let fds: Vec<BorrowedFd<'_>> =
            net.iter().map(AsFd::as_fd).chain([theirs.as_fd()]).collect();
        inner.keeper.send(request, &fds)?;
        drop(theirs);
        let answer = inner.keeper.answer(request.slot)?;
        let launcher = answer.fd.ok_or_else(|| {
            let error = step_error(&inner.plan, answer.reply.step, answer.reply.errno, false);
            error.during("making shared namespaces")
        })?;
        await_anchor(&socket, &launcher, &inner.plan)?;
        Ok(Self { socket, launcher, place: request.place })
    }
}
