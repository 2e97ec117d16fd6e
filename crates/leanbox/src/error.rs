//! One opaque error for the whole library: what was attempted on what, why it failed, what
//! to do about it, in one line. Programs match on [`Error::kind`], never on the text.

use rustix::io::Errno;
use std::fmt;

/// The library's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller asked for something that makes no sense.
    InvalidInput,
    /// A file, program, user or image that is not there.
    NotFound,
    /// The program is there but cannot be executed.
    NotExecutable,
    /// The caller lacks a right.
    PermissionDenied,
    /// This kernel or machine cannot do it.
    Unsupported,
    /// Descriptors, memory, disk, processes or ids ran out.
    Exhausted,
    /// Somebody else holds it just now.
    Busy,
    /// A slot or its keeper is gone.
    Gone,
    /// A system call failed in another way.
    System,
}

/// Why something did not work: one line without a final stop.
#[derive(Debug, Clone)]
pub struct Error {
    kind: ErrorKind,
    errno: Option<Errno>,
    text: String,
}

impl Error {
    /// An error of `kind` with a line of its own.
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind, errno: None, text: text.into() }
    }

    /// A request that makes no sense.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, text)
    }

    /// A failed system call, printed as strace would: `mount("proc", "/proc"): EPERM`.
    /// Where descriptors ran out it says what to do about that.
    pub fn syscall(call: impl fmt::Display, errno: Errno) -> Self {
        let text = format!("{call}: {}", errno_name(errno));
        let error = Self { kind: kind_of(errno), errno: Some(errno), text };
        match errno {
            Errno::MFILE => error.remedy("raise the limit of open files (ulimit -n)"),
            _ => error,
        }
    }

    /// A failed operation of the standard library on `what`.
    #[must_use]
    pub fn io(what: impl fmt::Display, error: &std::io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(errno) => Self::syscall(what, errno),
            None => Self::new(ErrorKind::System, format!("{what}: {error}")),
        }
    }

    /// The same error with what was attempted before it: `what: …`.
    #[must_use]
    pub fn during(mut self, what: impl fmt::Display) -> Self {
        self.text = format!("{what}: {}", self.text);
        self
    }

    /// The same error with a remedy after it: `…; remedy`.
    #[must_use]
    pub fn remedy(mut self, remedy: impl fmt::Display) -> Self {
        self.text = format!("{}; {remedy}", self.text);
        self
    }

    /// The same error, told apart as another kind.
    #[must_use]
    pub fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// What sort of failure it was.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The kernel's error number (errno(3)), where a system call failed.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        self.errno.map(Errno::raw_os_error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

fn kind_of(errno: Errno) -> ErrorKind {
    match errno {
        Errno::NOENT | Errno::NOTDIR => ErrorKind::NotFound,
        Errno::PERM | Errno::ACCESS => ErrorKind::PermissionDenied,
        Errno::NOSYS | Errno::OPNOTSUPP => ErrorKind::Unsupported,
        Errno::NOMEM | Errno::MFILE | Errno::NFILE | Errno::NOSPC | Errno::AGAIN | Errno::DQUOT => {
            ErrorKind::Exhausted
        }
        Errno::BUSY => ErrorKind::Busy,
        _ => ErrorKind::System,
    }
}

/// The error number that another process told: whoever took a launcher over may send any, and
/// rustix panics at what is none. EPROTO stands for those.
pub(crate) fn told_errno(number: i32) -> Errno {
    Errno::from_io_error(&std::io::Error::from_raw_os_error(number)).unwrap_or(Errno::PROTO)
}

/// The name of an error number as errno(3) spells it, with the kernel's words where the name
/// alone is rare.
#[must_use]
pub(crate) fn errno_name(errno: Errno) -> String {
    const NAMES: &[(Errno, &str)] = &[
        (Errno::PERM, "EPERM"),
        (Errno::NOENT, "ENOENT"),
        (Errno::SRCH, "ESRCH"),
        (Errno::INTR, "EINTR"),
        (Errno::IO, "EIO"),
        (Errno::NXIO, "ENXIO"),
        (Errno::TOOBIG, "E2BIG"),
        (Errno::NOEXEC, "ENOEXEC"),
        (Errno::BADF, "EBADF"),
        (Errno::CHILD, "ECHILD"),
        (Errno::AGAIN, "EAGAIN"),
        (Errno::NOMEM, "ENOMEM"),
        (Errno::ACCESS, "EACCES"),
        (Errno::FAULT, "EFAULT"),
        (Errno::BUSY, "EBUSY"),
        (Errno::EXIST, "EEXIST"),
        (Errno::XDEV, "EXDEV"),
        (Errno::NODEV, "ENODEV"),
        (Errno::NOTDIR, "ENOTDIR"),
        (Errno::ISDIR, "EISDIR"),
        (Errno::INVAL, "EINVAL"),
        (Errno::NFILE, "ENFILE"),
        (Errno::MFILE, "EMFILE"),
        (Errno::TXTBSY, "ETXTBSY"),
        (Errno::FBIG, "EFBIG"),
        (Errno::NOSPC, "ENOSPC"),
        (Errno::ROFS, "EROFS"),
        (Errno::MLINK, "EMLINK"),
        (Errno::PIPE, "EPIPE"),
        (Errno::RANGE, "ERANGE"),
        (Errno::NAMETOOLONG, "ENAMETOOLONG"),
        (Errno::NOSYS, "ENOSYS"),
        (Errno::NOTEMPTY, "ENOTEMPTY"),
        (Errno::LOOP, "ELOOP"),
        (Errno::OVERFLOW, "EOVERFLOW"),
        (Errno::OPNOTSUPP, "EOPNOTSUPP"),
        (Errno::CONNRESET, "ECONNRESET"),
        (Errno::CONNREFUSED, "ECONNREFUSED"),
        (Errno::TIMEDOUT, "ETIMEDOUT"),
        (Errno::DQUOT, "EDQUOT"),
        (Errno::STALE, "ESTALE"),
    ];
    NAMES
        .iter()
        .find(|(known, _)| *known == errno)
        .map_or_else(|| errno.to_string(), |(_, name)| (*name).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_no_error_is_told_as_one() {
        for number in [0, -1, 4096, 1 << 16, i32::MIN, i32::MAX] {
            assert_eq!(told_errno(number), Errno::PROTO);
            let error = Error::io("x", &std::io::Error::from_raw_os_error(number));
            assert_eq!(error.kind(), ErrorKind::System, "{error}");
        }
        assert_eq!(told_errno(13), Errno::ACCESS);
    }

    #[test]
    fn a_system_call_error_reads_like_strace() {
        let error = Error::syscall("mount(\"proc\", \"/proc\")", Errno::PERM);
        assert_eq!(error.to_string(), "mount(\"proc\", \"/proc\"): EPERM");
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert_eq!(error.errno(), Some(1));
    }
}
