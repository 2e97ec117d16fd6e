//! System calls by number, for what no library would ever be asked to do.

use leanbox_sys::Errno;
use std::ffi::{CString, c_long};
use std::os::fd::AsRawFd;

pub(crate) use linux_raw_sys::general as nr;

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

/// What came of a call: its result, or the errno.
pub(crate) type Tried = Result<usize, Errno>;

/// One call. Arguments that are addresses must be valid where the call gets as far as using
/// them; the attacks pass what lives, or addresses that no process has.
pub(crate) fn call<const N: usize>(number: u32, args: [usize; N]) -> Tried {
    let arg = |index: usize| args.get(index).copied().unwrap_or(0);
    // SAFETY: syscall(2) passes six words on; see above for addresses.
    let result =
        unsafe { syscall(c_long::from(number), arg(0), arg(1), arg(2), arg(3), arg(4), arg(5)) };
    usize::try_from(result).map_err(|_| last())
}

/// The errno of the last call.
pub(crate) fn last() -> Errno {
    Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

/// A text for calls that want its address.
pub(crate) fn text(text: &str) -> CString {
    CString::new(text).unwrap()
}

/// The address of a value, for a call.
pub(crate) fn at<T: ?Sized>(value: &T) -> usize {
    std::ptr::from_ref(value).cast::<u8>().addr()
}

/// A negative number as a word.
pub(crate) const fn minus(number: usize) -> usize {
    number.wrapping_neg()
}

/// A descriptor as a word.
pub(crate) fn word(fd: &impl AsRawFd) -> usize {
    usize::try_from(fd.as_raw_fd()).unwrap()
}

/// An address that no process may use.
pub(crate) const NOWHERE: usize = 8;
/// The current directory, for `*at` calls.
pub(crate) const HERE: usize = minus(100);
/// A name that nothing has.
pub(crate) const NOTHING: &str = "/leanbox-there-is-no-such-file";
