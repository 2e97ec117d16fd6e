//! The image store: an OCI image layout (`oci-layout`, `index.json`, `blobs/sha256`), with each
//! layer unpacked beside it under `layers/KEY/diff`, where KEY is also the build cache's key.
//! Closed to other users. Whoever changes it holds it (`held`).

use crate::base;
use crate::files::{at, make_private};
use crate::held::Held;
use leanbox::{Error, ErrorKind, ImageConfig, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often whoever waits for the store looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Bytes of an image name, as registries have it.
const NAME_MAX_BYTES: usize = 128;
/// What may be in a folder that becomes a store: a store another process has just begun, and
/// what ext4 puts into the top of a file system.
const EMPTY_ENOUGH: [&str; 2] = ["oci-layout", "lost+found"];

/// An image of the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// Its name.
    pub name: String,
    /// Keys of its layers, lowest first.
    pub layers: Vec<String>,
    /// How to run it.
    pub config: ImageConfig,
    /// Digest of its OCI manifest.
    pub manifest: String,
    /// Bytes of its layers as tar archives.
    pub size: u64,
}

/// The store.
#[derive(Debug)]
pub struct Store {
    pub(crate) folder: PathBuf,
}

impl Store {
    /// The default one: `LEANBOX_STORE`, else `/var/lib/leanbox` for root, else below
    /// `XDG_DATA_HOME`.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open_default() -> Result<Self> {
        Self::open(&default_folder()?)
    }

    /// Removes what killed builds and exports left in and beside the default store, if there is
    /// one and nobody is at work in it. Returns how many things that were.
    ///
    /// # Errors
    /// It is there, but not to be opened.
    pub fn reclaim_default() -> Result<usize> {
        let folder = default_folder()?;
        if !folder.exists() {
            return Ok(0);
        }
        let before = left_in(&folder);
        Held::take(&Self::open(&folder)?)?;
        Ok(before.saturating_sub(left_in(&folder)))
    }

    /// How many things [`reclaim_default`](Self::reclaim_default) would remove now.
    ///
    /// # Errors
    /// As there.
    pub fn left_in_default() -> Result<usize> {
        let folder = default_folder()?;
        if !folder.exists() {
            return Ok(0);
        }
        let is_idle = Held::is_free(&Self::open(&folder)?)?;
        Ok(if is_idle { left_in(&folder) } else { 0 })
    }

    /// The store in `folder`, made if missing, and closed to other users: its layers hold
    /// set-id programs of other systems.
    ///
    /// # Errors
    /// The folder cannot be made, is somebody else's or has other things in it.
    pub fn open(folder: &Path) -> Result<Self> {
        let folder = std::path::absolute(folder).map_err(at(folder))?;
        open_closed(&folder).map_err(|error| {
            error.during("image store").remedy("LEANBOX_STORE names another folder")
        })?;
        Ok(Self { folder })
    }

    /// All images by name.
    ///
    /// # Errors
    /// A record cannot be read.
    pub fn images(&self) -> Result<Vec<Image>> {
        let folder = self.folder.join("images");
        let mut images = Vec::new();
        for entry in fs::read_dir(&folder).map_err(at(&folder))? {
            let path = entry.map_err(at(&folder))?.path();
            let text = fs::read(&path).map_err(at(&path))?;
            images.push(serde_json::from_slice(&text).map_err(|error| spoilt(&path, &error))?);
        }
        images.sort_by(|a: &Image, b: &Image| a.name.cmp(&b.name));
        Ok(images)
    }

    /// The image of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn image(&self, name: &str) -> Result<Image> {
        check_name(name)?;
        let path = self.record(name);
        let text = fs::read(&path).map_err(|_| {
            let text = format!("no image {name:?} in the store");
            Error::new(ErrorKind::NotFound, text).remedy("leanbox images lists them")
        })?;
        serde_json::from_slice(&text).map_err(|error| spoilt(&path, &error))
    }

    /// Removes an image, and the layers that no other image has.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn remove(&self, name: &str) -> Result<()> {
        self.image(name)?;
        self.hold()?.remove_image(name)
    }

    /// Holds the store for a change; waits for whoever does.
    pub(crate) fn hold(&self) -> Result<Held<'_>> {
        loop {
            if let Some(held) = Held::take(self)? {
                return Ok(held);
            }
            // For as long as a build takes, which has no bound; an interrupt ends it.
            crate::stop_if_interrupted()?;
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// A layer's unpacked folder.
    pub(crate) fn layer(&self, key: &str) -> PathBuf {
        self.folder.join("layers").join(key).join("diff")
    }

    /// Where an image's root lies when it is run by name.
    pub(crate) fn rootfs(&self, image: &Image) -> PathBuf {
        self.folder.join("rootfs").join(&image.manifest)
    }

    pub(crate) fn record(&self, name: &str) -> PathBuf {
        self.folder.join("images").join(format!("{}.json", name.replace('/', "+")))
    }

    pub(crate) fn blob(&self, digest: &str) -> PathBuf {
        self.folder.join("blobs/sha256").join(digest)
    }
}

