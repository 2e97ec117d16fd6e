//! A slot: a prepared place for one container at a time, made by the keeper, ended by the host.
//! What its launcher says is hostile input: whether a slot is clean, what it used and whether it
//! is gone is read from the kernel, through descriptors taken before the first program ran.

use crate::cgroup::{Baseline, Group};
use crate::keeper::{Keeper, has_ended};
use crate::mailbox::Mailboxes;
use crate::making::next_container;
use crate::network::Attachment;
use crate::owner::Block;
use crate::packet::send_with_fds;
use crate::template::Inner;
use crate::told::{Ending, Told};
use crate::traces::{Pristine, Traces};
use crate::upper::Turn;
use crate::{Error, ErrorKind, Result, probe};
use leanbox_launcher::wire::{Ask, Go, Park, Request, START_FDS_MAX, Start};
use rustix::io::Errno;
use rustix::process::{Signal, pidfd_send_signal};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long one wait for a launcher's word lasts before the kernel is asked instead.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// What a slot stands on, its group apart: a cold one has none.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) number: u32,
    pub(crate) place: u32,
    pub(crate) block: Block,
    /// In namespaces that others have too: it ends with its group, not with its launcher.
    pub(crate) shared: bool,
    /// Others than its launcher have brought processes into its group, so that only the group
    /// tells that nobody lives here any more.
    pub(crate) entered: AtomicBool,
    /// Its network, where the keeper does not make it.
    pub(crate) net: Option<Attachment>,
    /// To write to the upper folder of a writable root.
    pub(crate) _turn: Option<Turn>,
}

/// A slot with a container parked in it.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) ground: Ground,
    pub(crate) group: Group,
    /// Read by the parked container for its descriptors; it tells what is parked, and of a
    /// failed exec.
    pub(crate) socket: OwnedFd,
    /// In shared namespaces the container's once more: what ends it and tells that it is gone.
    pub(crate) launcher: OwnedFd,
    /// The parked container's, taken before it ran anything.
    pub(crate) container: OwnedFd,
    pub(crate) baseline: Baseline,
    /// Of a slot that serves again.
    pub(crate) traces: Option<Traces>,
    /// The master of its terminal, taken before it ran anything.
    pub(crate) terminal: Option<OwnedFd>,
    /// Descriptors were sent into the slot, and may lie there still.
    pub(crate) gave_fds: bool,
}

/// A slot whose launcher was killed and may not be gone yet.
#[derive(Debug)]
pub(crate) struct Dying {
    pub(crate) remains: Freed,
    pub(crate) launcher: OwnedFd,
    pub(crate) killed_at: Instant,
}

/// What is free again when nothing lives on it.
#[derive(Debug)]
pub(crate) struct Freed {
    pub(crate) ground: Ground,
    pub(crate) group: Option<Group>,
}

impl Slot {
    /// Hands a start to the parked container. `message` begins with a [`Start`].
    pub(crate) fn start(
        &mut self,
        mailboxes: &Mailboxes,
        go: Go,
        message: &[u8],
        fds: &[BorrowedFd<'_>],
        stamp: bool,
    ) -> Result<()> {
        debug_assert!(fds.len() <= START_FDS_MAX + 2);
        // One that executes nothing places no streams.
        if !fds.is_empty() && go == Go::Exec {
            self.gave_fds = true;
            send_with_fds(&self.socket, &[0; 8], fds).map_err(|errno| match errno {
                Errno::PIPE | Errno::CONNRESET => died_before(),
                _ => Error::syscall("sendmsg(start)", errno).with_kind(ErrorKind::Gone),
            })?;
        }
        let woken = mailboxes.post(self.ground.place, go as u32, message, stamp)?;
        if !woken && self.was_killed() {
            return Err(died_before());
        }
        Ok(())
    }

    /// Asked where nobody slept: one that had not fallen asleep may have ended well by now.
    fn was_killed(&self) -> bool {
        probe::kernel_tells_ends()
            && leanbox_sys::process::exit_status(self.container.as_raw_fd())
                == Ok(Some(Signal::KILL.as_raw()))
    }

    /// Where its end is told.
    pub(crate) fn ending(&self) -> Ending<'_> {
        Ending { pidfd: self.container.as_fd(), socket: self.socket.as_fd() }
    }

    /// Waits for the end.
    pub(crate) fn await_end(&self, keeper: &Keeper) -> Told {
        self.ending().wait(|| self.end_with(keeper))
    }

    /// What v1 has frozen does not die with its keeper: seen while nothing else is heard of it.
    pub(crate) fn end_with(&self, keeper: &Keeper) {
        if keeper.is_gone() {
            self.group.end_freeze();
        }
    }

    /// The end, if it is known already.
    pub(crate) fn try_end(&self) -> Option<Told> {
        self.ending().look()
    }

