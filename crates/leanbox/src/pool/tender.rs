//! The tender: a thread of the pool that keeps its reserve full and buries what was used, so that
//! no start and no end waits for either. It adapts to the arrivals: while starts come close after
//! each other and at least half of the reserve is left it lets them go first; below that it makes
//! as many slots at a time as keep the CPUs busy.

use super::remains::REAP_MS;
use super::shared::{Shared, State};
use crate::making::{Made, Making};
use crate::{Error, Result, thread};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const STACK_BYTES: usize = 128 << 10;
/// Starts that follow each other within this time go first.
const QUIET: Duration = Duration::from_micros(300);
/// They do so for at most this long.
const LET_PASS_MAX: Duration = Duration::from_millis(5);
/// Used slots that wait for quiet; a program may run on in each of them until it is killed.
const USED_MAX: usize = 32;
/// Slots in the making for each CPU, while they are needed soon: the keeper clones one, others set
/// themselves up.
const MAKING_PER_CPU: usize = 2;
const MAKING_MAX: usize = 32;

/// Slots beyond the reserve, of a burst that is over, go when no start has come for this long.
const SPARE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// When one that was killed last is looked at again, gone or not.
const SLOW_AT: Timespec = Timespec { tv_sec: 0, tv_nsec: 21_000_000 };

/// A running tender.
#[derive(Debug)]
pub(super) struct Tender {
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
    /// A forked process has a copy of this, but not the thread.
    process: u32,
}

impl Tender {
    pub(super) fn begin(shared: &Arc<Shared>) -> Result<Self> {
        let wrap = |error: &std::io::Error| {
            Error::io("clone(the pool's tender)", error)
                .remedy("too many processes: end some, or raise pids.max (ulimit -u)")
        };
        let own = Arc::clone(shared);
        let began = thread::begin("leanbox-pool", STACK_BYTES, move || Work::new(&own).run());
        let thread = Some(began.map_err(|error| wrap(&error))?);
        Ok(Self { thread, shared: Arc::clone(shared), process: std::process::id() })
    }
}

impl Drop for Tender {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            return;
        }
        let mut state = self.shared.state();
        state.stop = true;
        state.tender_sleeps = true;
        self.shared.wake_tender(&mut state);
        drop(state);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What there is to do next.
enum Next {
    Stop,
    /// Let the starts that come now go first.
    LetPass,
    /// Begin so many slots.
    Make(usize),
}

/// What the reserve and those who wait lack.
#[derive(Default)]
struct Lack {
    /// Warm slots, by warming cold ones.
    warmed: usize,
    /// Warm slots, from nothing.
    fresh: usize,
    /// Cold ones.
    cold: usize,
}

impl Lack {
    fn count(&self) -> usize {
        self.warmed + self.fresh + self.cold
    }
}

/// The thread's own.
struct Work<'a> {
    shared: &'a Arc<Shared>,
    making: VecDeque<Making>,
    making_max: usize,
    /// Since when starts go first.
    letting_pass: Option<Instant>,
}

impl<'a> Work<'a> {
    fn new(shared: &'a Arc<Shared>) -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let making_max = (MAKING_PER_CPU * cpus).min(MAKING_MAX);
        Self { shared, making: VecDeque::new(), making_max, letting_pass: None }
    }

    fn run(mut self) {
        loop {
            match self.next() {
                Next::Stop => break,
                Next::LetPass => {
                    crate::thread::pause(QUIET);
                    continue;
                }
                Next::Make(count) => {
                    self.letting_pass = None;
                    self.ask(count);
                }
            }
            self.let_spare_ones_go();
            self.kill_used();
            self.finish_those_ready();
            self.bury_those_gone();
            self.sleep();
        }
        for making in self.making.drain(..) {
            match self.shared.finish(making) {
                Ok(Made::Slot(slot)) => self.shared.remains().add(slot.kill()),
                Ok(Made::Cold(slot)) => self.shared.remains().add(slot.kill()),
                Err(_) => {}
            }
        }
    }

    fn next(&mut self) -> Next {
        let state = self.shared.state();
        if state.stop {
            return Next::Stop;
        }
        let plenty = self.has_plenty(&state);
        let can_wait = plenty && state.settling == 0 && state.used.len() < USED_MAX;
        let has_work = !state.used.is_empty() || self.lack(&state).count() > 0;
        if can_wait && has_work && state.last_take.elapsed() < QUIET {
            let since = *self.letting_pass.get_or_insert_with(Instant::now);
            if since.elapsed() < LET_PASS_MAX {
                return Next::LetPass;
            }
        }
        let begins = self.lack(&state).count().min(self.may_begin(&state));
        Next::Make(begins)
    }

    /// How many slots may be begun. While enough is ready, one after the other, and none while a
    /// used one is taken apart (but for one that takes too long): the starts that come get the other
    /// CPU.
    fn may_begin(&self, state: &State) -> usize {
        let at_a_time = match (self.has_plenty(state), state.dying.saturating_sub(state.slow)) {
            (true, 0) => 1,
            (true, _) => 0,
            _ => self.making_max,
        };
        at_a_time.saturating_sub(self.making.len())
    }

    /// Enough is ready that other work can wait for the starts that come.
    fn has_plenty(&self, state: &State) -> bool {
        state.ready.len() * 2 >= self.shared.warm && state.queue.is_empty()
    }

