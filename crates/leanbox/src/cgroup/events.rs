//! Hearing of it when a group runs out of memory, for event loops.
//!
//! In: the group's memory folder. Out: a descriptor that becomes readable. Never: starts a thread.

use super::file;
use super::layout::{Hierarchy, Version};
use crate::{Error, Result};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{OFlags, inotify};
use std::os::fd::{AsRawFd, OwnedFd};

/// Readable when a limit of the group's memory was in the way: v1's `memory.oom_control`
/// (`memory.rst`, "OOM Control"), v2's `memory.events`.
pub(super) fn out_of_memory(place: &Hierarchy) -> Result<OwnedFd> {
    match place.version {
        Version::V1 => {
            let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
            let event = eventfd(0, flags).map_err(|errno| Error::syscall("eventfd2", errno))?;
            let control = file::open(&place.folder.join("memory.oom_control"), OFlags::RDONLY)?;
            let order = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
            file::write(&place.folder.join("cgroup.event_control"), &order)?;
            Ok(event)
        }
        Version::V2 => {
            let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
            let event =
                inotify::init(flags).map_err(|errno| Error::syscall("inotify_init1", errno))?;
            let path = place.folder.join("memory.events");
            inotify::add_watch(&event, &path, inotify::WatchFlags::MODIFY)
                .map_err(|errno| Error::syscall(format!("inotify_add_watch({path:?})"), errno))?;
            Ok(event)
        }
    }
}
