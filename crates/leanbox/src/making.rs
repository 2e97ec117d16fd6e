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
            Ok(socket) => Ok(Self { ground, socket }),
            Err(error) => Err(Box::new((error, ground))),
        }
    }

    fn request(keeper: &Keeper, ground: &Ground) -> Result<OwnedFd> {
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
    pub(crate) fn finish(self, keeper: &Keeper, plan: &Plan) -> Result<Slot, Unmade> {
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

    fn into_slot(
        self,
        launcher: OwnedFd,
        container: OwnedFd,
        opened: Vec<OwnedFd>,
        reuse: bool,
    ) -> Result<Slot, Unmade> {
        let Self { ground, socket } = self;
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
