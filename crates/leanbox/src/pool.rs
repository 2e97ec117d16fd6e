//! The slots of one template: how many are kept ready, how many there are at most, and who gets
//! the next. A start takes a ready slot, or waits for one in the order of arrival. What else there
//! is to do (making slots, killing and burying used ones) is the tender's, a thread of the pool;
//! a pool without a reserve has none, and its callers do it themselves.

mod builder;
mod remains;
mod shared;
mod tender;

use crate::slot::Slot;
use crate::template::Inner;
use crate::{Error, ErrorKind, Policy, Result, Template};
pub use builder::PoolBuilder;
pub(crate) use remains::REAP_MS;
use rustix::event::{EventfdFlags, eventfd};
use shared::{Shared, take_ready};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Instant;
use tender::Tender;

/// Prepared slots of a template. May be shared by threads; clones are the same pool.
#[derive(Debug, Clone)]
pub struct Pool {
    // Before the rest: it ends before the slots do.
    tender: Option<Arc<Tender>>,
    shared: Arc<Shared>,
}

impl Pool {
    /// A pool that keeps `ready` slots in reserve; 0 makes each slot when it is needed. The first
    /// ones are being made when this returns. On a writable root there is one slot at a time.
    ///
    /// # Errors
    /// As for [`PoolBuilder::build`].
    pub fn new(template: &Template, ready: usize) -> Result<Self> {
        Self::builder(template).ready(ready).build()
    }

    /// Begins a pool of a template.
    #[must_use]
    pub fn builder(template: &Template) -> PoolBuilder {
        PoolBuilder::new(template)
    }

    /// The template of its slots.
    #[must_use]
    pub fn template(&self) -> &Template {
        &self.shared.template
    }

    /// Whether its slots serve once or again.
    #[must_use]
    pub fn policy(&self) -> Policy {
        match &self.inner().plan {
            plan if plan.shared => Policy::Shared,
            plan if plan.reuse => Policy::Reuse,
            _ => Policy::Once,
        }
    }

    /// How many slots are in reserve just now, cold ones ([`PoolBuilder::warm`]) among them.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.shared.state().in_reserve()
    }

    /// Becomes readable when a slot is ready after [`Command::try_spawn`](crate::Command::try_spawn)
    /// found none (eventfd(2)): for event loops, beside each container's pidfd. The next
    /// `try_spawn` makes it unreadable again.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn event(&self) -> Result<BorrowedFd<'_>> {
        if self.shared.event.get().is_none() {
            let made = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
            let _ = self.shared.event.set(made.map_err(|e| Error::syscall("eventfd2", e))?);
        }
        Ok(self.shared.event.get().expect("it was set just now").as_fd())
    }

    /// Waits until the reserve is full and every killed slot is gone: for benchmarks, and before
    /// a burst.
    ///
    /// # Errors
    /// A slot cannot be made.
    pub fn settle(&self) -> Result<()> {
        if self.tender.is_none() {
            self.shared.bury_all();
            return Ok(());
        }
        let mut state = self.shared.state();
        if state.is_settled(&self.shared) && state.tender_sleeps {
            return Ok(());
        }
        state.settling += 1;
        state.error = None;
        self.shared.wake_tender(&mut state);
        // Until the tender sleeps too: it would disturb the start that comes next.
        while !(state.is_settled(&self.shared) && state.tender_sleeps) && state.error.is_none() {
            state = self.shared.wait_for_change(state, remains::REAP);
        }
        state.settling -= 1;
        state.error.take().map_or(Ok(()), Err)
    }

    /// A slot to start in: a ready one, else one that is made for this call; in turn with others
    /// who wait.
    pub(crate) fn take(&self, now: Instant) -> Result<Slot> {
        let mut state = self.shared.state();
        state.last_take = now;
        if state.queue.is_empty() {
            if let Some(slot) = take_ready(&mut state) {
                return Ok(slot);
            }
        }
        self.shared.queue_up(state, now, self.tender.is_some())
    }

    /// Names the keeper where its end is behind that of what it had made.
    pub(crate) fn blamed(&self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::Gone if self.inner().keeper.is_gone() => self.inner().keeper.ended_unasked(),
            _ => error,
        }
    }

    /// A ready slot, if there is one that nobody waits for.
    pub(crate) fn try_take(&self, now: Instant) -> Option<Slot> {
        let mut state = self.shared.state();
        state.last_take = now;
        if let Some(event) = self.shared.event.get() {
            let _ = rustix::io::read(event, &mut [0u8; 8]);
        }
        let slot = if state.queue.is_empty() { take_ready(&mut state) } else { None };
        state.event_wanted = slot.is_none();
        self.shared.wake_tender(&mut state);
        slot
    }

    /// A slot whose container has ended: reset and put back, or thrown away and replaced.
    pub(crate) fn give_back(&self, slot: Slot) {
        let inner = self.inner();
        if !inner.plan.reuse {
            return self.discard(slot);
        }
        match slot.reset(inner) {
            Ok(slot) => {
                let mut state = self.shared.state();
                state.out -= 1;
                self.shared.put_ready(&mut state, slot);
            }
            Err(slot) => self.discard(*slot),
        }
    }

    /// A slot that serves no more: killed, and taken apart when it is gone.
    pub(crate) fn discard(&self, slot: Slot) {
        slot.kill_left();
        if self.tender.is_none() {
            self.shared.bury_now(slot);
            return;
        }
        let mut state = self.shared.state();
        state.out -= 1;
        state.used.push(slot);
        self.shared.wake_tender(&mut state);
        // Each holds some hundred KiB of the kernel's until it is gone.
        while state.used.len() + state.dying > remains::DYING_MAX && !state.stop {
            self.shared.wake_tender(&mut state);
            state = self.shared.wait_for_change(state, remains::REAP);
        }
    }

    /// Takes away the ready slots that died before their start.
    pub(crate) fn discard_dead(&self) {
        let mut state = self.shared.state();
        let (dead, alive) = state.ready.drain(..).partition(Slot::is_dead);
        state.ready = alive;
        state.out += Vec::len(&dead);
        drop(state);
        dead.into_iter().for_each(|slot| self.discard(slot));
    }

    fn inner(&self) -> &Inner {
        &self.shared.template.inner
    }
}
