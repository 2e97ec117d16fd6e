//! The container's standard streams: what it gets, and what the host keeps.

use crate::{Error, Result};
use rustix::pipe::{PipeFlags, pipe_with};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Where a standard stream of a container leads.
#[derive(Debug)]
pub enum Stdio {
    /// The host process's own.
    Inherit,
    /// The container's `/dev/null`.
    Null,
    /// A pipe whose other end is in [`Container`](crate::Container).
    Piped,
    /// Output is kept for the [`Outcome`](crate::Outcome), up to so many bytes; the rest is
    /// thrown away. As an input it is empty.
    Captured {
        /// The most that is kept.
        max_bytes: usize,
    },
    /// An open descriptor. It is duplicated for each start.
    Fd(OwnedFd),
}

/// One start's streams.
#[derive(Debug)]
pub(crate) struct Streams {
    streams: [Stream; 3],
}

#[derive(Debug, Default)]
struct Stream {
    theirs: Theirs,
    ours: Option<Ours>,
}

#[derive(Debug, Default)]
enum Theirs {
    /// What the container has when nothing is sent: its terminal, else its `/dev/null`.
    #[default]
    Null,
    Inherited,
    Own(OwnedFd),
}

/// The host's end of a stream.
#[derive(Debug)]
pub(crate) enum Ours {
    Pipe(File),
    Capture(File, usize),
    /// To be read, counted and written to the other.
    Pass(File, File),
}

impl Streams {
    /// What is not asked for is the container's terminal, where it has one, in place of `Inherit`.
    /// `counted`: outputs are read by the host, whatever becomes of them.
    pub(crate) fn open(
        asked: &[Option<Stdio>; 3],
        default: impl Fn() -> Stdio,
        has_terminal: bool,
        counted: bool,
    ) -> Result<Self> {
        let open = match counted {
            true => Stream::open_counted,
            false => Stream::open,
        };
        let one = |index: usize| match (&asked[index], default()) {
            (Some(Stdio::Null), _) if has_terminal => Stream::null(),
            (Some(stdio), _) => open(stdio, index),
            (None, Stdio::Inherit) if has_terminal => Ok(Stream::default()),
            (None, default) => open(&default, index),
        };
        Ok(Self { streams: [one(0)?, one(1)?, one(2)?] })
    }

    /// Descriptors for the container, with their numbers there.
    pub(crate) fn theirs(&self) -> impl Iterator<Item = (i32, BorrowedFd<'_>)> {
        (0..).zip(&self.streams).filter_map(|(number, stream)| match &stream.theirs {
            Theirs::Null => None,
            Theirs::Inherited => Some((number, inherited(number))),
            Theirs::Own(fd) => Some((number, fd.as_fd())),
        })
    }

    /// The host's ends.
    pub(crate) fn take_ours(&mut self) -> [Option<Ours>; 3] {
        self.streams.each_mut().map(|stream| stream.ours.take())
    }
}

fn inherited(number: i32) -> BorrowedFd<'static> {
    match number {
        0 => rustix::stdio::stdin(),
        1 => rustix::stdio::stdout(),
        _ => rustix::stdio::stderr(),
    }
}

impl Stream {
    fn open(stdio: &Stdio, index: usize) -> Result<Self> {
        match stdio {
            Stdio::Inherit => {
                // A host without that stream gives none on.
                let open = rustix::io::fcntl_getfd(inherited(i32::try_from(index).unwrap_or(2)));
                let theirs = if open.is_ok() { Theirs::Inherited } else { Theirs::Null };
                Ok(Self { theirs, ours: None })
            }
            Stdio::Captured { max_bytes } if index > 0 => {
                Self::pipe(index, |file| Ours::Capture(file, *max_bytes))
            }
            Stdio::Null | Stdio::Captured { .. } => Ok(Self::default()),
            Stdio::Piped => Self::pipe(index, Ours::Pipe),
            Stdio::Fd(fd) => {
                let copy = fd.try_clone().map_err(|error: io::Error| Error::io("dup", &error))?;
                Ok(Self { theirs: Theirs::Own(copy), ours: None })
            }
        }
    }

    /// Where the container's own would be its terminal.
    fn null() -> Result<Self> {
        let null = File::options().read(true).write(true).open("/dev/null");
        let null = null.map_err(|error| Error::io("/dev/null", &error))?;
        Ok(Self { theirs: Theirs::Own(null.into()), ours: None })
    }

    fn open_counted(stdio: &Stdio, index: usize) -> Result<Self> {
        let passed = match stdio {
            _ if index == 0 => return Self::open(stdio, index),
            Stdio::Null | Stdio::Captured { .. } => return Self::open(stdio, index),
            Stdio::Piped => {
                return Err(Error::invalid("an output limit does not go with a piped stream")
                    .remedy("count what you read, or have it captured"));
            }
            Stdio::Fd(fd) => fd.as_fd(),
            Stdio::Inherit => inherited(i32::try_from(index).unwrap_or(2)),
        };
        match passed.try_clone_to_owned() {
            Ok(to) => {
                let mut stream = Self::pipe(index, |file| Ours::Capture(file, 0))?;
                if let Some(Ours::Capture(file, _)) = stream.ours.take() {
                    stream.ours = Some(Ours::Pass(file, File::from(to)));
                }
                Ok(stream)
            }
            // A host without that stream gives none on.
            Err(_) => Ok(Self::default()),
        }
    }

    fn pipe(index: usize, ours: impl Fn(File) -> Ours) -> Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)
            .map_err(|errno| Error::syscall("pipe2(O_CLOEXEC)", errno))?;
        let (theirs, mine) = if index == 0 { (read, write) } else { (write, read) };
        Ok(Self { theirs: Theirs::Own(theirs), ours: Some(ours(File::from(mine))) })
    }
}
