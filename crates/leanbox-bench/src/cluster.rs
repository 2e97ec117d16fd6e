//! `bench cluster`: the same benchmark on many hosts at once, through the system's `ssh`.
//!
//! In: a file (`file` → `plan`), secrets, how to call ssh. Out: the hosts' lines as they come, then
//! a [`Report`] with what was started in the seconds that all had in common. Everything is prepared
//! first and begins with one word to all. Never: puts a password into a process list or an
//! environment, waits at a prompt, trusts a host's clock.

mod askpass;
mod child;
mod copy;
mod file;
mod lines;
mod plan;
mod progress;
mod reasons;
mod report;
mod run;
mod script;
mod session;
mod ssh;
mod sync;
mod table;
mod total;

pub use askpass::{ASKPASS, answer};
pub use copy::copy;
pub use file::read;
pub use plan::{Copy, Plan, Secrets, Target, Task};
pub use report::{HostRow, Report};
pub use run::run;
pub use ssh::Ssh;
pub use sync::{Synced, is_static, sync};
