//! `leanbox bench cluster` and `sync` on three hosts with real sshds.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;
mod failures;
mod files;
mod lab;
mod passwords;
mod runs;
mod sync;