fn spoilt(path: &Path, error: &serde_json::Error) -> Error {
    Error::invalid(format!("image record {}: {error}", path.display()))
        .remedy("remove the file and build the image again")
}

fn open_closed(folder: &Path) -> Result<()> {
    make_private(folder)?;
    let meta = fs::metadata(folder).map_err(at(folder))?;
    if meta.uid() != rustix::process::geteuid().as_raw() {
        let text = format!("{} belongs to user {}", folder.display(), meta.uid());
        return Err(Error::new(ErrorKind::PermissionDenied, text));
    }
    let layout = folder.join("oci-layout");
    if !layout.exists() {
        refuse_foreign(folder)?;
        fs::write(&layout, "{\"imageLayoutVersion\":\"1.0.0\"}").map_err(at(&layout))?;
    }
    if meta.mode() & 0o077 != 0 {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(at(folder))?;
    }
    for name in ["blobs/sha256", "layers", "images", "rootfs", "tmp"] {
        let path = folder.join(name);
        fs::create_dir_all(&path).map_err(at(&path))?;
    }
    Ok(())
}

/// A folder with other things in it would lose its visitors.
fn refuse_foreign(folder: &Path) -> Result<()> {
    let mut entries = fs::read_dir(folder).map_err(at(folder))?.flatten();
    if entries.all(|entry| EMPTY_ENOUGH.iter().any(|name| entry.file_name() == *name)) {
        return Ok(());
    }
    Err(Error::invalid(format!("{} is not empty and no image store", folder.display())))
}

fn left_in(folder: &Path) -> usize {
    fs::read_dir(folder.join("tmp")).map_or(0, Iterator::count)
}

/// `LEANBOX_STORE`, else `/var/lib/leanbox` for root, else below `XDG_DATA_HOME`.
fn default_folder() -> Result<PathBuf> {
    let named = std::env::var_os("LEANBOX_STORE").map(PathBuf::from);
    let own = || {
        let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
        let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
        data.or(home).map(|folder| folder.join("leanbox"))
    };
    let root = || Some(PathBuf::from("/var/lib/leanbox"));
    let folder = named.or_else(|| if leanbox::is_machine_root() { root() } else { own() });
    folder.ok_or_else(|| Error::invalid("no HOME to keep images in; set LEANBOX_STORE"))
}

/// Names as registries have them; slashes only in the built-in ones.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let refuse = |why: &str| Err(Error::invalid(format!("image name {name:?}: {why}")));
    if base::is_base(name) {
        return Ok(());
    }
    if name.len() > NAME_MAX_BYTES {
        let begin: String = name.chars().take(20).collect();
        let length = name.len();
        let text = format!("image name {begin:?}…: {length} bytes, at most {NAME_MAX_BYTES}");
        return Err(Error::invalid(text));
    }
    if name.contains('/') {
        return refuse("no slashes; an image is named by one plain word");
    }
    let good = name.chars().all(|c| plain(c) || "._-".contains(c))
        && name.starts_with(plain)
        && !name.contains("..");
    if good {
        return Ok(());
    }
    refuse("lower-case letters, digits, '.', '_' and '-', beginning with a letter or digit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_store_are_refused() {
        for bad in ["", "../x", "a/b", "A", "-a", "a..b", "a b"] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        for good in ["hello", "a.b-c_1", "leanbox/python:3"] {
            assert!(check_name(good).is_ok(), "{good:?}");
        }
    }
}
