//! Streams that the host reads: to keep what comes, or to pass it on where it is limited.

use crate::outcome::Captured;
use crate::stdio::Ours;
use crate::told::Ending;
use crate::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::fs::File;
use std::io::ErrorKind::{Interrupted, WouldBlock};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How long a captured stream is still read after the end, should something outside the slot
/// hold it open.
const DRAIN: Duration = Duration::from_secs(1);

/// Standard output and standard error.
#[derive(Debug)]
pub(crate) struct Captures {
    both: [Option<Capture>; 2],
    /// What may still come, where that is limited.
    left_bytes: Option<u64>,
    too_much: bool,
}

#[derive(Debug)]
struct Capture {
    file: File,
    kept: Captured,
    max_bytes: usize,
    /// What comes is passed on instead of kept.
    pass: Option<File>,
    /// Its end has not been reached.
    open: bool,
}

impl Captures {
    /// What is read here, and the pipes that are the caller's.
    pub(crate) fn of(
        ours: [Option<Ours>; 3],
        output_max: Option<u64>,
    ) -> (Self, [Option<File>; 3]) {
        let [stdin, stdout, stderr] = ours.map(|ours| match ours {
            Some(Ours::Pipe(file)) => (Some(file), None),
            Some(Ours::Capture(file, max_bytes)) => {
                (None, Some(Capture::new(file, max_bytes, None)))
            }
            Some(Ours::Pass(file, to)) => (None, Some(Capture::new(file, 0, Some(to)))),
            None => (None, None),
        });
        let both = [stdout.1, stderr.1];
        (Self { both, left_bytes: output_max, too_much: false }, [stdin.0, stdout.0, stderr.0])
    }

    pub(crate) fn are_none(&self) -> bool {
        self.both.iter().all(Option::is_none)
    }

    /// More came than may.
    pub(crate) fn are_too_much(&self) -> bool {
        self.too_much
    }

    /// Reads what there is of those that are ready.
    pub(crate) fn read(&mut self, ready: [bool; 2]) -> Result<()> {
        for (capture, ready) in self.both.iter_mut().zip(ready) {
            if let Some(capture) = capture.as_mut().filter(|_| ready) {
                capture.open = capture.read_some(&mut self.left_bytes, &mut self.too_much)?;
            }
        }
        Ok(())
    }

    /// Everything that is left, for a bounded time.
    pub(crate) fn drain(&mut self) -> Result<[Captured; 2]> {
        let Self { both, left_bytes, too_much } = self;
        let [stdout, stderr] = both.each_mut().map(|capture| match capture.take() {
            Some(capture) => capture.drain(left_bytes, too_much),
            None => Ok(Captured::default()),
        });
        Ok([stdout?, stderr?])
    }
}

impl Capture {
    fn new(file: File, max_bytes: usize, pass: Option<File>) -> Self {
        Self { file, kept: Captured::default(), max_bytes, pass, open: true }
    }

    /// Reads what is there; false at the end.
    fn read_some(&mut self, left_bytes: &mut Option<u64>, too_much: &mut bool) -> Result<bool> {
        let mut buffer = [0; 16 * 1024];
        let length = match self.file.read(&mut buffer) {
            Ok(0) => return Ok(false),
            Err(error) if [Interrupted, WouldBlock].contains(&error.kind()) => return Ok(true),
            Err(error) => return Err(Error::io("read(captured output)", &error)),
            Ok(length) => length,
        };
        let most = left_bytes.map_or(length, |left| usize::try_from(left).unwrap_or(length));
        let taken = most.min(length);
        *too_much |= taken < length;
        if let Some(left) = left_bytes {
            *left -= taken as u64;
        }
        match &mut self.pass {
            Some(to) => return Ok(taken == 0 || to.write_all(&buffer[..taken]).is_ok()),
            None => {
                let room = self.max_bytes.saturating_sub(self.kept.bytes.len()).min(taken);
                self.kept.bytes.extend(&buffer[..room]);
                self.kept.truncated |= room < length;
            }
        }
        Ok(true)
    }

    fn drain(mut self, left_bytes: &mut Option<u64>, too_much: &mut bool) -> Result<Captured> {
        let until = Instant::now() + DRAIN;
        while self.open {
            let left = until.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(&self.file, PollFlags::IN)];
            match poll(&mut fds, Some(&timespec(left))) {
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::syscall("poll(captured output)", errno)),
                Ok(0) => self.open = false,
                Ok(_) => self.open = self.read_some(left_bytes, too_much)?,
            }
        }
        Ok(self.kept)
    }
}

pub(crate) fn timespec(duration: Duration) -> Timespec {
    Timespec::try_from(duration).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 })
}

/// Sleeps until the end or a stream has something to say.
pub(crate) fn wait_readable(
    ending: Ending<'_>,
    captures: &Captures,
    sleep: Duration,
) -> Result<[bool; 3]> {
    let captures = &captures.both;
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
