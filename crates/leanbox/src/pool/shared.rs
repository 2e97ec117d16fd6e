//! What the callers of a pool and its tender share: the ready slots, the queue of those who wait
//! for one, and what is left of used ones.

use super::remains::{REAP_MS, Remains};
use crate::making::{Cold, Made, Making};
use crate::slot::Slot;
use crate::{Error, ErrorKind, Result, Template};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// What callers and the tender share.
#[derive(Debug)]
pub(super) struct Shared {
    /// Slots end before the template's keeper and groups do.
    pub(super) state: Mutex<State>,
    /// Something in the state has changed that does not concern those in the queue.
    pub(super) changed: Condvar,
    pub(super) remains: Mutex<Remains>,
    pub(super) template: Template,
    pub(super) reserve: usize,
    /// How many of the reserve have a container parked.
    pub(super) warm: usize,
    pub(super) max: usize,
    pub(super) wait: Duration,
    /// Told that a slot is ready, where somebody has asked for that.
    pub(super) event: OnceLock<OwnedFd>,
    /// Wakes the tender.
    pub(super) wake: OwnedFd,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) ready: Vec<Slot>,
    pub(super) cold: Vec<Cold>,
    /// Being made or warmed, by the tender or by whoever needs one.
    pub(super) making: usize,
    pub(super) making_cold: usize,
    /// Containers run in them.
    pub(super) out: usize,
    /// Used, for the tender to kill.
    pub(super) used: Vec<Slot>,
    /// Killed, and not gone yet.
    pub(super) dying: usize,
    /// Of those, so many that nobody waits for them any more.
    pub(super) slow: usize,
    /// Those count as well: what they left in shared namespaces runs until it is gone.
    pub(super) counts_dying: bool,
    /// Who waits, in the order of arrival, each asleep on its own: the first is told alone.
    pub(super) queue: VecDeque<(u64, Arc<Condvar>)>,
    pub(super) tickets: u64,
    pub(super) last_take: Instant,
    /// Somebody waits until all is done.
    pub(super) settling: usize,
    /// Why the last slot could not be made: for whoever waits for it.
    pub(super) error: Option<Error>,
    /// The tender sleeps until it is woken.
    pub(super) tender_sleeps: bool,
    /// It looks again after a while whether slots beyond the reserve can go.
    pub(super) tender_watches_spare: bool,
    /// Someone was told that none is free, and waits for the event.
    pub(super) event_wanted: bool,
    pub(super) stop: bool,
}

impl State {
    /// Slots that count against the most there may be.
    pub(super) fn alive(&self) -> usize {
        let dying = if self.counts_dying { self.dying } else { 0 };
        let making = self.making + self.making_cold;
        self.in_reserve() + making + self.out + self.used.len() + dying
    }

    /// Ready and cold ones.
    pub(super) fn in_reserve(&self) -> usize {
        self.ready.len() + self.cold.len()
    }

    pub(super) fn is_settled(&self, shared: &Shared) -> bool {
        let busy = self.making + self.making_cold + self.used.len() + self.dying;
        self.in_reserve() == shared.reserve && self.ready.len() == shared.warm && busy == 0
    }
}

/// The one made last: its memory is the most likely to be in the CPU's caches.
pub(super) fn take_ready(state: &mut State) -> Option<Slot> {
    let slot = state.ready.pop()?;
    state.out += 1;
    Some(slot)
}

