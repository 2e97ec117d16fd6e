//! What a process keeps itself from: landlock(7).

use crate::errno::{call, int};
use crate::{Result, fd};

/// Call numbers, the same on both machines.
const CREATE_RULESET: usize = 444;
const RESTRICT_SELF: usize = 446;

/// struct landlock_ruleset_attr.
#[repr(C)]
struct RulesetAttr {
    handled_access_fs: u64,
    handled_access_net: u64,
    scoped: u64,
}

/// Which version of it the kernel has.
pub fn version() -> Result<u32> {
    const VERSION: usize = 1;
    // SAFETY: asked for the version the kernel reads no attributes.
    unsafe { call(CREATE_RULESET, [0, 0, VERSION]) }.map(|version| version as u32)
}

/// From now on this process and its descendants connect and send to no abstract socket but those
/// that they make themselves (`LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET`, version 6, Linux 6.12). It
/// takes `no_new_privs`.
pub fn scope_abstract_sockets() -> Result<()> {
    const ABSTRACT_UNIX_SOCKET: u64 = 1;
    let attr =
        RulesetAttr { handled_access_fs: 0, handled_access_net: 0, scoped: ABSTRACT_UNIX_SOCKET };
    let args = [&raw const attr as usize, size_of::<RulesetAttr>(), 0];
    // SAFETY: the structure is as long as it says.
    let ruleset = unsafe { call(CREATE_RULESET, args) }? as crate::Fd;
    // SAFETY: numbers only.
    let done = unsafe { call(RESTRICT_SELF, [int(ruleset), 0]) };
    fd::close(ruleset);
    done.map(drop)
}
