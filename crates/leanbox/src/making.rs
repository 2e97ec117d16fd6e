//! A slot on its way: asked of the keeper, made while the host goes on, perhaps left cold for a
//! while, and what is left of one that was not made.

use crate::cgroup::Group;
use crate::keeper::{Keeper, has_ended};
use crate::packet::{packet_pair, receive_with_sender, send_with_fds};
use crate::plan::{Plan, step_error};
use crate::slot::{Dying, Freed, Ground, PATIENCE, Slot};
use crate::traces::Traces;
use crate::{Error, ErrorKind, Result, probe};
use leanbox_launcher::wire::{Ask, Kind, Report, Request, message_of};
use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// A slot that is being made, from nothing or from a cold one.
#[derive(Debug)]
pub(crate) struct Making {
    ground: Ground,
    group: Option<Group>,
    socket: OwnedFd,
    /// Known from the beginning where a cold slot is warmed.
    launcher: Option<OwnedFd>,
    cold: bool,
    /// The launcher of the namespaces that it shares with others: the keeper was not asked.
    anchor: Option<OwnedFd>,
}

/// A slot without what costs memory while it waits: on v1 without its group, and without a
/// container.
#[derive(Debug)]
pub(crate) struct Cold {
    ground: Ground,
    /// Where the launcher was born in it.
    group: Option<Group>,
    socket: OwnedFd,
    launcher: OwnedFd,
}

/// What was made.
#[derive(Debug)]
pub(crate) enum Made {
    Slot(Box<Slot>),
    Cold(Box<Cold>),
}

/// Why a slot was not made, and what may still be dying of it.
#[derive(Debug)]
pub(crate) struct Unmade {
    pub(crate) error: Error,
    pub(crate) left: Option<Box<Dying>>,
    /// What nothing lives on.
    pub(crate) free: Option<Box<Freed>>,
}

impl Making {
    /// Asks for a slot, or for a cold one; the keeper works while the host goes on.
    pub(crate) fn ask(
        keeper: &Keeper,
        ground: Ground,
        group: Option<Group>,
        cold: bool,
    ) -> Result<Self, Box<(Error, Freed)>> {
        match request(keeper, &ground, group.as_ref(), cold) {
            Ok(socket) => Ok(Self { ground, group, socket, launcher: None, cold, anchor: None }),
            Err(error) => Err(Box::new((error, Freed { ground, group }))),
        }
    }

    /// A container that `anchor` was asked to park in shared namespaces.
    pub(crate) fn shared(ground: Ground, group: Group, socket: OwnedFd, anchor: OwnedFd) -> Self {
        let (group, anchor) = (Some(group), Some(anchor));
        Self { ground, group, socket, launcher: None, cold: false, anchor }
    }

