//! Output that is kept for whoever waits, read while it is waited.

use crate::outcome::Captured;
use crate::stdio::Ours;
use crate::told::Ending;
use crate::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How long a captured stream is still read after the end, should something outside the slot
/// hold it open.
const DRAIN: Duration = Duration::from_secs(1);
/// A captured stream.
#[derive(Debug)]
pub(crate) struct Capture {
    file: File,
    kept: Captured,
    max_bytes: usize,
    /// Its end has not been reached.
    pub(crate) open: bool,
}

/// The host's ends of the three streams, and what of the outputs is captured.
pub(crate) fn split(ours: [Option<Ours>; 3]) -> ([Option<File>; 3], [Option<Capture>; 2]) {
    let [stdin, stdout, stderr] = ours.map(|ours| match ours {
        Some(Ours::Pipe(file)) => (Some(file), None),
        Some(Ours::Capture(file, max_bytes)) => {
            (None, Some(Capture { file, kept: Captured::default(), max_bytes, open: true }))
        }
        None => (None, None),
    });
    ([stdin.0, stdout.0, stderr.0], [stdout.1, stderr.1])
}

impl Capture {
    /// Reads what is there; false at the end.
    pub(crate) fn read_some(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.file.read(&mut buffer) {
            Ok(0) => false,
            Err(error) => error.kind() == std::io::ErrorKind::Interrupted,
            Ok(length) => {
                let room = self.max_bytes.saturating_sub(self.kept.bytes.len()).min(length);
                self.kept.bytes.extend(&buffer[..room]);
                self.kept.truncated |= room < length;
                true
            }
        }
    }

    /// Everything that is left, for a bounded time.
    pub(crate) fn drain(mut self) -> Captured {
        let until = Instant::now() + DRAIN;
        while self.open {
            let left = until.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(&self.file, PollFlags::IN)];
            match poll(&mut fds, Some(&timespec(left))) {
                Err(Errno::INTR) => {}
                Ok(1) if self.read_some() => {}
                _ => self.open = false,
            }
        }
        self.kept
    }
}

pub(crate) fn timespec(duration: Duration) -> Timespec {
    Timespec::try_from(duration).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 })
}

pub(crate) fn wait_readable(
    ending: Ending<'_>,
    captures: &[Option<Capture>; 2],
    sleep: Duration,
) -> Result<[bool; 3]> {
    let mut fds = vec![ending.event()];
    let open = captures.iter().flatten().filter(|capture| capture.open);
    fds.extend(open.map(|capture| PollFd::from_borrowed_fd(capture.file.as_fd(), PollFlags::IN)));
    match poll(&mut fds, Some(&timespec(sleep))) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(Error::syscall("poll(container)", errno)),
    }
    let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
    let mut next = |open: bool| open && ready.next().unwrap_or(false);
    let is_open = |capture: &Option<Capture>| capture.as_ref().is_some_and(|c| c.open);
    Ok([next(true), next(is_open(&captures[0])), next(is_open(&captures[1]))])
}
