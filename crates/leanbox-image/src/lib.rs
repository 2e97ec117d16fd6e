//! From an app folder to a root file system: Dockerfile → layers and configuration in a store →
//! a plain folder.
//!
//! In: an app folder, or the name of an image. Out: an image in the [`Store`] (an OCI image
//! layout, with each layer unpacked beside it), and exports. RUN steps run in leanbox's own
//! containers. Nothing half made is left behind: everything grows in a temporary folder and is
//! renamed when whole.
#![forbid(unsafe_code)]

mod base;
mod build;
mod copy;
mod dockerfile;
mod expand;
mod export;
mod files;
mod layer;
mod run_step;
mod store;

pub use build::{BuildOptions, build};
pub use dockerfile::default_dockerfile;
pub use export::{ExportOptions, export, rootfs};
pub use store::{Image, Store};

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock};

/// Set by a signal handler: a build ends at the next step.
pub static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);
