//! A terminal of the container's own, shown in this one: what is typed goes in, what is printed
//! comes out, byte by byte; neither is read here.
//!
//! In: a running container's master, this command's own streams. Out: the container's end. The
//! user's terminal is as it was again when this ends, whichever way.

use crate::signals::Signals;
use leanbox::{Command, Container, Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::stdio::{stdin, stdout};
use rustix::termios::{
    OptionalActions, Termios, Winsize, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize,
};
use signal_hook::consts::signal::SIGWINCH;
use std::fs::File;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long what was printed last is waited for.
const DRAIN: Duration = Duration::from_secs(1);
/// When to look again at a terminal that nobody inside has open.
const LOOK: Duration = Duration::from_millis(50);
/// At most so much is on its way in each direction. A write of it to a pipe that can be written to
/// never blocks (pipe(7), `PIPE_BUF`).
const BUFFER_BYTES: usize = 4096;

/// Options of `leanbox run` and `exec` about a terminal.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Terminal")]
pub(crate) struct Options {
    /// Give it a terminal of its own, shown in this one
    #[arg(long, short)]
    pub(crate) tty: bool,
    /// Keep its standard input open: what is typed goes to its terminal. Without -t it is always this
    /// command's
    #[arg(long, short)]
    interactive: bool,
}

impl Options {
    /// # Errors
    /// There is nothing to type with.
    pub(crate) fn check(&self) -> Result<()> {
        if self.tty && self.interactive && !isatty(stdin()) {
            return Err(Error::invalid("the input device is not a TTY: -it without a terminal")
                .remedy("leave -t out"));
        }
        Ok(())
    }

    /// Has the program begin with the window's size.
    pub(crate) fn prepare(&self, command: &mut Command) {
        if let Some((rows, columns)) = window().filter(|_| self.tty) {
            command.terminal_size(rows, columns);
        }
    }

    /// Shows the container's terminal, where it has one.
    pub(crate) fn show(&self, container: &Container) -> Result<Option<Screen>> {
        let Some(master) = &container.terminal else { return Ok(None) };
        let master = master.try_clone().map_err(|error| Error::io("terminal", &error))?;
        self.show_master(master).map(Some)
    }

    /// Shows a terminal by its master.
    pub(crate) fn show_master(&self, master: File) -> Result<Screen> {
        let wrap = |errno| Error::io("terminal", &std::io::Error::from(errno));
        let flags = fcntl_getfl(&master).map_err(wrap)?;
        fcntl_setfl(&master, flags | OFlags::NONBLOCK).map_err(wrap)?;
        let raw = if self.interactive { Some(Raw::enter().map_err(wrap)?) } else { None };
        let hears = self.interactive;
        Ok(Screen { master, raw, hears, typed: Vec::new(), printed: Vec::new(), look: None })
    }
}

/// A terminal of this command's own (pty(7)), of the window's size: its master, and its slave.
pub(crate) fn pair() -> Result<(File, OwnedFd)> {
    let wrap = |errno: Errno| Error::io("terminal", &errno.into());
    let open = || {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let slave = ioctl_tiocgptpeer(
            &master,
            OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
        )?;
        Ok((File::from(master), slave))
    };
    let (master, slave) = open().map_err(wrap)?;
    take_size(&master);
    Ok((master, slave))
}

/// Gives a terminal the window's size, where this command is in one.
pub(crate) fn take_size(master: &File) {
    if let Some((ws_row, ws_col)) = window() {
        let _ = tcsetwinsize(master, Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 });
    }
}

/// Rows and columns of the window that this command is in.
pub(crate) fn window() -> Option<(u16, u16)> {
    let size = tcgetwinsize(stdin()).or_else(|_| tcgetwinsize(stdout())).ok()?;
    Some((size.ws_row, size.ws_col))
}

/// The user's terminal, handing on every key.
#[derive(Debug)]
struct Raw {
    before: Termios,
}

