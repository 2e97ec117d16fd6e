//! How large a pool is, and how long a start waits in it.

use super::shared::{Shared, State};
use super::tender::Tender;
use super::{Pool, remains};
use crate::{Error, Result, Template};
use rustix::event::{EventfdFlags, eventfd};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// Builds a [`Pool`].
#[derive(Debug)]
pub struct PoolBuilder {
    template: Template,
    ready: usize,
    warm: usize,
    max: usize,
    wait: Duration,
}

/// The most slots of a pool unless told otherwise: one for each id block of the machine.
const SLOTS_MAX: usize = leanbox_launcher::wire::BLOCKS_MAX;
/// How many of the reserve are warm unless told otherwise.
const WARM_MAX: usize = 64;
/// How long a start waits for a slot unless told otherwise.
const WAIT: Duration = Duration::from_secs(60);

impl PoolBuilder {
    pub(super) fn new(template: &Template) -> Self {
        Self { template: template.clone(), ready: 0, warm: WARM_MAX, max: SLOTS_MAX, wait: WAIT }
    }

    /// How many slots are kept in reserve (0: each is made when it is needed). More than one of
    /// a writable root, or with published ports, there cannot be.
    #[must_use]
    pub fn ready(mut self, count: usize) -> Self {
        self.ready = count;
        self
    }

    /// How many slots of the reserve have a container parked and their cgroup joined (64 unless
    /// set). The rest wait cold: made, but without those two, which are half of the memory that a
    /// waiting slot takes, and are warmed when half of the warm ones are taken, in less time than
    /// making new ones takes. With policy shared all are warm.
    #[must_use]
    pub fn warm(mut self, count: usize) -> Self {
        self.warm = count;
        self
    }

    /// How many slots there are at most, ready, in use and being made: a start beyond waits for its
    /// turn.
    #[must_use]
    pub fn max(mut self, count: usize) -> Self {
        self.max = count;
        self
    }

    /// How long a start waits for a slot (60 s unless set).
    #[must_use]
    pub fn wait(mut self, time: Duration) -> Self {
        self.wait = time;
        self
    }

    /// The pool; its first slots are being made when this returns.
    ///
    /// # Errors
    /// Numbers that make no sense, or the tender's thread cannot be made.
    pub fn build(self) -> Result<Pool> {
        let Self { template, ready, warm, mut max, wait } = self;
        if max == 0 || ready > max {
            let text = format!("a pool with {ready} slots ready and at most {max}");
            return Err(Error::invalid(text).remedy("at most is 1 or more, and as many as ready"));
        }
        if template.inner.has_one_at_a_time() {
            if ready > 1 {
                let text = format!(
                    "a pool with {ready} slots ready on a writable root or with published ports"
                );
                return Err(Error::invalid(text).remedy("it has one at a time"));
            }
            if let Some(upper) = template.inner.upper.as_ref().filter(|_| ready == 1) {
                // Refused now, not at the first start.
                drop(upper.turn()?);
            }
            max = 1;
        }
        // A seat in shared namespaces is little more than its container. With no warm slot nobody
        // would ever be served from the reserve.
        let warm = if template.inner.plan.shared { ready } else { warm.max(1).min(ready) };
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| Error::syscall("eventfd2", errno))?;
        let state = State {
            ready: Vec::new(),
            cold: Vec::new(),
            making: 0,
            making_cold: 0,
            out: 0,
            used: Vec::new(),
            dying: 0,
            slow: 0,
            counts_dying: template.inner.plan.shared,
            queue: VecDeque::new(),
            tickets: 0,
            last_take: Instant::now(),
            settling: 0,
            error: None,
            tender_sleeps: false,
            tender_watches_spare: false,
            event_wanted: false,
            stop: false,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            remains: Mutex::<remains::Remains>::default(),
            template,
            reserve: ready,
            warm,
            max,
            wait,
            event: OnceLock::new(),
            wake,
        });
        let tender = if ready > 0 { Some(Arc::new(Tender::begin(&shared)?)) } else { None };
        Ok(Pool { tender, shared })
    }
}
