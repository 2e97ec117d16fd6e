//! The start barrier: a benchmark that is ready says so and begins when it is told to, so that
//! many of them, on many hosts, begin together.
//!
//! In: a line, any line, on standard input. Out: [`READY`]. Never: waits on after the end of its
//! input, or after an interrupt.

use leanbox::{Error, ErrorKind, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a benchmark says when it is ready. Whoever drives it over ssh looks for these bytes in a
/// program, before it runs, to know whether the program has a barrier.
pub const READY: &str = "leanbox-start-barrier-1: ready";

/// How often an interrupt is looked for while waiting.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Says that it is ready and waits for a line.
///
/// # Errors
/// The input ended, or an interrupt came, before the line did.
pub(crate) fn await_go(stop: &AtomicBool, line: &mut impl FnMut(&str)) -> Result<()> {
    line(READY);
    let stdin = std::io::stdin();
    while !stop.load(Ordering::Relaxed) {
        let mut ready = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut ready, Some(&LOOK)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return one_line(&mut stdin.lock()),
            Err(errno) => return Err(Error::syscall("poll(standard input)", errno)),
        }
    }
    Err(Error::new(ErrorKind::Gone, "interrupted before the start"))
}

fn one_line(input: &mut impl Read) -> Result<()> {
    let mut byte = [0];
    while input.read(&mut byte).is_ok_and(|count| count == 1) {
        if byte[0] == b'\n' {
            return Ok(());
        }
    }
    Err(Error::new(ErrorKind::Gone, "standard input ended before a line told it to begin"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_begins_it_and_the_end_of_the_input_does_not() {
        assert!(one_line(&mut &b"go\n"[..]).is_ok());
        assert!(one_line(&mut &b"go"[..]).is_err());
        assert!(one_line(&mut &b""[..]).is_err());
    }
}
