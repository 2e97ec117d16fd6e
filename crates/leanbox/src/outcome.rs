//! How a container ended and what it used: read by the host from the kernel. Only before Linux
//! 6.15 its exit status is the launcher's word.

use crate::Explanation;
use std::time::Duration;

/// How the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// exit(3) with this code.
    Exited(i32),
    /// Killed by this signal (signal(7)).
    Signaled(i32),
}

/// Why it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The program came to its end by itself.
    Exited,
    /// A signal that neither the host nor the kernel's want of memory sent.
    Signal,
    /// The kernel killed the program because the container's own memory limit was hit.
    OomKilled,
    /// [`Command::timeout`](crate::Command::timeout).
    WallTimeout,
    /// [`Command::cpu_time`](crate::Command::cpu_time).
    CpuTimeout,
    /// [`Command::output_max`](crate::Command::output_max).
    OutputLimit,
    /// [`Container::kill`](crate::Container::kill) or [`stop`](crate::Container::stop).
    Killed,
    /// Its keeper, the process that the host has for its slots, was killed or ended for want of
    /// something: all its containers end with it.
    HostGone,
}

impl Cause {
    /// Its name in records: `exited`, `signal`, `oom_killed`, `wall_timeout`, `cpu_timeout`,
    /// `output_limit`, `killed`, `host_gone`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Exited => "exited",
            Self::Signal => "signal",
            Self::OomKilled => "oom_killed",
            Self::WallTimeout => "wall_timeout",
            Self::CpuTimeout => "cpu_timeout",
            Self::OutputLimit => "output_limit",
            Self::Killed => "killed",
            Self::HostGone => "host_gone",
        }
    }

    /// Whether its time was up, wall or CPU.
    #[must_use]
    pub fn is_timeout(self) -> bool {
        matches!(self, Self::WallTimeout | Self::CpuTimeout)
    }

    /// From a host that ended it for `asked`, or did not.
    pub(crate) fn of(end: End, asked: Option<Self>, oom_killed: bool) -> Self {
        match (end, asked) {
            (_, Some(asked)) => asked,
            (End::Exited(_), None) => Self::Exited,
            (End::Signaled(9), None) if oom_killed => Self::OomKilled,
            (End::Signaled(_), None) => Self::Signal,
        }
    }
}

/// What a captured stream brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captured {
    /// At most as many bytes as were asked for.
    pub bytes: Vec<u8>,
    /// There was more, which was thrown away.
    pub truncated: bool,
}

/// How a container ended and what it used.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// How the program ended.
    pub end: End,
    /// Why.
    pub cause: Cause,
    /// It was ended because its time was up, wall or CPU.
    pub timed_out: bool,
    /// One of its processes was killed because its own memory limit was hit.
    pub oom_killed: bool,
    /// Whether there was a resource group to count what it used; without one, CPU time and memory
    /// are 0.
    pub accounted: bool,
    /// CPU time of all its processes.
    pub cpu: Duration,
    /// Highest memory use of its group, in bytes, with page cache and kernel memory; 0 on cgroup v2
    /// before Linux 5.19, which does not tell.
    pub memory_peak_bytes: u64,
    /// From the call of `spawn` until the start was handed to the slot.
    pub start: Duration,
    /// From taking the slot until the container's first instruction, where
    /// [`Command::stamp`](crate::Command::stamp) asked for it: the container's own word.
    pub first_instruction: Option<Duration>,
    /// From the call of `spawn` until the end was known.
    pub wall: Duration,
    /// Standard output, where captured.
    pub stdout: Captured,
    /// Standard error, where captured.
    pub stderr: Captured,
    /// What was refused to it, where [`Command::explain`](crate::Command::explain) asked for that.
    pub explanation: Option<Explanation>,
}

impl Outcome {
    /// Whether the program exited with 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.end == End::Exited(0)
    }

    /// The exit code a shell would show: the code, or 128 and the signal.
    #[must_use]
    pub fn shell_code(&self) -> i32 {
        self.end.shell_code()
    }
}

impl End {
    pub(crate) fn shell_code(self) -> i32 {
        match self {
            Self::Exited(code) => code,
            Self::Signaled(signal) => 128 + signal,
        }
    }

    /// Out of a raw wait status (wait(2)); it may be forged, so every value gives an end.
    pub(crate) fn from_status(status: i32) -> Self {
        match status & 0x7f {
            0 => Self::Exited(status >> 8 & 0xff),
            signal => Self::Signaled(signal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_statuses_become_ends() {
        assert_eq!(End::from_status(0), End::Exited(0));
        assert_eq!(End::from_status(3 << 8), End::Exited(3));
        assert_eq!(End::from_status(9), End::Signaled(9));
        assert_eq!(End::from_status(-1), End::Signaled(127));
    }
}
