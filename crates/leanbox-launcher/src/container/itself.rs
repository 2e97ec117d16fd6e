//! What a container takes on by itself: limits, user, capabilities, folder, terminal.

use crate::wire::{Plan, Rlimit, Step};
use leanbox_sys::{Errno, Fd, fd, process, terminal};

/// Of the container alone: its launcher has to fork and to open what it needs.
pub(crate) fn take_limits(plan: &Plan) -> Result<(), (u32, Errno)> {
    plan.table::<Rlimit>(plan.header().rlimits).iter().try_for_each(|limit| {
        process::set_limits(limit.resource as u32, limit.soft, limit.hard)
            .map_err(|errno| (Step::LIMITS, errno))
    })
}

/// The launcher has its groups, session and working folder (`/`) already.
pub(super) fn take_identity(plan: &Plan) -> Result<(), (u32, Errno)> {
    let header = plan.header();
    take_limits(plan)?;
    let identity = |errno| (Step::IDENTITY, errno);
    process::setuid(header.uid).map_err(identity)?;
    process::capset(header.held, 0).map_err(identity)?;
    match plan.text(header.workdir) {
        dir if dir == c"/" => Ok(()),
        dir => fd::chdir(dir).map_err(|errno| (Step::WORKDIR, errno)),
    }
}

/// A session of its own with this terminal, which is also its standard streams unless it is given
/// others.
pub(super) fn take_terminal(slave: Fd) -> leanbox_sys::Result<()> {
    process::setsid()?;
    terminal::make_controlling(slave)?;
    (0..3).try_for_each(|stream| fd::dup_to(slave, stream, false))?;
    fd::close(slave);
    Ok(())
}
