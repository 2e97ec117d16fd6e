//! The slots of one template: how many are kept ready, and what becomes of used ones. Slots are
//! made by the keeper while the host goes on; killed ones are taken apart when their kernel
//! objects are gone. Nothing of that happens between a start and its end.

use crate::cgroup::Group;
use crate::making::Making;
use crate::slot::{Dying, Slot};
use crate::template::Inner;
use crate::{Policy, Result, Template};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Killed slots that may be on their way out before a start waits for the oldest: each holds
/// some hundred KiB of the kernel until it is gone.
const DYING_MAX: usize = 256;
/// Groups kept for the next slots.
const GROUPS_MAX: usize = 64;
/// How long a killed slot may take to be gone.
pub(crate) const REAP_MS: i64 = 10_000;

/// Prepared slots of a template. May be shared by threads.
#[derive(Debug, Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Slots end before the template's keeper and groups do.
    state: Mutex<State>,
    template: Template,
    reserve: usize,
}

#[derive(Debug, Default)]
struct State {
    ready: Vec<Slot>,
    making: VecDeque<Making>,
    dying: VecDeque<Dying>,
    groups: Vec<Group>,
}

impl Pool {
    /// A pool that keeps `ready` slots in reserve; 0 makes each slot when it is needed. The first
    /// ones are being made when this returns. On a writable root there is one slot at a time, so
    /// a reserve of at most 1.
    ///
    /// # Errors
    /// A slot cannot be asked for.
    pub fn new(template: &Template, ready: usize) -> Result<Self> {
        let state = Mutex::default();
        let shared = Shared { state, template: template.clone(), reserve: ready };
        let pool = Self { shared: Arc::new(shared) };
        pool.refill()?;
        Ok(pool)
    }

    /// The template of its slots.
    #[must_use]
    pub fn template(&self) -> &Template {
        &self.shared.template
    }

    /// Asks the keeper for as many slots as the reserve lacks, without waiting for them.
    ///
    /// # Errors
    /// A slot cannot be asked for.
    pub fn refill(&self) -> Result<()> {
        let mut state = self.state();
        while state.ready.len() + state.making.len() < self.shared.reserve {
            let making = self.ask(&mut state)?;
            state.making.push_back(making);
        }
        Ok(())
    }

    /// Waits until the reserve is full and every killed slot is gone: for benchmarks, and before
    /// a burst.
    ///
    /// # Errors
    /// A slot cannot be made.
    pub fn settle(&self) -> Result<()> {
        self.refill()?;
        let mut state = self.state();
        while let Some(making) = state.making.pop_front() {
            let slot = self.finish(&mut state, making)?;
            state.ready.push(slot);
        }
        while !state.dying.is_empty() {
            self.bury_oldest(&mut state, REAP_MS);
        }
        Ok(())
    }

    /// A slot to start in: a ready one, else one that is being made, else a new one.
    pub(crate) fn take(&self) -> Result<Slot> {
        let mut state = self.state();
        // The one made last: its memory is the most likely to be in the CPU's caches.
        if let Some(slot) = state.ready.pop() {
            return Ok(slot);
        }
        let making = match state.making.pop_front() {
            Some(making) => making,
            None => self.ask(&mut state)?,
        };
        self.finish(&mut state, making)
    }

    /// A slot whose container has ended: reset and put back, or thrown away and replaced.
    pub(crate) fn give_back(&self, slot: Slot) -> Result<()> {
        let inner = self.inner();
        let again = if inner.plan.reuse {
            slot.reset(&inner.keeper, &inner.plan)
        } else {
            Err(Box::new(slot.kill()))
        };
        let mut state = self.state();
        match again {
            Ok(slot) => state.ready.push(slot),
            Err(dying) => self.doom(&mut state, *dying),
        }
        drop(state);
        self.refill()
    }

    /// A killed slot: taken apart when it is gone.
    pub(crate) fn discard(&self, slot: Slot) {
        let dying = slot.kill();
        self.doom(&mut self.state(), dying);
    }

    fn doom(&self, state: &mut State, dying: Dying) {
        state.dying.push_back(dying);
        let timeout_ms = if state.dying.len() > DYING_MAX { REAP_MS } else { 0 };
        self.bury_oldest(state, timeout_ms);
    }

    /// Takes the oldest killed slot apart if it is gone within the time.
    fn bury_oldest(&self, state: &mut State, timeout_ms: i64) {
        let Some(oldest) = state.dying.pop_front() else { return };
        match oldest.reap(timeout_ms) {
            Err(alive) if timeout_ms == 0 => state.dying.push_front(*alive),
            // Not gone in ten seconds: its group and ids are not used again by this owner.
            Err(alive) => std::mem::forget(alive),
            Ok(ground) => {
                let group = self.inner().give_back(ground);
                if state.groups.len() < GROUPS_MAX {
                    state.groups.extend(group);
                }
            }
        }
    }

    fn ask(&self, state: &mut State) -> Result<Making> {
        // On a writable root the last slot has to be gone before the next is made.
        self.bury_oldest(state, if self.inner().upper.is_some() { REAP_MS } else { 0 });
        if let Some(first) = self.inner().first_slot() {
            return Ok(first);
        }
        let ground = self.inner().ground(state.groups.pop())?;
        let inner = self.inner();
        Making::ask(&inner.keeper, &inner.plan, ground).map_err(|unasked| {
            let (error, ground) = *unasked;
            state.groups.extend(inner.give_back(ground));
            error
        })
    }

    fn finish(&self, state: &mut State, making: Making) -> Result<Slot> {
        let inner = self.inner();
        making.finish(&inner.keeper, &inner.plan).map_err(|unmade| {
            state.dying.extend(unmade.left.map(|dying| *dying));
            let freed = unmade.free.and_then(|ground| inner.give_back(*ground));
            state.groups.extend(freed);
            unmade.error
        })
    }

    fn inner(&self) -> &Inner {
        &self.shared.template.inner
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether its slots serve once or again.
    #[must_use]
    pub fn policy(&self) -> Policy {
        if self.inner().plan.reuse { Policy::Reuse } else { Policy::Once }
    }
}

impl Drop for Shared {
    /// Everything is killed first and waited for then, so that groups can be removed.
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let inner = &self.template.inner;
        for making in state.making.drain(..) {
            match making.finish(&inner.keeper, &inner.plan) {
                Ok(slot) => state.dying.push_back(slot.kill()),
                Err(unmade) => state.dying.extend(unmade.left.map(|dying| *dying)),
            }
        }
        state.dying.extend(state.ready.drain(..).map(Slot::kill));
        if Arc::strong_count(inner) == 1 {
            // The keeper goes next, and when it has, everything in its pid namespace has.
            inner.bury_with_keeper(state.dying.drain(..));
            return;
        }
        for dying in state.dying.drain(..) {
            if let Ok(ground) = dying.reap(REAP_MS) {
                drop(inner.give_back(ground));
            }
        }
    }
}