impl Raw {
    fn enter() -> Result<Self, Errno> {
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}

/// Hands a signal on to a container; a new size to its terminal.
pub(crate) fn hand_on(container: &Container, signal: i32) -> Result<ControlFlow<()>> {
    if signal != SIGWINCH {
        // the program may have ended meanwhile, which the next look tells
        let _ = container.signal(signal);
    } else if let Some((rows, columns)) = window() {
        container.resize_terminal(rows, columns)?;
    }
    Ok(ControlFlow::Continue(()))
}

/// The two ends of a terminal, and what is on its way between them.
#[derive(Debug)]
pub(crate) struct Screen {
    master: File,
    raw: Option<Raw>,
    /// What is typed is read.
    hears: bool,
    typed: Vec<u8>,
    printed: Vec<u8>,
    /// Nobody inside has the terminal open; to be looked at again then.
    look: Option<Instant>,
}

impl Screen {
    /// Shows it until `end` is readable, the time is up, or `take`, which gets the signals that come,
    /// says that it is enough.
    pub(crate) fn until_end(
        &mut self,
        end: BorrowedFd<'_>,
        signals: &mut Signals,
        deadline: Option<Instant>,
        mut take: impl FnMut(i32) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        loop {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(());
            }
            let (ended, signalled) = self.turn(Some((end, signals.event())), deadline)?;
            if ended {
                return Ok(());
            }
            if signalled {
                for signal in signals.come() {
                    if take(signal)?.is_break() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Shows what was printed last, for a bounded time, and gives the user's terminal back.
    pub(crate) fn finish(mut self) -> Result<()> {
        let until = Instant::now() + DRAIN;
        self.hears = false;
        self.typed.clear();
        self.look = None;
        while Instant::now() < until && (self.look.is_none() || !self.printed.is_empty()) {
            self.turn(None, Some(until))?;
        }
        self.raw = None;
        Ok(())
    }

    /// Waits until something can be done, and does it: whether the container has ended, and whether
    /// signals came.
    fn turn(
        &mut self,
        others: Option<(BorrowedFd<'_>, BorrowedFd<'_>)>,
        until: Option<Instant>,
    ) -> Result<(bool, bool)> {
        let now = Instant::now();
        self.look = self.look.filter(|look| others.is_none() || *look > now);
        let next = [until, self.look].into_iter().flatten().min();
        let timeout =
            next.and_then(|next| Timespec::try_from(next.saturating_duration_since(now)).ok());
        let wanted = |wanted: bool, flags| if wanted { flags } else { PollFlags::empty() };
        let hangs = self.look.is_some();
        let screen = wanted(self.printed.is_empty() && !hangs, PollFlags::IN)
            | wanted(!self.typed.is_empty() && !hangs, PollFlags::OUT);
        let keys = wanted(self.hears && self.typed.is_empty(), PollFlags::IN);
        let paper = wanted(!self.printed.is_empty(), PollFlags::OUT);
        // Who is asked nothing would still tell of an end, again and again.
        let (stdin, stdout) = (stdin(), stdout());
        let asked = [(self.master.as_fd(), screen), (stdin, keys), (stdout, paper)];
        let mut fds: Vec<PollFd<'_>> = others
            .iter()
            .flat_map(|(end, signals)| [(*end, PollFlags::IN), (*signals, PollFlags::IN)])
            .chain(asked.into_iter().filter(|(_, flags)| !flags.is_empty()))
            .map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags))
            .collect();
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::io("poll(terminal)", &errno.into())),
        }
        let mut came = fds.iter().map(|fd| fd.revents());
        let mut next =
            |asked: bool| if asked { came.next() } else { None }.unwrap_or(PollFlags::empty());
        let [ended, signalled] =
            [next(others.is_some()), next(others.is_some())].map(|at| !at.is_empty());
        let [screen, keys, paper] = [screen, keys, paper].map(|flags| next(!flags.is_empty()));
        drop(fds);
        if !keys.is_empty() {
            self.hears = fill(&mut self.typed, stdin) != Filled::Ended;
        }
        if !paper.is_empty() {
            empty(&mut self.printed, stdout);
        }
        if !screen.is_empty() {
            if !self.typed.is_empty() {
                empty(&mut self.typed, self.master.as_fd());
            }
            if self.printed.is_empty()
                && fill(&mut self.printed, self.master.as_fd()) == Filled::Ended
            {
                self.look = Some(now + LOOK);
            }
        }
        Ok((ended, signalled))
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Filled {
    Some,
    Nothing,
    Ended,
}

fn fill(buffer: &mut Vec<u8>, from: BorrowedFd<'_>) -> Filled {
    let mut bytes = [0; BUFFER_BYTES];
    match rustix::io::read(from, &mut bytes) {
        Ok(0) => Filled::Ended,
        Ok(length) => {
            buffer.extend(&bytes[..length]);
            Filled::Some
        }
        Err(Errno::AGAIN | Errno::INTR) => Filled::Nothing,
        Err(_) => Filled::Ended,
    }
}

/// Writes what can be written. What nobody takes any more is thrown away.
fn empty(buffer: &mut Vec<u8>, to: BorrowedFd<'_>) {
    match rustix::io::write(to, buffer) {
        Ok(length) => drop(buffer.drain(..length)),
        Err(Errno::AGAIN | Errno::INTR) => {}
        Err(_) => buffer.clear(),
    }
}
