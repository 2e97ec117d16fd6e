//! How a container ended and what it used: read by the host from the kernel. Only before Linux
//! 6.15 its exit status is the launcher's word.

use std::time::Duration;

/// How the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// exit(3) with this code.
    Exited(i32),
    /// Killed by this signal (signal(7)).
    Signaled(i32),
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
    /// It was killed because its time was up.
    pub timed_out: bool,
    /// One of its processes was killed because its own memory limit was hit.
    pub oom_killed: bool,
    /// CPU time of all its processes.
    pub cpu: Duration,
    /// Highest memory use of its group, in bytes, with page cache and kernel memory.
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