    fn lack(&self, state: &State) -> Lack {
        let one_at_a_time = self.shared.template.inner.has_one_at_a_time();
        let not_gone = one_at_a_time && state.dying + state.used.len() > 0;
        if state.error.is_some() || not_gone {
            return Lack::default();
        }
        let queue = state.queue.len();
        let warm = (self.shared.warm + queue).saturating_sub(state.ready.len() + state.making);
        let all = state.in_reserve() + state.making + state.making_cold;
        let room = self.shared.max.saturating_sub(state.alive());
        let new = (self.shared.reserve + queue).saturating_sub(all).min(room);
        // One that was made just now is in the CPU's caches; but it takes longer to make than a
        // cold one to warm.
        let fresh_first = if self.has_plenty(state) { warm.min(new) } else { 0 };
        let warmed = (warm - fresh_first).min(state.cold.len());
        let fresh = (warm - warmed).min(new);
        Lack { warmed, fresh, cold: new - fresh }
    }

    fn ask(&mut self, count: usize) {
        for _ in 0..count {
            let begun = self.begin();
            match begun {
                Ok(Some(making)) => self.making.push_back(making),
                Ok(None) => return,
                Err(error) => return self.fail(error),
            }
        }
    }

    /// Begins what is lacked most.
    fn begin(&self) -> Result<Option<Making>> {
        let mut state = self.shared.state();
        let lack = self.lack(&state);
        let warmed = if lack.warmed > 0 { state.cold.pop() } else { None };
        let cold = warmed.is_none() && lack.fresh == 0;
        if cold && lack.cold == 0 {
            return Ok(None);
        }
        let counted = |state: &mut State, by: isize| {
            let count = if cold { &mut state.making_cold } else { &mut state.making };
            *count = count.saturating_add_signed(by);
        };
        counted(&mut state, 1);
        drop(state);
        let begun = match warmed {
            Some(slot) => self.shared.warm(slot),
            None => self.shared.ask(cold),
        };
        if begun.is_err() {
            counted(&mut self.shared.state(), -1);
        }
        begun.map(Some)
    }

    /// For whoever waits for a slot; until then no other is made.
    fn fail(&self, error: Error) {
        let mut state = self.shared.state();
        state.error = Some(error);
        self.shared.tell(&state);
    }

    fn let_spare_ones_go(&self) {
        let mut state = self.shared.state();
        let spare = state.ready.len().saturating_sub(self.shared.warm);
        let over = state.settling > 0 || state.last_take.elapsed() >= Duration::from_secs(1);
        if spare > 0 && over && state.queue.is_empty() {
            // The oldest.
            let gone: Vec<_> = state.ready.drain(..spare).collect();
            state.used.extend(gone);
        }
    }

    fn kill_used(&self) {
        let used = std::mem::take(&mut self.shared.state().used);
        if used.is_empty() {
            return;
        }
        let mut remains = self.shared.remains();
        used.into_iter().for_each(|slot| remains.add(slot.kill()));
        let dying = remains.len();
        drop(remains);
        self.shared.state().dying = dying;
    }

    fn finish_those_ready(&mut self) {
        while let Some(making) = self.making.pop_front() {
            if !is_readable(making.event()) {
                self.making.push_front(making);
                return;
            }
            let is_cold = making.is_cold();
            let made = self.shared.finish(making);
            let mut state = self.shared.state();
            match is_cold {
                true => state.making_cold -= 1,
                false => state.making -= 1,
            }
            match made {
                Ok(Made::Slot(slot)) => self.shared.put_ready(&mut state, *slot),
                Ok(Made::Cold(slot)) => state.cold.push(*slot),
                Err(error) => {
                    drop(state);
                    self.fail(error);
                }
            }
        }
    }

    fn bury_those_gone(&self) {
        let inner = &self.shared.template.inner;
        let mut remains = self.shared.remains();
        let before = remains.len();
        loop {
            let patience_ms = if remains.are_too_many() { REAP_MS } else { 0 };
            if !remains.bury(inner, patience_ms) {
                break;
            }
        }
        let (dying, slow) = (remains.len(), remains.slow());
        drop(remains);
        let mut state = self.shared.state();
        (state.dying, state.slow) = (dying, slow);
        if dying < before || state.is_settled(self.shared) {
            self.shared.changed.notify_all();
        }
    }

    /// Until there is something to do: a slot was made, one is gone, or somebody calls.
    fn sleep(&self) {
        let mut state = self.shared.state();
        let spare = state.settling > 0 && state.ready.len() > self.shared.warm;
        let work = !state.used.is_empty() || state.stop || spare;
        if work || self.lack(&state).count().min(self.may_begin(&state)) > 0 {
            return;
        }
        state.tender_sleeps = true;
        if state.settling > 0 {
            self.shared.changed.notify_all();
        }
        let too_many_ready = state.ready.len() > self.shared.warm;
        state.tender_watches_spare = too_many_ready;
        drop(state);
        let remains = self.shared.remains();
        let clone = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().ok();
        let gone: Vec<_> = remains.gone_events().filter_map(clone).collect();
        let may_get_slow = remains.len() > remains.slow();
        drop(remains);
        let mut fds = vec![PollFd::new(&self.shared.wake, PollFlags::IN)];
        let making = self.making.front().map(Making::event);
        fds.extend(making.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
        fds.extend(gone.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
        let timeout = match (may_get_slow, too_many_ready) {
            (true, _) => Some(&SLOW_AT),
            (false, true) => Some(&SPARE),
            _ => None,
        };
        let _ = poll(&mut fds, timeout);
        self.shared.state().tender_sleeps = false;
        let _ = rustix::io::read(&self.shared.wake, &mut [0u8; 8]);
    }
}

fn is_readable(fd: impl AsFd) -> bool {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
}