impl Shared {
    /// Waits for the next slot behind those who came before, at most for the pool's time.
    pub(super) fn queue_up(
        &self,
        mut state: MutexGuard<'_, State>,
        now: Instant,
        tended: bool,
    ) -> Result<Slot> {
        if state.queue.is_empty() {
            // What failed before nobody waited may work now.
            state.error = None;
        }
        let ticket = state.tickets;
        state.tickets += 1;
        let turn = Arc::new(Condvar::new());
        state.queue.push_back((ticket, Arc::clone(&turn)));
        if let (Some(upper), true) = (&self.template.inner.upper, state.out > 0) {
            self.leave_queue(&mut state, ticket);
            return Err(upper.is_busy());
        }
        loop {
            if state.queue.front().is_some_and(|first| first.0 == ticket) {
                if let Some(slot) = take_ready(&mut state) {
                    self.leave_queue(&mut state, ticket);
                    return Ok(slot);
                }
                if !tended && state.alive() < self.max {
                    self.leave_queue(&mut state, ticket);
                    return self.make_now(state);
                }
                if let Some(error) = state.error.take() {
                    self.leave_queue(&mut state, ticket);
                    return Err(error);
                }
            }
            let left = (now + self.wait).saturating_duration_since(Instant::now());
            if left.is_zero() {
                let error = self.none_in_time(&state);
                self.leave_queue(&mut state, ticket);
                return Err(error);
            }
            self.wake_tender(&mut state);
            state = turn.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn none_in_time(&self, state: &State) -> Error {
        let text = format!(
            "no free slot within {:?}: {} are in use, and the pool has at most {}",
            self.wait, state.out, self.max
        );
        Error::new(ErrorKind::Busy, text).remedy("end some containers, or allow more slots")
    }

    fn leave_queue(&self, state: &mut State, ticket: u64) {
        state.queue.retain(|other| other.0 != ticket);
        // Whoever is first now looks again.
        self.tell(state);
    }

    /// Tells whoever waits for a slot next, and those who wait for another change.
    pub(super) fn tell(&self, state: &State) {
        if let Some((_, turn)) = state.queue.front() {
            turn.notify_one();
        }
        self.changed.notify_all();
    }

    /// Makes a slot for the caller alone: a pool without a reserve.
    fn make_now(&self, mut state: MutexGuard<'_, State>) -> Result<Slot> {
        state.making += 1;
        drop(state);
        let made = self.ask(false).and_then(|making| match self.finish(making)? {
            Made::Slot(slot) => Ok(*slot),
            Made::Cold(cold) => {
                self.remains().add(cold.kill());
                Err(Error::new(ErrorKind::Gone, "the keeper made a cold slot unasked"))
            }
        });
        let mut state = self.state();
        state.making -= 1;
        if made.is_ok() {
            state.out += 1;
        }
        self.tell(&state);
        made
    }

    pub(super) fn put_ready(&self, state: &mut State, slot: Slot) {
        state.ready.push(slot);
        if state.ready.len() > self.warm && !state.tender_watches_spare {
            self.wake_tender(state);
        }
        if !state.queue.is_empty() || state.settling > 0 {
            self.tell(state);
        }
        if std::mem::take(&mut state.event_wanted) {
            if let Some(event) = self.event.get() {
                let _ = rustix::io::write(event, &1u64.to_ne_bytes());
            }
        }
    }

    /// Asks the keeper for a slot, or a cold one.
    pub(super) fn ask(&self, cold: bool) -> Result<Making> {
        let inner = &self.template.inner;
        self.remains().bury(inner, if inner.has_one_at_a_time() { REAP_MS } else { 0 });
        if let Some(first) = (!cold).then(|| inner.first_slot()).flatten() {
            return Ok(first);
        }
        let ground = inner.ground()?;
        let group = match cold && !inner.is_born_in_group() {
            true => None,
            false => Some(inner.group_of(&ground, self.remains().clean_group())?),
        };
        let asked = match (&inner.crowd, group) {
            (Some(crowd), Some(group)) => crowd.ask(inner, ground, group),
            (_, group) => Making::ask(&inner.keeper, ground, group, cold),
        };
        asked.map_err(|unasked| {
            let (error, freed) = *unasked;
            self.remains().take(inner, freed);
            error
        })
    }

    /// Gives a cold slot its group and its container.
    pub(super) fn warm(&self, cold: Cold) -> Result<Making> {
        let inner = &self.template.inner;
        let clean = self.remains().clean_group();
        let group = match inner.is_born_in_group() {
            true => Ok(None),
            false => inner.group_of(cold.ground(), clean).map(Some),
        };
        let warmed = match group {
            Ok(group) => cold.warm(group),
            Err(error) => Err(Box::new((error, cold.kill()))),
        };
        warmed.map_err(|failed| {
            let (error, dying) = *failed;
            self.remains().add(dying);
            error
        })
    }

    pub(super) fn finish(&self, making: Making) -> Result<Made> {
        let inner = &self.template.inner;
        making.finish(&inner.keeper, &inner.plan).map_err(|unmade| {
            let mut remains = self.remains();
            if let Some(dying) = unmade.left {
                remains.add(*dying);
            }
            if let Some(freed) = unmade.free {
                remains.take(inner, *freed);
            }
            unmade.error
        })
    }

    /// Kills a used slot and buries who is gone: a pool without a tender.
    pub(super) fn bury_now(&self, slot: Slot) {
        let shared = slot.ground.shared;
        let dying = slot.kill();
        let mut remains = self.remains();
        remains.add(dying);
        let patience_ms = if shared || remains.are_too_many() { REAP_MS } else { 0 };
        remains.bury(&self.template.inner, patience_ms);
        drop(remains);
        let mut state = self.state();
        state.out -= 1;
        self.tell(&state);
    }

    pub(super) fn bury_all(&self) {
        let mut remains = self.remains();
        while !remains.is_empty() {
            remains.bury(&self.template.inner, REAP_MS);
        }
    }

    pub(super) fn wake_tender(&self, state: &mut State) {
        if std::mem::take(&mut state.tender_sleeps) {
            let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        }
    }

    pub(super) fn wait_for_change<'a>(
        &self,
        state: MutexGuard<'a, State>,
        limit: Duration,
    ) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner).0
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn remains(&self) -> MutexGuard<'_, Remains> {
        self.remains.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    /// Everything is killed first and waited for then, so that groups can be removed.
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let remains = self.remains.get_mut().unwrap_or_else(PoisonError::into_inner);
        let left = state.used.drain(..).chain(state.ready.drain(..));
        left.for_each(|slot| remains.add(slot.kill()));
        state.cold.drain(..).for_each(|cold| remains.add(cold.kill()));
        remains.end(&self.template.inner);
    }
}
