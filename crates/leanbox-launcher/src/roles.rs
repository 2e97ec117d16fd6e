//! The static program's roles by the name in its first argument: `leanbox-keeper`, whose clones
//! become the launchers of its slots, and `leanbox-floor`.

use core::ffi::{CStr, c_char};

/// Begins a role; an unknown one ends with 2.
pub(crate) fn begin(arguments: &[*const c_char]) -> ! {
    // SAFETY: the arguments are NUL-terminated texts that live as long as the process.
    let argument =
        |index: usize| arguments.get(index).map_or(c"", |text| unsafe { CStr::from_ptr(*text) });
    match argument(0).to_bytes() {
        b"leanbox-keeper" => crate::keeper::main(),
        b"leanbox-floor" => crate::floor::main(),
        _ => leanbox_sys::process::exit(2),
    }
}
