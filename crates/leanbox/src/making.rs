//! A slot on its way: asked of the keeper, made while the host goes on, and what is left of one
//! that was not made.

use crate::cgroup::Group;
use crate::keeper::{Keeper, has_ended, packet_pair, receive_with_sender};
use crate::plan::{Plan, step_error};
use crate::slot::{Dying, Ground, PATIENCE, Slot};
use crate::traces::Traces;
use crate::{Error, ErrorKind, Result, probe};
use leanbox_launcher::wire::{Ask, Kind, Report, Request, message_of};
use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// A slot that the keeper was asked for.
#[derive(Debug)]
pub(crate) struct Making {
    ground: Ground,
    socket: OwnedFd,
    /// The launcher of the namespaces that it shares with others: the keeper was not asked.
    anchor: Option<OwnedFd>,
}

/// Why a slot was not made, and what may still be dying of it.
#[derive(Debug)]
pub(crate) struct Unmade {
    pub(crate) error: Error,
    pub(crate) left: Option<Box<Dying>>,
    /// What nothing lives on.
    pub(crate) free: Option<Box<Ground>>,
}

impl Making {
    /// Asks for a slot; the keeper works while the host goes on.
    pub(crate) fn ask(keeper: &Keeper, ground: Ground) -> Result<Self, Box<(Error, Ground)>> {
        match Self::request(keeper, &ground) {
            Ok(socket) => Ok(Self { ground, socket, anchor: None }),
            Err(error) => Err(Box::new((error, ground))),
        }
    }

    /// A container that `anchor` was asked to park in shared namespaces.
    pub(crate) fn shared(ground: Ground, socket: OwnedFd, anchor: OwnedFd) -> Self {
        Self { ground, socket, anchor: Some(anchor) }
    }

    fn request(keeper: &Keeper, ground: &Ground) -> Result<OwnedFd> {
        let (socket, theirs) = slot_sockets()?;
        let mut fds = vec![theirs.as_fd()];
        let into = ground.group.into_dir();
        fds.extend(into);
        fds.extend(ground.group.join_fds().iter().map(AsFd::as_fd));
        let request = Request {
            ask: Ask::Make as u32,
            slot: ground.number,
            block: ground.block.0,
            id_base: ground.block.first_id(),
            place: ground.place,
            into_group: u32::from(into.is_some()),
            scratch: 0,
        };
        keeper.send(request, &fds)?;
        Ok(socket)
    }

