//! Pausing: everything in the slot stands still until it is resumed or killed.

use super::Container;
use crate::keeper::has_ended;
use crate::slot::Slot;
use crate::{Error, ErrorKind, Result};

impl Container {
    /// Freezes the program and all that it started (the kernel's `freezer-subsystem.rst` and
    /// `cgroup-v2.rst`, "freeze"); back when nothing of it runs any more. Again is fine. A paused
    /// container can be waited for, killed and dropped, its timeout counts on, and signals reach
    /// it when it is resumed. Where slots have no folder of cgroup v2, the first pause of a slot
    /// moves its processes: some milliseconds.
    ///
    /// # Errors
    /// `Gone` if it has ended or is killed meanwhile, `Busy` if not all of it stands still in ten
    /// seconds (it goes on then), `Unsupported` where no cgroup hierarchy can freeze it.
    pub fn pause(&self) -> Result<()> {
        let slot = self.running("pause")?;
        let freezer = slot.group.freezer().map_err(|error| error.during("pause"))?;
        let keeper = &self.pool.template().inner.keeper;
        freezer.freeze(|folder| keeper.thaws(folder)).map_err(|error| error.during("pause"))?;
        if has_ended(slot.container(), 0) {
            freezer.thaw()?;
        }
        self.running("pause").map(drop)
    }

    /// Lets a paused container go on; one that is not paused does so anyway.
    ///
    /// # Errors
    /// `Gone` if it has ended, `Unsupported` as for [`pause`](Self::pause).
    pub fn resume(&self) -> Result<()> {
        let freezer = self.running("resume")?.group.freezer();
        freezer.and_then(|freezer| freezer.thaw()).map_err(|error| error.during("resume"))
    }

    pub(super) fn running(&self, what: &str) -> Result<&Slot> {
        let ended = || Error::new(ErrorKind::Gone, format!("{what}: the container has ended"));
        self.slot.as_ref().filter(|slot| !has_ended(slot.container(), 0)).ok_or_else(ended)
    }
}
