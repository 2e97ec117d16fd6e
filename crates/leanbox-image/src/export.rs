//! Export: an image's layers merged into a plain folder, with its configuration beside it.

use crate::files::at;
use crate::held::Held;
use crate::{Image, Store, layer, tree};
use leanbox::{Error, ErrorKind, ImageConfig, Result};
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// How to export.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExportOptions {
    /// Keep set-user-id and set-group-id bits, and file capabilities.
    pub keep_setid: bool,
}

/// Exports the image `name` to the folder `dir`, which must be empty or absent; its parent is
/// made, closed to other users, if it is missing.
///
/// # Errors
/// No such image, a folder that is not empty, a full disk; nothing half made is left.
pub fn export(store: &Store, name: &str, dir: &Path, options: ExportOptions) -> Result<()> {
    store.image(name)?;
    let dir = check_target(dir)?;
    // Before the store is held: they go after what grows in them has gone.
    let made = MadeFolders::up_to(dir.parent().unwrap_or(Path::new("/")))?;
    let held = store.hold()?;
    // It may have become another one, or none, while we waited.
    let image = store.image(name)?;
    place(&held, &image, &dir, options).map_err(|error| match error.kind() {
        ErrorKind::Exhausted => error.remedy(format!("free some space for {}", dir.display())),
        _ => error,
    })?;
    made.keep();
    Ok(())
}

/// Whether an image can be exported there: an empty or a new folder. Returns the absolute path.
///
/// # Errors
/// Something is there already.
pub fn check_target(dir: &Path) -> Result<PathBuf> {
    let full = std::path::absolute(dir).map_err(at(dir))?;
    let refuse = |why: &str| {
        let text = format!("export to {}: {why}", dir.display());
        Err(Error::invalid(text).remedy("name an empty or a new folder"))
    };
    if full.file_name().is_none() {
        return refuse("not a folder of its own");
    }
    match fs::symlink_metadata(&full) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(full),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            return refuse("its parent is not a folder");
        }
        Err(error) => return Err(Error::io(full.display(), &error).during("export")),
        Ok(meta) if !meta.is_dir() => return refuse("not a folder"),
        Ok(_) => {}
    }
    if fs::read_dir(&full).map_err(at(&full))?.next().is_some() {
        return refuse("not empty");
    }
    Ok(full)
}

/// Images beyond it take so long to be laid out that somebody waits for a word.
const LARGE_BYTES: u64 = 100_000_000;

/// The folder of an image's root in the store, exported at its first use; `tell` hears of that if it
/// takes long.
///
/// # Errors
/// No such image, or it cannot be exported.
pub fn rootfs(store: &Store, name: &str, tell: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    let dir = store.rootfs(&store.image(name)?);
    if dir.is_dir() {
        return Ok(dir);
    }
    let held = store.hold()?;
    let image = store.image(name)?;
    let dir = store.rootfs(&image);
    if !dir.is_dir() {
        if image.size > LARGE_BYTES {
            tell(&format!("laying out {name} for its first use, {} MB", image.size / 1_000_000));
        }
        place(&held, &image, &dir, ExportOptions::default())?;
    }
    Ok(dir)
}

/// Grows beside the target under another name, on record in the store. The configuration gets
/// its name first: a folder that is there is whole.
fn place(held: &Held<'_>, image: &Image, dir: &Path, options: ExportOptions) -> Result<()> {
    let parent = dir.parent().unwrap_or(Path::new("/"));
    let growing = held.temporary_outside(parent)?;
    merge(&held.lower(&image.layers), &growing, options)?;
    image.config.write_beside(&growing)?;
    crate::stop_if_interrupted()?;
    let config = ImageConfig::beside(dir);
    fs::rename(ImageConfig::beside(&growing), &config).map_err(at(&config))?;
    fs::rename(&growing, dir).map_err(|error| {
        let _ = fs::remove_file(&config);
        let remedy = "name a folder that is not a mount point";
        let busy = error.kind() == std::io::ErrorKind::ResourceBusy;
        let error = Error::io(dir.display(), &error).during("export to");
        if busy { error.remedy(remedy) } else { error }
    })
}

fn merge(lower: &[PathBuf], to: &Path, options: ExportOptions) -> Result<()> {
    let root = match lower {
        [] => return fs::create_dir(to).map_err(at(to)),
        [only] => crate::files::open_folder(only)?,
        several => layer::merged(several, None)?,
    };
    let from = PathBuf::from(format!("/proc/self/fd/{}", root.as_raw_fd()));
    tree::copy(&from, to, options.keep_setid)
}

/// Folders made for an export, removed again unless it succeeds.
struct MadeFolders(Vec<PathBuf>);

impl MadeFolders {
    fn up_to(folder: &Path) -> Result<Self> {
        let missing = folder.ancestors().take_while(|path| !path.exists());
        let made = Self(missing.map(Path::to_path_buf).collect());
        let done = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        done.map_err(|error| Error::io(folder.display(), &error).during("export to"))?;
        Ok(made)
    }

    fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for MadeFolders {
    fn drop(&mut self) {
        for folder in &self.0 {
            let _ = fs::remove_dir(folder);
        }
    }
}
