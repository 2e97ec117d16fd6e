//! What a running container uses and may use, and its end in two steps.

use super::Container;
use crate::deadline::{Deadline, Terms};
use crate::slot::Slot;
use crate::{Error, ErrorKind, Limits, LimitsChange, Result, Stats};
use rustix::process::Signal;
use std::os::fd::OwnedFd;
use std::time::Duration;

impl Container {
    /// What it uses and has used since its start, read by the host from its group: some ten system
    /// calls, and nothing in the slot takes part in it.
    ///
    /// # Errors
    /// `Gone` if it has ended, `Unsupported` without resource groups; else a counter cannot be read.
    pub fn stats(&self) -> Result<Stats> {
        let slot = self.grouped("stats")?;
        let mut stats = slot.group.stats(&slot.baseline)?;
        stats.pids = stats.pids.saturating_sub(u64::from(!slot.ground.shared));
        Ok(stats)
    }

    /// Becomes readable when its memory limit is in the way (v2: also at the soft ones), or one
    /// of its processes is killed for want of memory: for event loops, beside
    /// [`pidfd`](Self::pidfd), which tells of its end, and so of every timeout. What is read from
    /// it says nothing (8 bytes on v1, records of inotify(7) on v2): it has to be read until it
    /// would block, and [`stats`](Self::stats) tells the number of kills. Costs nothing until it
    /// is asked for.
    ///
    /// # Errors
    /// `Gone` if it has ended; or a descriptor cannot be had.
    pub fn memory_event(&self) -> Result<OwnedFd> {
        self.grouped("memory event")?.group.memory_event()
    }

    /// Changes its limits while it runs: all that are named, or none. Its slot serves no other
    /// container afterwards. Memory that cannot be freed is not taken away: that is refused.
    ///
    /// # Errors
    /// `InvalidInput` for what makes no sense; `Busy` for a memory limit below what is in use;
    /// `Unsupported` for a controller whose groups the template's slots are not in, since it has
    /// no such limit and is not [updatable](crate::TemplateBuilder::updatable); `Gone` if it has
    /// ended.
    pub fn update(&self, change: &LimitsChange) -> Result<()> {
        change.applied_to(&Limits::default()).validate()?;
        let slot = self.grouped("update")?;
        let launcher = u32::from(slot.ground.shared);
        // As for a new group: there is one process more for the launcher, where it is in it.
        let pids_max = change.pids_max.map(|pids| pids - launcher);
        let change = LimitsChange { pids_max, ..change.clone() };
        let template = &self.pool.template().inner.limits;
        slot.group.update(template, &change).map_err(|error| error.during("update"))
    }

    /// Has it end as `docker stop` does: SIGTERM to the program (or the signal of
    /// [`Command::grace`](crate::Command::grace)), and after `grace` SIGKILL to all of the slot,
    /// whether anybody waits for it or not. Returns at once; the outcome says
    /// [`Cause::Killed`](crate::Cause::Killed). Again is fine, and does nothing.
    ///
    /// # Errors
    /// `Gone` if it has ended; or a descriptor or thread cannot be had.
    pub fn stop(&self, grace: Duration) -> Result<()> {
        let slot = self.running("stop")?;
        if self.deadline.get().is_none() {
            let watch = Deadline::set(Terms::default(), slot)?;
            // Another thread's may have come first: then this one is called off.
            let _ = self.deadline.set(watch);
        }
        let signal = self.started.grace.map_or(Signal::TERM, |(signal, _)| signal);
        match self.deadline.get() {
            Some(deadline) => deadline.stop(signal, grace).map(drop),
            None => Ok(()),
        }
    }

    /// Where its resource group is asked or changed.
    pub(super) fn grouped(&self, what: &str) -> Result<&Slot> {
        let slot = self.running(what)?;
        if slot.group.counts() {
            return Ok(slot);
        }
        let text = format!("{what}: the container has no resource group");
        Err(Error::new(ErrorKind::Unsupported, text)
            .remedy("its template goes without (without_groups, --cgroups disabled)"))
    }

    pub(super) fn running(&self, what: &str) -> Result<&Slot> {
        let ended = || Error::new(ErrorKind::Gone, format!("{what}: the container has ended"));
        self.slot.as_ref().filter(|slot| !slot.is_dead()).ok_or_else(ended)
    }
}
