//! What is left of slots: those that were killed and are not gone yet, and groups that can serve
//! the next. In: killed slots. Out: their ground for the template, their groups for the pool.

use crate::cgroup::Group;
use crate::slot::{Dying, Freed};
use crate::template::Inner;
use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

/// Killed slots that may be on their way out before whoever ends another waits: each holds some
/// hundred KiB of the kernel's until it is gone.
pub(super) const DYING_MAX: usize = 256;
/// Groups kept for the next slots.
const GROUPS_MAX: usize = 64;
/// How long a killed slot may take to be gone.
pub(crate) const REAP_MS: i64 = 10_000;
/// The same.
pub(super) const REAP: Duration = Duration::from_secs(10);
/// From then on nobody waits for it any more, and those killed later are buried before it.
pub(super) const SLOW: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
pub(super) struct Remains {
    dying: VecDeque<Dying>,
    /// Not gone in [`SLOW`]: a process that the kernel cannot end yet.
    slow: VecDeque<Dying>,
    groups: VecDeque<Group>,
}

impl Remains {
    pub(super) fn add(&mut self, dying: Dying) {
        self.dying.push_back(dying);
    }

    pub(super) fn len(&self) -> usize {
        self.dying.len() + self.slow.len()
    }

    pub(super) fn slow(&self) -> usize {
        self.slow.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn are_too_many(&self) -> bool {
        self.len() > DYING_MAX
    }

    /// Become readable when the oldest, or a slow one, is gone.
    pub(super) fn gone_events(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.dying.front().into_iter().chain(&self.slow).map(Dying::gone_event)
    }

    /// Takes one apart that is gone within the time, or the oldest out of the others' way;
    /// whether there was one.
    pub(super) fn bury(&mut self, inner: &Inner, patience_ms: i64) -> bool {
        for _ in 0..self.slow.len() {
            let Some(slow) = self.slow.pop_front() else { break };
            match slow.reap(0) {
                Ok(freed) => {
                    self.take(inner, freed);
                    return true;
                }
                Err(alive) => self.slow.push_back(*alive),
            }
        }
        let is_last = patience_ms >= REAP_MS && self.dying.is_empty();
        let oldest = if is_last { self.slow.pop_front() } else { self.dying.pop_front() };
        let Some(oldest) = oldest else { return false };
        match oldest.reap(patience_ms) {
            Err(alive) if patience_ms < REAP_MS => {
                let is_slow = alive.killed_at.elapsed() >= SLOW;
                match is_slow {
                    true => self.slow.push_back(alive.killed_again()),
                    false => self.dying.push_front(*alive),
                }
                return is_slow;
            }
            // Not gone in ten seconds: its group and ids are not used again by this owner.
            Err(alive) => std::mem::forget(alive),
            Ok(freed) => self.take(inner, freed),
        }
        true
    }

    /// A ground that nothing lives on.
    pub(super) fn take(&mut self, inner: &Inner, freed: Freed) {
        let group = inner.give_back(freed);
        if self.groups.len() < GROUPS_MAX {
            self.groups.extend(group);
        }
    }

    /// A group that is as good as new: the one that has lain longest, since the kernel frees what
    /// a slot had some time after its end.
    pub(super) fn clean_group(&mut self) -> Option<Group> {
        let group = self.groups.pop_front()?;
        matches!(group.recycle(), Ok(true)).then_some(group)
    }

    /// The pool is at its end: waits for all, or leaves that to the end of the keeper.
    pub(super) fn end(&mut self, inner: &Arc<Inner>) {
        if Arc::strong_count(inner) == 1 {
            // The keeper goes next, and when it has, everything in its pid namespace has.
            inner.bury_with_keeper(self.dying.drain(..).chain(self.slow.drain(..)));
            return;
        }
        for dying in self.dying.drain(..).chain(self.slow.drain(..)) {
            if let Ok(freed) = dying.reap(REAP_MS) {
                drop(inner.give_back(freed));
            }
        }
    }
}
