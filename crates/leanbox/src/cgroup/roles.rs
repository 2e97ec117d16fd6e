//! What hierarchies are used for, whichever version they are.
//!
//! In: names of controllers, or limits. Out: [`Roles`]. Never: looks at a file.

use crate::Limits;

/// What a hierarchy is used for; each role is served by one hierarchy at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Roles {
    /// Memory limit, peak and kills.
    pub(crate) memory: bool,
    /// Number of processes.
    pub(crate) pids: bool,
    /// CPU limit and weight.
    pub(crate) cpu: bool,
    /// CPU time used: v1's cpuacct; in v2 every group has it.
    pub(crate) cpu_time: bool,
    /// CPUs and memory nodes.
    pub(crate) cpuset: bool,
    /// Block I/O: v1's blkio, v2's io.
    pub(crate) io: bool,
}

impl Roles {
    /// What these limits need beside what every slot has.
    pub(super) fn needed_for(limits: &Limits) -> Self {
        Self {
            cpu: limits.cpus.is_some() || limits.cpu_weight.is_some(),
            cpuset: limits.cpuset_cpus.is_some() || limits.cpuset_mems.is_some(),
            io: !limits.io.is_empty() || limits.io_weight.is_some(),
            ..Self::default()
        }
    }

    /// The controllers of v2 that groups need for these.
    pub(super) fn controllers(self) -> Vec<&'static str> {
        let wanted = [
            (self.memory, "memory"),
            (self.pids, "pids"),
            (self.cpu, "cpu"),
            (self.cpuset, "cpuset"),
            (self.io, "io"),
        ];
        wanted.iter().filter(|(used, _)| *used).map(|(_, name)| *name).collect()
    }

    /// What a v1 hierarchy has.
    pub(super) fn of_v1(has: impl Fn(&str) -> bool) -> Self {
        Self {
            memory: has("memory"),
            pids: has("pids"),
            cpu: has("cpu"),
            cpu_time: has("cpuacct"),
            cpuset: has("cpuset"),
            io: has("blkio"),
        }
    }

    /// What a v2 group has that may use these controllers.
    pub(super) fn of_v2(controllers: &str) -> Self {
        let has = |name| controllers.split_whitespace().any(|one| one == name);
        Self {
            memory: has("memory"),
            pids: has("pids"),
            cpu: has("cpu"),
            cpu_time: true,
            cpuset: has("cpuset"),
            io: has("io"),
        }
    }
}