    /// Readable when it is there, or failed.
    pub(crate) fn event(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether a cold one is on its way.
    pub(crate) fn is_cold(&self) -> bool {
        self.cold
    }

    /// Its group, when its keeper has ended without making it.
    pub(crate) fn give_up(self) -> Option<Group> {
        self.group
    }

    /// Waits until the slot is there; a failed one gives its ground back.
    pub(crate) fn finish(mut self, keeper: &Keeper, plan: &Plan) -> Result<Made, Unmade> {
        if let Some(anchor) = self.anchor.take() {
            return self.finish_shared(&anchor, plan);
        }
        let launcher = match self.launcher.take() {
            Some(launcher) => launcher,
            None => match self.born(keeper, plan) {
                Ok(launcher) => launcher,
                Err((error, is_gone)) => {
                    let freed = Freed { ground: self.ground, group: self.group };
                    let free = is_gone.then(|| Box::new(freed));
                    return Err(Unmade { error, left: None, free });
                }
            },
        };
        match first_reports(&self.socket, &launcher, plan) {
            Ok(Reached::Parked(container, opened)) => self
                .into_slot(launcher, container, opened, plan)
                .map(|slot| Made::Slot(Box::new(slot))),
            Ok(Reached::Cold) => {
                let Self { ground, group, socket, .. } = self;
                Ok(Made::Cold(Box::new(Cold { ground, group, socket, launcher })))
            }
            Err(error) => Err(self.failed(error, launcher)),
        }
    }

    fn finish_shared(self, anchor: &OwnedFd, plan: &Plan) -> Result<Made, Unmade> {
        let ready = match first_reports(&self.socket, anchor, plan) {
            Ok(Reached::Parked(container, _)) => container
                .try_clone()
                .map(|again| (again, container))
                .map_err(|error| Error::io("fcntl(F_DUPFD_CLOEXEC)", &error)),
            Ok(Reached::Cold) => Err(gone()),
            Err(error) => Err(error),
        };
        match ready {
            Ok((again, container)) => self
                .into_slot(again, container, Vec::new(), plan)
                .map(|slot| Made::Slot(Box::new(slot))),
            Err(error) => {
                // Its pidfd may not have come, so that only its group tells when it is gone.
                let freed = Freed { ground: self.ground, group: self.group };
                let free = freed.is_empty_within(UNMADE_MS).then(|| Box::new(freed));
                Err(Unmade { error, left: None, free })
            }
        }
    }

    /// The launcher's pidfd; else why not, and whether the keeper says that there is none.
    fn born(&self, keeper: &Keeper, plan: &Plan) -> Result<OwnedFd, (Error, bool)> {
        let answer = keeper.answer(self.ground.number).map_err(|error| (error, false))?;
        answer.fd.ok_or_else(|| {
            let error = step_error(plan, answer.reply.step, answer.reply.errno, false);
            (error.during("making a slot"), answer.reply.pid == 0)
        })
    }

    fn failed(self, error: Error, launcher: OwnedFd) -> Unmade {
        let left = Some(Box::new(Dying::killed(self.ground, self.group, launcher)));
        Unmade { error, left, free: None }
    }

    fn into_slot(
        self,
        launcher: OwnedFd,
        container: OwnedFd,
        mut opened: Vec<OwnedFd>,
        plan: &Plan,
    ) -> Result<Slot, Unmade> {
        let Some(group) = &self.group else {
            return Err(self.failed(gone(), launcher));
        };
        let terminal = if plan.terminal { opened.pop() } else { None };
        let seen = group.hold_cpuset().and_then(|()| group.baseline()).and_then(|baseline| {
            let traces = if plan.reuse { Some(Traces::first_look(opened)?) } else { None };
            Ok((baseline, traces))
        });
        match (seen, self) {
            (Ok((baseline, traces)), Self { ground, group: Some(group), socket, .. }) => Ok(Slot {
                ground,
                group,
                socket,
                launcher,
                container,
                baseline,
                traces,
                terminal,
                gave_fds: false,
            }),
            (seen, making) => Err(making.failed(seen.err().unwrap_or_else(gone), launcher)),
        }
    }
}

impl Cold {
    /// Has it join `group`, or where it was born in one stay there, and park a container.
    pub(crate) fn warm(self, group: Option<Group>) -> Result<Making, Box<(Error, Dying)>> {
        let Self { ground, group: own, socket, launcher } = self;
        let group = own.or(group);
        let joins = group.iter().flat_map(Group::join_fds).map(AsFd::as_fd).collect::<Vec<_>>();
        match send_with_fds(&socket, &[0; 8], &joins) {
            Ok(()) => {
                let launcher = Some(launcher);
                Ok(Making { ground, group, socket, launcher, cold: false, anchor: None })
            }
            Err(errno) => {
                let error = Error::syscall("sendmsg(cold slot)", errno);
                Err(Box::new((error, Dying::killed(ground, group, launcher))))
            }
        }
    }

    /// What it stands on.
    pub(crate) fn ground(&self) -> &Ground {
        &self.ground
    }

