//! Ends containers while nobody waits for them: when their time is up, when they have used their
//! CPU time, when they were told to stop and do not. One thread for the whole process, begun with
//! the first container that needs it, asleep but when something is due. In: pidfds, a group's
//! CPU time, instants. A slot whose watch was called off is never touched: that and a kill take
//! turns.

use crate::cgroup::{CpuMeter, Freezer, Members};
use crate::keeper::has_ended;
use crate::outcome::Cause;
use crate::slot::Slot;
use crate::{Error, Result, thread};
use rustix::process::{Signal, pidfd_send_signal};
use std::collections::{BTreeSet, HashMap};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// It only sleeps, reads counters and sends signals.
const STACK_BYTES: usize = 128 << 10;
/// The shortest sleep between two looks at a container's CPU time; so much of it, on each CPU, may
/// be used beyond the limit.
const CPU_LOOK: Duration = Duration::from_millis(5);

static WATCHES: Mutex<Option<Watches>> = Mutex::new(None);
static CHANGED: Condvar = Condvar::new();

/// When a container is ended, and how.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Terms {
    pub(crate) wall: Option<Instant>,
    /// CPU time of all its processes.
    pub(crate) cpu: Option<Duration>,
    /// This signal first, and SIGKILL so much later.
    pub(crate) grace: Option<(Signal, Duration)>,
}

/// A container's watch; dropping it calls it off.
#[derive(Debug)]
pub(crate) struct Deadline(u64);

#[derive(Debug)]
struct Watches {
    /// Whose thread watches them: a forked process has a copy of this, but not the thread.
    process: u32,
    count: u64,
    all: HashMap<u64, Watch>,
    due: BTreeSet<(Instant, u64)>,
}

#[derive(Debug)]
struct Watch {
    container: OwnedFd,
    launcher: OwnedFd,
    freezer: Option<Arc<Freezer>>,
    /// Of a container in shared namespaces.
    members: Option<Arc<Members>>,
    terms: Terms,
    meter: Option<CpuMeter>,
    /// How many CPUs it can use at one time.
    parallel: f64,
    /// What it is looked at for next.
    next: Option<Instant>,
    /// It was told to end, for this.
    cause: Option<Cause>,
    /// When it is killed, once it was told.
    kill: Option<Instant>,
}

impl Deadline {
    /// Has the slot killed on these terms unless the container has ended by then; in shared
    /// namespaces whoever is in its group, which must be this container's until it is called off.
    pub(crate) fn set(terms: Terms, slot: &Slot) -> Result<Self> {
        let own = |fd: BorrowedFd<'_>| {
            fd.try_clone_to_owned().map_err(|error| Error::io("fcntl(F_DUPFD_CLOEXEC)", &error))
        };
        let meter = terms.cpu.map(|_| slot.group.cpu_meter(&slot.baseline)).transpose()?;
        let mut watch = Watch {
            container: own(slot.container())?,
            launcher: own(slot.launcher())?,
            freezer: slot.group.freezer().ok().cloned(),
            members: slot.ground.shared.then(|| Arc::clone(slot.group.members())),
            terms,
            meter,
            parallel: if terms.cpu.is_some() { parallel() } else { 1.0 },
            next: None,
            cause: None,
            kill: None,
        };
        watch.next = watch.next_look(Instant::now());
        let mut watches = lock()?;
        let watches = &mut *watches;
        let Some(watches) = watches else { return Ok(Self(0)) };
        watches.count += 1;
        let id = watches.count;
        watches.insert(id, watch);
        Ok(Self(id))
    }

    /// Tells the container to end: by this signal, and by SIGKILL after the time. False if it was
    /// told already, or has ended.
    pub(crate) fn stop(&self, signal: Signal, grace: Duration) -> Result<bool> {
        let mut watches = lock()?;
        let Some(watches) = &mut *watches else { return Ok(false) };
        let Some(mut watch) = watches.remove(self.0) else { return Ok(false) };
        let now = Instant::now();
        watch.terms.grace = Some((signal, grace));
        let told = watch.cause.is_none() && watch.tell(Cause::Killed, now);
        watch.next = watch.next_look(now);
        watches.insert(self.0, watch);
        Ok(told)
    }

    /// Calls it off; why the container was told to end, if it was.
    pub(crate) fn call_off(self) -> Option<Cause> {
        let mut watches = WATCHES.lock().unwrap_or_else(PoisonError::into_inner);
        watches.as_mut()?.remove(self.0)?.cause
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        let mut watches = WATCHES.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = watches.as_mut().and_then(|watches| watches.remove(self.0));
    }
}

