//! Limits of processes (setrlimit(2)): ours, which the launcher takes on and its container
//! inherits, and those that were asked for, which the container takes on.

use super::Recipe;
use crate::plan::Operation;
use crate::{Error, ErrorKind, Limits, Policy, Result, probe};
use leanbox_launcher::wire::Rlimit;

/// What every container gets, soft and hard.
const RLIMITS: [(u32, u64); 4] = [
    (4, 0),        // RLIMIT_CORE: no core dumps
    (7, 4096),     // RLIMIT_NOFILE
    (3, 8 << 20),  // RLIMIT_STACK
    (8, 64 << 10), // RLIMIT_MEMLOCK
];
const RLIMIT_NPROC: u32 = 6;
const RLIMIT_MSGQUEUE: u32 = 12;

/// Whether they can be given.
pub(super) fn check(recipe: &Recipe) -> Result<()> {
    let (limits, default) = (&recipe.limits, Limits::default());
    let memory = |limits: &Limits| (limits.memory_max_bytes, limits.swap_max_bytes);
    if !recipe.groups && memory(limits) != memory(&default) {
        return Err(Error::invalid("a memory limit without resource groups would not hold")
            .remedy("leave it out, or have groups delegated"));
    }
    if !recipe.groups
        && limits.pids_max != default.pids_max
        && !probe::counts_processes_by_namespace()
    {
        let text = "a limit of processes without resource groups takes Linux 5.14";
        return Err(Error::new(ErrorKind::Unsupported, text).remedy(
            "leave it out (before, all processes of this user would count), or have groups delegated",
        ));
    }
    let asked = &limits.rlimits;
    if let Some(queues) = asked.iter().find(|limit| limit.resource() == RLIMIT_MSGQUEUE) {
        if recipe.policy == Policy::Reuse && queues.hard > 0 {
            let text = format!("policy reuse with ulimit {queues}: queues cannot be listed");
            return Err(Error::invalid(text).remedy("use policy once"));
        }
    }
    asked.iter().try_for_each(crate::Rlimit::check_ours)
}

/// Of the launcher. Never above what this process may give (it may lack CAP_SYS_RESOURCE), and
/// not what the container is given otherwise.
pub(super) fn operations(recipe: &Recipe) -> Vec<Operation> {
    let ours = |resource| match resource {
        7 => rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum,
        3 => rustix::process::getrlimit(rustix::process::Resource::Stack).maximum,
        8 => rustix::process::getrlimit(rustix::process::Resource::Memlock).maximum,
        _ => None,
    };
    let bounded = |(resource, value): (u32, u64)| {
        Operation::rlimit(resource, ours(resource).map_or(value, |most| most.min(value)))
    };
    let is_asked =
        |resource: u32| recipe.limits.rlimits.iter().any(|limit| limit.resource() == resource);
    let own = RLIMITS.into_iter().filter(|(resource, _)| !is_asked(*resource));
    let mut ops: Vec<Operation> = own.map(bounded).collect();
    if !recipe.groups && probe::counts_processes_by_namespace() {
        // The launcher has another user.
        ops.push(Operation::rlimit(RLIMIT_NPROC, recipe.limits.pids_max.into()));
    }
    if recipe.policy == Policy::Reuse {
        // POSIX message queues cannot be listed without a mount, so a reused slot has none.
        ops.push(Operation::rlimit(RLIMIT_MSGQUEUE, 0));
    }
    ops
}

/// Of the container.
pub(super) fn of_container(recipe: &Recipe) -> Vec<Rlimit> {
    let plain = |limit: &crate::Rlimit| Rlimit {
        resource: limit.resource().into(),
        soft: limit.soft,
        hard: limit.hard,
    };
    recipe.limits.rlimits.iter().map(plain).collect()
}