    pub(crate) fn kill(self) -> Dying {
        Dying::killed(self.ground, self.group, self.launcher)
    }
}

fn request(keeper: &Keeper, ground: &Ground, group: Option<&Group>, cold: bool) -> Result<OwnedFd> {
    let (socket, theirs) = slot_sockets()?;
    let mut fds: Vec<BorrowedFd<'_>> = ground.net.iter().map(AsFd::as_fd).collect();
    fds.push(theirs.as_fd());
    let into = group.and_then(Group::into_dir);
    fds.extend(into);
    fds.extend(group.iter().filter(|_| !cold).flat_map(|group| group.join_fds()).map(AsFd::as_fd));
    let (into_group, cold) = (u32::from(into.is_some()), u32::from(cold));
    let net = u32::from(ground.net.is_some());
    let request = Request { into_group, cold, net, ..ground.request(Ask::Make) };
    keeper.send(request, &fds)?;
    Ok(socket)
}

/// How long a slot may take from one of its words to the next: with the least CPU limit some
/// seconds.
const MAKING_PATIENCE: Duration = Duration::from_secs(60);
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

/// How far a slot has come.
enum Reached {
    /// A container is parked, and this was opened for the host.
    Parked(OwnedFd, Vec<OwnedFd>),
    Cold,
}

/// Waits until the launcher of shared namespaces is ready.
pub(crate) fn await_anchor(socket: &OwnedFd, launcher: &OwnedFd, plan: &Plan) -> Result<()> {
    first_report(socket, launcher, plan).map(drop)
}

/// The slot's first words.
fn first_reports(socket: &OwnedFd, launcher: &OwnedFd, plan: &Plan) -> Result<Reached> {
    let mut opened = Vec::new();
    loop {
        match first_report(socket, launcher, plan)? {
            came if came.kind == Kind::Opened as u32 => opened = came.fds,
            came if came.kind == Kind::Cold as u32 => return Ok(Reached::Cold),
            came => return came.container(plan).map(|pidfd| Reached::Parked(pidfd, opened)),
        }
    }
}

/// One of them: nothing hostile has run yet, so it may take its time.
fn first_report(socket: &OwnedFd, launcher: &OwnedFd, plan: &Plan) -> Result<Came> {
    for _ in 0..MAKING_PATIENCE.as_secs() / PATIENCE.as_secs() {
        if let Some(came) = receive_report(socket, plan)? {
            return Ok(came);
        }
        if has_ended(launcher, 0) {
            return receive_report(socket, plan)?.ok_or_else(gone);
        }
    }
    let text = format!("making a slot: its launcher said nothing for {MAKING_PATIENCE:?}");
    Err(Error::new(ErrorKind::Gone, text).remedy("is its CPU limit too small, or was it stopped?"))
}

/// The container that was parked next, if its slot says so in time.
pub(crate) fn next_container(socket: &OwnedFd, plan: &Plan) -> Result<OwnedFd> {
    receive_report(socket, plan)?.ok_or_else(gone)?.container(plan)
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

/// `None` where none came in [`PATIENCE`].
fn receive_report(socket: &OwnedFd, plan: &Plan) -> Result<Option<Came>> {
    let mut bytes = [0; size_of::<Report>()];
    let (length, fds, sender) = match receive_with_sender(socket, &mut bytes) {
        Err(Errno::AGAIN) => return Ok(None),
        came => came.map_err(|errno| Error::syscall("recvmsg(launcher)", errno))?,
    };
    let report = message_of::<Report>(&bytes[..length]).ok_or_else(gone)?;
    if ![Kind::Ready, Kind::Opened, Kind::Cold].iter().any(|kind| *kind as u32 == report.kind) {
        return Err(step_error(plan, report.step, report.errno, false).during("making a slot"));
    }
    Ok(Some(Came { kind: report.kind, fds, sender }))
}