impl Watches {
    fn insert(&mut self, id: u64, watch: Watch) {
        if let Some(next) = watch.next {
            self.due.insert((next, id));
            if self.due.first() == Some(&(next, id)) {
                CHANGED.notify_one();
            }
        }
        self.all.insert(id, watch);
    }

    fn remove(&mut self, id: u64) -> Option<Watch> {
        let watch = self.all.remove(&id)?;
        if let Some(next) = watch.next {
            self.due.remove(&(next, id));
        }
        Some(watch)
    }

    /// Looks at all that are due.
    fn look(&mut self, now: Instant) {
        while let Some(&(_, id)) = self.due.first().filter(|(due, _)| *due <= now) {
            self.due.pop_first();
            if let Some(watch) = self.all.get_mut(&id) {
                watch.look(now);
                self.due.extend(watch.next.map(|next| (next, id)));
            }
        }
    }
}

impl Watch {
    fn look(&mut self, now: Instant) {
        if has_ended(&self.container, 0) {
            self.next = None;
            return;
        }
        if self.kill.is_some_and(|kill| kill <= now) {
            self.kill();
        } else if self.cause.is_none() {
            if self.terms.wall.is_some_and(|wall| wall <= now) {
                self.tell(Cause::WallTimeout, now);
            } else if self.cpu_left().is_some_and(|left| left.is_zero()) {
                self.tell(Cause::CpuTimeout, now);
            }
        }
        // Not again at once, whatever the counters say.
        self.next = self.next_look(now);
    }

    /// Has it end; false if it has already.
    fn tell(&mut self, cause: Cause, now: Instant) -> bool {
        if has_ended(&self.container, 0) {
            return false;
        }
        self.cause = Some(cause);
        match self.terms.grace {
            Some((signal, grace)) if !grace.is_zero() => {
                let _ = pidfd_send_signal(&self.container, signal);
                self.kill = now.checked_add(grace);
            }
            _ => self.kill(),
        }
        true
    }

    fn kill(&mut self) {
        self.kill = None;
        let _ = pidfd_send_signal(&self.launcher, Signal::KILL);
        if let Some(members) = &self.members {
            members.kill();
        }
        if let Some(freezer) = &self.freezer {
            freezer.end();
        }
    }

    fn next_look(&self, now: Instant) -> Option<Instant> {
        if self.cause.is_some() {
            return self.kill;
        }
        // No sooner than it could have used it on all CPUs.
        let cpu = self.cpu_left().map(|left| left.div_f64(self.parallel).max(CPU_LOOK));
        let cpu = cpu.and_then(|sleep| now.checked_add(sleep));
        [self.terms.wall, cpu].into_iter().flatten().min()
    }

    /// Of its CPU time. One whose counter is gone is on its way out.
    fn cpu_left(&self) -> Option<Duration> {
        let used = self.meter.as_ref()?.used().ok()?;
        self.terms.cpu.map(|limit| limit.saturating_sub(used))
    }
}

/// How many CPUs can be used at one time.
fn parallel() -> f64 {
    static ONLINE: OnceLock<f64> = OnceLock::new();
    let online = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    *ONLINE.get_or_init(|| u32::try_from(online()).map_or(1.0, f64::from))
}

/// The watches of this process, with their thread.
fn lock() -> Result<MutexGuard<'static, Option<Watches>>> {
    let mut watches = WATCHES.lock().unwrap_or_else(PoisonError::into_inner);
    let process = std::process::id();
    if watches.as_ref().is_none_or(|watches| watches.process != process) {
        begin_thread()?;
        let (all, due) = (HashMap::new(), BTreeSet::new());
        *watches = Some(Watches { process, count: 0, all, due });
    }
    Ok(watches)
}

fn begin_thread() -> Result<()> {
    let begun = thread::begin("leanbox-timeout", STACK_BYTES, watch);
    begun.map(drop).map_err(|error| Error::io("a thread for timeouts", &error))
}

fn watch() {
    let mut guard = WATCHES.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let now = Instant::now();
        let next = guard.as_mut().and_then(|watches| {
            watches.look(now);
            watches.due.first().map(|(due, _)| due.saturating_duration_since(now))
        });
        guard = match next {
            Some(sleep) => {
                let slept = CHANGED.wait_timeout(guard, sleep);
                slept.unwrap_or_else(PoisonError::into_inner).0
            }
            None => CHANGED.wait(guard).unwrap_or_else(PoisonError::into_inner),
        };
    }
}
