//! Signals sent to this command while a container runs, to be handed on to its program.
//!
//! In: what others send to this process. Out: a descriptor to poll and the numbers. A pipe and
//! not a blocked mask or a thread: a mask would be inherited, a thread costs. Never: takes a
//! signal that whoever started us had ignored (`nohup`, a shell's background jobs).

use leanbox::{Error, Result};
use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// What people, service managers and terminals send. SIGKILL and SIGSTOP cannot be had.
const FORWARDED: [i32; 7] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH];

/// Signals are taken for as long as this lives.
#[derive(Debug)]
pub(crate) struct Signals {
    delivery: SignalDelivery<UnixStream, SignalOnly>,
}

impl Signals {
    /// Takes the signals from now on.
    ///
    /// # Errors
    /// No descriptors are left.
    pub(crate) fn take() -> Result<Self> {
        let wrap = |error: std::io::Error| Error::io("signal handlers", &error);
        let (read, write) = UnixStream::pair().map_err(wrap)?;
        let ignored = ignored();
        let wanted = FORWARDED.iter().filter(|signal| ignored & bit(**signal) == 0);
        let delivery = SignalDelivery::with_pipe(read, write, SignalOnly, wanted).map_err(wrap)?;
        Ok(Self { delivery })
    }

    /// Readable when a signal has come.
    pub(crate) fn event(&self) -> BorrowedFd<'_> {
        self.delivery.get_read().as_fd()
    }

    /// Those that have come since the last call.
    pub(crate) fn come(&mut self) -> impl Iterator<Item = i32> {
        self.delivery.pending()
    }
}

fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// Whether whoever started us had this signal ignored.
pub(crate) fn is_ignored(signal: i32) -> bool {
    ignored() & bit(signal) != 0
}

/// The signals this process ignores: field 33 of `/proc/self/stat` (proc(5)).
fn ignored() -> u64 {
    std::fs::read_to_string("/proc/self/stat").ok().and_then(|stat| ignored_in(&stat)).unwrap_or(0)
}

fn ignored_in(stat: &str) -> Option<u64> {
    // the second field is the program's name in brackets, with any bytes in it
    let (_, from_third) = stat.rsplit_once(')')?;
    from_third.split_whitespace().nth(33 - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ignored_signals_are_read_behind_a_strange_name() {
        let stat = format!("7 (a) b) S {} 65536 12 0", vec!["0"; 29].join(" "));
        assert_eq!(ignored_in(&stat), Some(65536));
    }
}
