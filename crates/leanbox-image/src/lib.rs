//! From an app folder to a root file system: Dockerfile → layers and configuration in a store →
//! a plain folder.
//!
//! In: an app folder, or the name of an image. Out: an image in the [`Store`] (an OCI image
//! layout, with each layer unpacked beside it), and exports. RUN steps run in leanbox's own
//! containers. Nothing half made is left behind: everything grows in a temporary folder and is
//! renamed when whole; what a killed process left is removed by the next one.
#![forbid(unsafe_code)]

mod app;
mod base;
mod build;
mod copy;
mod dockerfile;
mod expand;
mod export;
mod files;
mod held;
mod ignored;
mod layer;
mod run_step;
mod store;
mod tree;

pub use build::{BuildOptions, build};
pub use dockerfile::default_dockerfile;
pub use export::{ExportOptions, check_target, export, rootfs};
pub use store::{Image, Store};

use leanbox::{Error, ErrorKind, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

/// Set by a signal handler: a build or an export ends at its next look, which it takes at every
/// step, file and piece of a large file, and several times a second while it waits.
pub static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// The look.
pub(crate) fn stop_if_interrupted() -> Result<()> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        return Err(Error::new(ErrorKind::Gone, "interrupted; nothing half made is left"));
    }
    Ok(())
}