    /// The container's pidfd (pidfd_open(2)).
    pub(crate) fn container(&self) -> BorrowedFd<'_> {
        self.container.as_fd()
    }

    /// The launcher's pidfd.
    pub(crate) fn launcher(&self) -> BorrowedFd<'_> {
        self.launcher.as_fd()
    }

    /// Kills everything in the slot; whether the launcher is frozen or hijacked does not matter.
    pub(crate) fn kill(self) -> Dying {
        Dying::killed(self.ground, Some(self.group), self.launcher)
    }

    /// Sends SIGKILL to the launcher, and so to all.
    pub(crate) fn kill_now(&self) {
        kill_by(&self.launcher, self.ground.shared.then_some(&self.group));
        self.group.end_freeze();
    }

    /// Ends what its program has left running in shared namespaces. The others end when the slot
    /// does.
    pub(crate) fn kill_left(&self) {
        if self.ground.shared {
            self.kill_now();
        }
    }

    /// Whether the container was killed before its start.
    pub(crate) fn is_dead(&self) -> bool {
        has_ended(&self.container, 0)
    }

    /// Makes a reused slot ready again, or gives it up: an error is the end of the slot. What is
    /// dirty beyond its scratch is not cleaned but thrown away.
    pub(crate) fn reset(mut self, inner: &Inner) -> Result<Self, Box<Self>> {
        match self.try_reset(inner) {
            Ok(true) => Ok(self),
            _ => Err(Box::new(self)),
        }
    }

    fn try_reset(&mut self, inner: &Inner) -> Result<bool> {
        if self.group.processes()? != 1 || self.group.is_updated() {
            return Ok(false);
        }
        let Some(traces) = &mut self.traces else { return Ok(false) };
        if !traces.counters_untouched()? {
            return Ok(false);
        }
        for (index, (dir, pristine)) in traces.scratch.iter_mut().enumerate() {
            if Pristine::of(dir)? == *pristine {
                continue;
            }
            *dir = renew_scratch(&inner.keeper, &self.ground, &self.launcher, index)?;
            *pristine = Pristine::of(dir)?;
        }
        if !self.group.renew_peak(&self.baseline, &mut traces.quiet_peak_bytes)? {
            return Ok(false);
        }
        self.group.renew_wide();
        let park = if std::mem::take(&mut self.gave_fds) { Park::Drained } else { Park::Next };
        inner.mailboxes.order(self.ground.place, park);
        // One look: whoever ran here may have silenced it.
        self.container = next_container(&self.socket, &inner.plan)?;
        Ok(true)
    }
}

fn died_before() -> Error {
    Error::new(ErrorKind::Gone, "the slot died before its start")
}

/// The keeper puts a new tmpfs into the slot.
fn renew_scratch(
    keeper: &Keeper,
    ground: &Ground,
    launcher: &OwnedFd,
    index: usize,
) -> Result<OwnedFd> {
    let scratch = u32::try_from(index).unwrap_or(0);
    let request = Request { scratch, ..ground.request(Ask::Reset) };
    keeper.send(request, &[launcher.as_fd()])?;
    let answer = keeper.answer(ground.number)?;
    answer
        .fd
        .ok_or_else(|| Error::syscall("new scratch", crate::error::told_errno(answer.reply.errno)))
}

impl Ground {
    pub(crate) fn new(
        number: u32,
        place: u32,
        block: Block,
        shared: bool,
        net: Option<Attachment>,
        turn: Option<Turn>,
    ) -> Self {
        Self { number, place, block, shared, entered: AtomicBool::new(false), net, _turn: turn }
    }

    /// What the keeper is asked about it.
    pub(crate) fn request(&self, ask: Ask) -> Request {
        Request {
            ask: ask as u32,
            slot: self.number,
            block: self.block.0,
            id_base: self.block.first_id(),
            place: self.place,
            ..Request::default()
        }
    }
}

/// Kills the launcher, and with it all; in shared namespaces whoever is in the group, of which
/// the launcher is one.
fn kill_by(launcher: &OwnedFd, shared: Option<&Group>) {
    let _ = pidfd_send_signal(launcher, Signal::KILL);
    // One look at a counter: to list a group's processes takes longer.
    let is_deserted = |group: &&Group| group.processes().is_ok_and(|count| count == 0);
    if let Some(group) = shared.filter(|group| !is_deserted(group)) {
        group.members().kill();
    }
}

impl Freed {
    /// Whether nobody lives on it. Its launcher's end tells that but in shared namespaces.
    pub(crate) fn is_empty_within(&self, timeout_ms: i64) -> bool {
        let limit = Duration::from_millis(timeout_ms.max(EMPTY_MS).unsigned_abs());
        let ground = &self.ground;
        let by_group = ground.shared || ground.entered.load(Ordering::Relaxed);
        let group = self.group.as_ref().filter(|_| by_group);
        group.is_none_or(|group| group.empty_within(limit))
    }
}

/// What a killed process takes at most, if nothing holds it up: nobody asks again sooner.
const EMPTY_MS: i64 = 2;

impl Dying {
    /// Kills what there is, and keeps the rest until it is gone.
    pub(crate) fn killed(ground: Ground, group: Option<Group>, launcher: OwnedFd) -> Self {
        let shared = group.as_ref().filter(|_| ground.shared);
        let _ = shared.is_some() || group.as_ref().is_some_and(Group::kill);
        kill_by(&launcher, shared);
        group.iter().for_each(Group::end_freeze);
        Self { remains: Freed { ground, group }, launcher, killed_at: Instant::now() }
    }

    /// In case that the first signal did not get there.
    pub(crate) fn killed_again(self) -> Self {
        let Freed { ground, group } = self.remains;
        Self { killed_at: self.killed_at, ..Self::killed(ground, group, self.launcher) }
    }

    /// Readable when it is gone.
    pub(crate) fn gone_event(&self) -> BorrowedFd<'_> {
        self.launcher.as_fd()
    }

    /// What it stood on, once nothing lives there; `self` again while something does.
    pub(crate) fn reap(self, timeout_ms: i64) -> Result<Freed, Box<Self>> {
        if has_ended(&self.launcher, timeout_ms) && self.remains.is_empty_within(timeout_ms) {
            return Ok(self.remains);
        }
        Err(Box::new(self))
    }
}

/// A start with nothing in it.
pub(crate) fn empty_start() -> Start {
    Start {
        go: 0,
        fds: 0,
        data_in_memfd: 0,
        tell_exec: 0,
        length: 0,
        paths: 0,
        argv: 0,
        envp: 0,
        workdir: 0,
        targets: [0; START_FDS_MAX],
    }
}
