//! Ends containers that run out of time while nobody waits for them: one thread for the whole
//! process, begun with the first container that needs it, asleep but at deadlines. In: pidfds and
//! an instant. A slot whose deadline was called off is never touched: that and a kill take turns.

use crate::cgroup::{Freezer, Members};
use crate::keeper::has_ended;
use crate::slot::Slot;
use crate::{Error, Result};
use leanbox_sys::process::set_signal_mask;
use rustix::process::{Signal, pidfd_send_signal};
use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Every signal but the two that a C library keeps for itself (nptl(7)): the host's own threads
/// handle its signals.
const MASK: u64 = !(0b11 << 31);
/// It only sleeps and sends signals.
const STACK_BYTES: usize = 128 << 10;

static WATCHES: Mutex<Watches> = Mutex::new(Watches { process: 0, count: 0, due: BTreeMap::new() });
static CHANGED: Condvar = Condvar::new();

/// A container's deadline; dropping it calls it off.
#[derive(Debug)]
pub(crate) struct Deadline {
    key: (Instant, u64),
    killed: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Watches {
    /// Whose thread watches them: a forked process has a copy of this, but not the thread.
    process: u32,
    count: u64,
    due: BTreeMap<(Instant, u64), Watch>,
}

#[derive(Debug)]
struct Watch {
    container: OwnedFd,
    launcher: OwnedFd,
    freezer: Option<Arc<Freezer>>,
    /// Of a container in shared namespaces.
    members: Option<Arc<Members>>,
    killed: Arc<AtomicBool>,
}

impl Deadline {
    /// Has the launcher, and so its slot, killed at `due` unless the container has ended by then;
    /// in shared namespaces whoever is in its group, which must be this container's until it is
    /// called off.
    pub(crate) fn set(due: Instant, slot: &Slot) -> Result<Self> {
        let own = |fd: BorrowedFd<'_>| {
            fd.try_clone_to_owned().map_err(|error| Error::io("fcntl(F_DUPFD_CLOEXEC)", &error))
        };
        let killed = Arc::default();
        let (container, launcher) = (own(slot.container())?, own(slot.launcher())?);
        let freezer = slot.group.freezer().ok().cloned();
        let members = slot.ground.shared.then(|| Arc::clone(slot.group.members()));
        let watch = Watch { container, launcher, freezer, members, killed: Arc::clone(&killed) };
        let mut watches = lock();
        if watches.process != std::process::id() {
            watches.due.clear();
            begin_thread()?;
            watches.process = std::process::id();
        }
        watches.count += 1;
        let key = (due, watches.count);
        watches.due.insert(key, watch);
        if watches.due.keys().next() == Some(&key) {
            CHANGED.notify_one();
        }
        Ok(Self { key, killed })
    }

    /// Calls it off; whether that was too late, and the slot was killed.
    pub(crate) fn call_off(self) -> bool {
        lock().due.remove(&self.key);
        self.killed.load(Ordering::Relaxed)
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        lock().due.remove(&self.key);
    }
}

impl Watch {
    fn end(self) {
        if !has_ended(&self.container, 0) {
            self.killed.store(true, Ordering::Relaxed);
            let _ = pidfd_send_signal(&self.launcher, Signal::KILL);
            if let Some(members) = &self.members {
                members.kill();
            }
            if let Some(freezer) = &self.freezer {
                freezer.end();
            }
        }
    }
}

fn lock() -> MutexGuard<'static, Watches> {
    WATCHES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread begins with its maker's mask, and this one's is what it keeps.
fn begin_thread() -> Result<()> {
    let mask = set_signal_mask(MASK).ok();
    let thread = std::thread::Builder::new().name("leanbox-timeout".into()).stack_size(STACK_BYTES);
    let begun = thread.spawn(watch);
    if let Some(mask) = mask {
        let _ = set_signal_mask(mask);
    }
    begun.map(drop).map_err(|error| Error::io("a thread for timeouts", &error))
}

fn watch() {
    let mut watches = lock();
    loop {
        let now = Instant::now();
        while let Some(first) = watches.due.first_entry().filter(|first| first.key().0 <= now) {
            first.remove().end();
        }
        let next = watches.due.keys().next().map(|(due, _)| *due - now);
        watches = match next {
            Some(sleep) => {
                let slept = CHANGED.wait_timeout(watches, sleep);
                slept.unwrap_or_else(PoisonError::into_inner).0
            }
            None => CHANGED.wait(watches).unwrap_or_else(PoisonError::into_inner),
        };
    }
}
