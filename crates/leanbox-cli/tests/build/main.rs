//! `leanbox build`, `export`, `images` and `rmi` on a real kernel. Most of it on the base
//! `leanbox/busybox`, which is made in a tenth of a second.
#![allow(clippy::unwrap_used, reason = "tests")]

mod cache;
mod config;
mod copy;
#[path = "../common/done.rs"]
mod done;
mod export;
mod full_disk;
mod interrupt;
mod killed;
mod place;
mod python;
mod refusals;
mod run_steps;
mod store;