    /// Readable when it is there, or failed.
    pub(crate) fn event(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Its group, when its keeper has ended without making it.
    pub(crate) fn give_up(self) -> Group {
        self.ground.group
    }

    /// Waits until the slot is there; a failed one gives its ground back.
    pub(crate) fn finish(mut self, keeper: &Keeper, plan: &Plan) -> Result<Slot, Unmade> {
        if let Some(anchor) = self.anchor.take() {
            return self.finish_shared(&anchor, plan);
        }
        let answer = keeper.answer(self.ground.number).map_err(|error| Unmade {
            error,
            left: None,
            free: None,
        })?;
        let Some(launcher) = answer.fd else {
            let error = step_error(plan, answer.reply.step, answer.reply.errno, false);
            let free = Some(Box::new(self.ground));
            return Err(Unmade { error: error.during("making a slot"), left: None, free });
        };
        match first_reports(&self.socket, &launcher, plan) {
            Ok((container, opened)) => self.into_slot(launcher, container, opened, plan.reuse),
            Err(error) => {
                let dying = Dying { ground: self.ground, launcher };
                dying.kill();
                Err(Unmade { error, left: Some(Box::new(dying)), free: None })
            }
        }
    }

    fn finish_shared(self, anchor: &OwnedFd, plan: &Plan) -> Result<Slot, Unmade> {
        let ready = first_reports(&self.socket, anchor, plan).and_then(|(container, opened)| {
            let again = container.try_clone();
            Ok((
                again.map_err(|error| Error::io("fcntl(F_DUPFD_CLOEXEC)", &error))?,
                container,
                opened,
            ))
        });
        match ready {
            Ok((again, container, opened)) => self.into_slot(again, container, opened, false),
            Err(error) => {
                // Its pidfd may not have come, so that only its group tells when it is gone.
                let is_free = self.ground.is_empty_within(UNMADE_MS);
                let free = is_free.then(|| Box::new(self.ground));
                Err(Unmade { error, left: None, free })
            }
        }
    }

    fn into_slot(
        self,
        launcher: OwnedFd,
        container: OwnedFd,
        opened: Vec<OwnedFd>,
        reuse: bool,
    ) -> Result<Slot, Unmade> {
        let Self { ground, socket, .. } = self;
        let seen = ground.group.baseline().and_then(|baseline| {
            let traces = if reuse { Some(Traces::first_look(opened)?) } else { None };
            Ok((baseline, traces))
        });
        match seen {
            Ok((baseline, traces)) => {
                Ok(Slot { ground, socket, launcher, container, baseline, traces, gave_fds: false })
            }
            Err(error) => {
                let left = Some(Box::new(Dying { ground, launcher }));
                Err(Unmade { error, left, free: None })
            }
        }
    }
}

/// How long one that could not be parked may take to be gone.
const UNMADE_MS: i64 = 1000;

/// The host's end of a slot's socket, and the slot's.
pub(crate) fn slot_sockets() -> Result<(OwnedFd, OwnedFd)> {
    let (socket, theirs) = packet_pair()?;
    rustix::net::sockopt::set_socket_timeout(
        &socket,
        rustix::net::sockopt::Timeout::Recv,
        Some(PATIENCE),
    )
    .map_err(|errno| Error::syscall("setsockopt(SO_RCVTIMEO)", errno))?;
    if probe::kernel_tells_ends() {
        // The parked container speaks for itself, and its pidfd comes with its word.
        leanbox_sys::socket::pass_senders(socket.as_raw_fd()).map_err(|errno| {
            Error::syscall("setsockopt(SO_PASSPIDFD)", Errno::from_raw_os_error(errno.0))
        })?;
    }
    Ok((socket, theirs))
}

/// Waits until the launcher of shared namespaces is ready.
pub(crate) fn await_anchor(socket: &OwnedFd, launcher: &OwnedFd, plan: &Plan) -> Result<()> {
    loop {
        match receive_report(socket, plan) {
            Err(error)
                if error.errno() == Some(Errno::AGAIN.raw_os_error())
                    && !has_ended(launcher, 0) => {}
            other => return other.map(drop),
        }
    }
}

/// The slot's first words: nothing hostile has run yet, so it may take its time.
fn first_reports(
    socket: &OwnedFd,
    launcher: &OwnedFd,
    plan: &Plan,
) -> Result<(OwnedFd, Vec<OwnedFd>)> {
    let mut opened = Vec::new();
    loop {
        match receive_report(socket, plan) {
            Err(error)
                if error.errno() == Some(Errno::AGAIN.raw_os_error())
                    && !has_ended(launcher, 0) => {}
            Err(error) => return Err(error),
            Ok(came) if came.kind == Kind::Opened as u32 => opened = came.fds,
            Ok(came) => return came.container(plan).map(|container| (container, opened)),
        }
    }
}

/// The container that was parked next, if its slot says so in time.
pub(crate) fn next_container(socket: &OwnedFd, plan: &Plan) -> Result<OwnedFd> {
    receive_report(socket, plan)?.container(plan)
}

/// A report and what came with it.
struct Came {
    kind: u32,
    fds: Vec<OwnedFd>,
    sender: Option<OwnedFd>,
}

impl Came {
    /// The pidfd of a container that is parked.
    fn container(mut self, plan: &Plan) -> Result<OwnedFd> {
        let container = if plan.reports_end { self.fds.pop() } else { self.sender };
        container.filter(|_| self.kind == Kind::Ready as u32).ok_or_else(gone)
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Gone, "the launcher died while its slot was made")
        .remedy("is the memory limit too small?")
}

fn receive_report(socket: &OwnedFd, plan: &Plan) -> Result<Came> {
    let mut bytes = [0; size_of::<Report>()];
    let (length, fds, sender) = receive_with_sender(socket, &mut bytes)
        .map_err(|errno| Error::syscall("recvmsg(launcher)", errno))?;
    let report = message_of::<Report>(&bytes[..length]).ok_or_else(gone)?;
    if report.kind != Kind::Ready as u32 && report.kind != Kind::Opened as u32 {
        return Err(step_error(plan, report.step, report.errno, false).during("making a slot"));
    }
    Ok(Came { kind: report.kind, fds, sender })
}
