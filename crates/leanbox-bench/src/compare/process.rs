//! One process from its spawn to its end, timed, and ended with us where a signal comes.
//!
//! Each is in a process group of its own: a terminal's Ctrl-C goes to us alone, and we say
//! when it ends.

use super::stage::heed;
use leanbox::{Error, ErrorKind, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Between two looks whether a signal has come.
const LOOK: Duration = Duration::from_millis(100);
/// What takes longer is taken to hang: youki 0.7.0 does now and then, when its container ends
/// before it looks.
const START_MAX: Duration = Duration::from_secs(20);
/// How long a tool may take to end its container when asked, and then when killed.
const ENDINGS: [(Signal, Duration); 2] =
    [(Signal::TERM, Duration::from_secs(2)), (Signal::KILL, Duration::from_secs(10))];

/// A process that is ended with this value.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pidfd: OwnedFd,
    ended: bool,
}

impl Process {
    /// Starts it.
    ///
    /// # Errors
    /// The program cannot be executed.
    pub(crate) fn spawn(command: &mut Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child =
            command.process_group(0).spawn().map_err(|error| Error::io(name, &error))?;
        match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Self { child, pidfd, ended: false }),
            Err(errno) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(Error::syscall("pidfd_open", errno))
            }
        }
    }

    /// Waits for its end, as long as a start may take.
    ///
    /// # Errors
    /// A signal has come, or it did not end.
    pub(crate) fn wait(&mut self, interrupted: &AtomicBool) -> Result<ExitStatus> {
        let late = || format!("it did not end within {} seconds", START_MAX.as_secs());
        let status = self.wait_within(START_MAX, interrupted)?;
        status.ok_or_else(|| Error::new(ErrorKind::Busy, late()))
    }

    /// Waits for its end, but not for longer.
    ///
    /// # Errors
    /// A signal has come.
    pub(crate) fn wait_within(
        &mut self,
        patience: Duration,
        interrupted: &AtomicBool,
    ) -> Result<Option<ExitStatus>> {
        let until = Instant::now() + patience;
        while !self.ends_within(LOOK)? {
            heed(interrupted)?;
            if Instant::now() > until {
                return Ok(None);
            }
        }
        self.status().map(Some)
    }

    fn status(&mut self) -> Result<ExitStatus> {
        let status = self.child.wait().map_err(|error| Error::io("wait", &error))?;
        self.ended = true;
        Ok(status)
    }

    fn ends_within(&self, time: Duration) -> Result<bool> {
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        match poll(&mut fds, Timespec::try_from(time).ok().as_ref()) {
            Ok(count) => Ok(count > 0),
            Err(Errno::INTR) => Ok(false),
            Err(errno) => Err(Error::syscall("poll(pidfd)", errno)),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        for (signal, patience) in ENDINGS {
            // Not waited for yet, so the number is still its own.
            let _ = kill_process_group(Pid::from_child(&self.child), signal);
            let until = Instant::now() + patience;
            while Instant::now() < until {
                if matches!(self.ends_within(LOOK), Ok(true)) {
                    let _ = self.child.wait();
                    return;
                }
            }
        }
    }
}

/// Runs a command to its end, its streams in the file `said`; how long that took.
///
/// # Errors
/// It cannot be executed, or a signal has come.
pub(crate) fn run(
    command: &mut Command,
    said: &Path,
    interrupted: &AtomicBool,
) -> Result<(Duration, ExitStatus)> {
    // Files and no pipes of ours: crun gives its streams to the container's root.
    let file = fs::File::create(said).map_err(|error| Error::io(said.display(), &error))?;
    let copy = file.try_clone().map_err(|error| Error::io("dup", &error))?;
    command.stdout(Stdio::from(copy)).stderr(file);
    let begin = Instant::now();
    let status = Process::spawn(command)?.wait(interrupted)?;
    Ok((begin.elapsed(), status))
}

/// The same for what must succeed.
///
/// # Errors
/// It did not: what it said last.
pub(crate) fn succeed(
    command: &mut Command,
    said: &Path,
    interrupted: &AtomicBool,
) -> Result<Duration> {
    let name = command.get_program().to_string_lossy().into_owned();
    let (taken, status) = run(command, said, interrupted).map_err(|error| match error.kind() {
        ErrorKind::Busy => error.during(&name),
        _ => error,
    })?;
    if status.success() {
        return Ok(taken);
    }
    let text = fs::read(said).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    Err(Error::new(ErrorKind::System, format!("{name}: {status}: {}", last.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn a_process_that_ignores_sigterm_is_ended_all_the_same() {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' TERM; exec sleep 60"]);
        let mut process = Process::spawn(&mut command).unwrap();
        let interrupted = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(200));
                interrupted.store(true, Ordering::Relaxed);
            });
            assert!(process.wait(&interrupted).is_err());
        });
        let pid = Pid::from_child(&process.child);
        drop(process);
        assert_eq!(rustix::process::test_kill_process(pid), Err(Errno::SRCH));
    }

    #[test]
    fn what_failed_says_its_last_line() {
        let said = std::env::temp_dir().join(format!("leanbox-said-{}", std::process::id()));
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; exit 3"]);
        let error = succeed(&mut command, &said, &AtomicBool::new(false)).unwrap_err();
        let _ = fs::remove_file(said);
        assert_eq!(error.to_string(), "sh: exit status: 3: two");
    }
}
