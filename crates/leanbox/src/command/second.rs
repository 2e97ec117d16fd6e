//! A command as the second program in a slot.

use super::Command;
use crate::identity::Identity;
use crate::process::{Entered, Process};
use crate::slot::Slot;
use crate::stdio::{Stdio, Streams};
use crate::{Error, Pool, Result};
use std::os::fd::OwnedFd;
use std::time::Instant;

impl Command {
    /// Another user than the container's, as [`TemplateBuilder::user`](crate::TemplateBuilder::user)
    /// takes it: of a second program only ([`Container::exec`](crate::Container::exec)), since a template decides whom its
    /// slots are made for.
    pub fn user(&mut self, user: impl Into<String>) -> &mut Self {
        self.user = Some(user.into());
        self.changed()
    }

    /// Has its standard input, the slave of a terminal of the caller's (pty(7)), as its controlling
    /// terminal: of a second program only. The terminal need not be in the container's `/dev`.
    pub fn controlling_terminal(&mut self) -> &mut Self {
        self.controls = true;
        self
    }

    /// Starts it as the second program in a slot.
    pub(crate) fn exec_in(&mut self, pool: &Pool, slot: &Slot) -> Result<Process> {
        if self.noop {
            return Err(Error::invalid("no program to run"));
        }
        self.check_second()?;
        let began = Instant::now();
        let mut streams = Streams::open(&self.streams, || Stdio::Inherit, false, false)?;
        let inner = &pool.template().inner;
        let identity = match &self.user {
            Some(user) => Identity::resolve(user, &inner.rootfs)?,
            None => inner.plan.identity.clone(),
        };
        let message = self.message_for(pool, &identity)?;
        let ours = streams.take_ours();
        let enter = || {
            let (tell, told) = told_of_exec()?;
            let (bytes, fds) = self.complete(&message, &streams, Some(&told))?;
            let bytes = bytes.as_deref().unwrap_or(&message.bytes);
            let entered =
                Entered::into(slot, inner, &identity, self.controls)?.start(bytes, &fds)?;
            drop(fds);
            drop(told);
            entered.confirm_exec(&self.program, tell)
        };
        let entered = match slot.group.freezer() {
            Ok(freezer) => freezer.admit(enter)?,
            Err(_) => enter()?,
        };
        let deadline = self.timeout.and_then(|timeout| began.checked_add(timeout));
        Ok(Process::new(entered, ours, began, deadline, &self.program))
    }

    /// What holds for a container's own program only is refused, not ignored.
    fn check_second(&self) -> Result<()> {
        let of_the_first = [
            (self.explain, "an explanation"),
            (self.cpu_time.is_some(), "a CPU time limit"),
            (self.grace.is_some(), "a grace"),
            (self.output_max.is_some(), "an output limit"),
        ];
        match of_the_first.into_iter().find(|(is_asked, _)| *is_asked) {
            Some((_, what)) => Err(Error::invalid(format!(
                "{what} is for a container's own program, not for a second one"
            ))),
            None => Ok(()),
        }
    }
}

/// Of a pipe that an exec closes: the host's end, and the container's.
pub(super) fn told_of_exec() -> Result<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|errno| Error::syscall("pipe2(O_CLOEXEC)", errno))
}
