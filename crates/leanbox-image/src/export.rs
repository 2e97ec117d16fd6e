//! Export: an image's layers merged into a plain folder, with its configuration beside it.

use crate::files::{at, walk};
use crate::{Store, layer};
use leanbox::{Error, ErrorKind, Result};
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// How to export.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExportOptions {
    /// Keep set-user-id and set-group-id bits.
    pub keep_setid: bool,
}

/// Exports the image `name` to the folder `dir`, which must be empty or absent; its parent is
/// made, closed to other users, if it is missing.
///
/// # Errors
/// No such image, a folder that is not empty, a full disk; nothing half made is left.
pub fn export(store: &Store, name: &str, dir: &Path, options: ExportOptions) -> Result<()> {
    let image = store.image(name)?;
    let dir = absolute(dir)?;
    if fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Error::invalid(format!("{}: not empty", dir.display()))
            .remedy("name an empty or a new folder"));
    }
    if fs::symlink_metadata(&dir).is_ok_and(|meta| !meta.is_dir()) {
        return Err(Error::invalid(format!("{}: not a folder", dir.display())));
    }
    let held = store.hold()?;
    let lower: Vec<PathBuf> = image.layers.iter().rev().map(|key| store.layer(key)).collect();
    let parent = dir.parent().unwrap_or(Path::new("/")).to_path_buf();
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&parent).map_err(at(&parent))?;
    let growing = Growing(parent.join(format!(".leanbox-export-{}", std::process::id())));
    merge(&lower, &growing.0)?;
    clean(&growing.0, options)?;
    let _ = fs::remove_dir(&dir);
    fs::rename(&growing.0, &dir).map_err(at(&dir))?;
    drop(held);
    image.config.write_beside(&dir)
}

/// The folder of an image's root in the store, exported at its first use.
///
/// # Errors
/// No such image, or it cannot be exported.
pub fn rootfs(store: &Store, name: &str) -> Result<PathBuf> {
    let dir = store.rootfs(&store.image(name)?);
    if !leanbox::ImageConfig::beside(&dir).exists() {
        let _ = fs::remove_dir_all(&dir);
        export(store, name, &dir, ExportOptions::default())?;
    }
    Ok(dir)
}

/// A folder that is removed unless it was renamed in time.
struct Growing(PathBuf);

impl Drop for Growing {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn absolute(dir: &Path) -> Result<PathBuf> {
    let full = std::path::absolute(dir).map_err(at(dir))?;
    if full.file_name().is_none() {
        return Err(Error::invalid(format!("{}: not a folder to export to", dir.display())));
    }
    Ok(full)
}

/// cp(1) from the merged view: it knows holes, hard links and attributes.
fn merge(lower: &[PathBuf], to: &Path) -> Result<()> {
    let root = match lower {
        [] => return fs::create_dir(to).map_err(at(to)),
        [only] => crate::files::open_folder(only)?,
        several => layer::merged(several, None)?,
    };
    let from = format!("/proc/{}/fd/{}/.", std::process::id(), root.as_raw_fd());
    let output = Command::new("cp")
        .args(["-a", "--no-target-directory", "--", &from])
        .arg(to)
        .output()
        .map_err(|error| Error::io("cp", &error))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().last().unwrap_or("no message");
    Err(Error::new(ErrorKind::Exhausted, format!("export to {}: {last}", to.display())))
}

/// No devices, and no set-id bits unless asked for.
fn clean(root: &Path, options: ExportOptions) -> Result<()> {
    for path in walk(root)? {
        let meta = fs::symlink_metadata(&path).map_err(at(&path))?;
        let kind = meta.file_type();
        if kind.is_char_device() || kind.is_block_device() {
            fs::remove_file(&path).map_err(at(&path))?;
        } else if meta.is_file() && meta.mode() & 0o6000 != 0 && !options.keep_setid {
            let plain = fs::Permissions::from_mode(meta.mode() & 0o1777);
            fs::set_permissions(&path, plain).map_err(at(&path))?;
        }
    }
    Ok(())
}
