//! The store held for a change, by one process at a time. What grows does so in its temporary
//! folder, or is on record there, and goes with the holder; what a killed one left goes with the
//! next. Everything is written before anything gets its name.

use crate::files::{at, make_private};
use crate::store::{Image, Store};
use crate::{files, layer};
use leanbox::{Error, ImageConfig, Result};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// How folders outside the store are called that grow there.
const OUTSIDE: &str = ".leanbox-export-";
const MEDIA: &str = "application/vnd.oci.image";

/// The store held for a change.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    pub(crate) store: &'a Store,
    _lock: OwnedFd,
}

/// A layer's archive.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Blob {
    pub(crate) digest: String,
    pub(crate) size: u64,
}

fn lock(store: &Store) -> Result<Option<OwnedFd>> {
    let lock = files::open_folder(&store.folder)?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(lock)),
        Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(None),
        Err(errno) => Err(Error::syscall(format!("flock({})", store.folder.display()), errno)),
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        clear(&self.store.folder.join("tmp"));
    }
}

impl<'a> Held<'a> {
    /// `None`: somebody else holds it.
    pub(crate) fn take(store: &'a Store) -> Result<Option<Self>> {
        let Some(lock) = lock(store)? else { return Ok(None) };
        clear(&store.folder.join("tmp"));
        Ok(Some(Self { store, _lock: lock }))
    }

    /// Whether nobody holds it just now.
    pub(crate) fn is_free(store: &Store) -> Result<bool> {
        lock(store).map(|lock| lock.is_some())
    }

    /// A temporary folder; gone with the holder.
    pub(crate) fn temporary(&self, name: &str) -> Result<PathBuf> {
        let path = self.store.folder.join("tmp").join(name);
        let _ = fs::remove_dir_all(&path);
        make_private(&path)?;
        Ok(path)
    }

    /// The path of a temporary folder in `parent`, for whom to make it; it and its configuration
    /// are gone with the holder.
    pub(crate) fn temporary_outside(&self, parent: &Path) -> Result<PathBuf> {
        let path = parent.join(format!("{OUTSIDE}{}", std::process::id()));
        let record = self.store.folder.join("tmp/export");
        symlink(&path, &record).map_err(at(&record))?;
        Ok(path)
    }

    /// Whether a layer is there already.
    pub(crate) fn has_layer(&self, key: &str) -> bool {
        self.store.folder.join("layers").join(key).join("blob.json").exists()
    }

    /// The unpacked folders of layers, topmost first.
    pub(crate) fn lower(&self, layers: &[String]) -> Vec<PathBuf> {
        layers.iter().rev().map(|key| self.store.layer(key)).collect()
    }

    /// Takes a whole layer in: `made/diff` with its archive.
    pub(crate) fn put_layer(&self, key: &str, made: &Path) -> Result<()> {
        let archive = made.join("layer.tar");
        let blob = layer::pack(&made.join("diff"), &archive)?;
        write_json(&made.join("blob.json"), &blob)?;
        let _ = fs::remove_dir_all(made.join("work"));
        let target = self.store.blob(&blob.digest);
        fs::rename(&archive, &target).map_err(at(&target))?;
        let folder = self.store.folder.join("layers").join(key);
        let _ = fs::remove_dir_all(&folder);
        fs::rename(made, &folder).map_err(at(&folder))
    }

    /// Writes an image's configuration and manifest and gives it its name.
    pub(crate) fn put_image(
        &self,
        name: &str,
        layers: Vec<String>,
        config: ImageConfig,
    ) -> Result<Image> {
        let blobs = layers.iter().map(|key| self.blob_of(key)).collect::<Result<Vec<_>>>()?;
        let diff_ids: Vec<String> = blobs.iter().map(|b| format!("sha256:{}", b.digest)).collect();
        let config_blob = self.put_blob(&json!({
            "architecture": architecture(), "os": "linux", "config": config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }))?;
        let layer_list: Vec<Value> =
            blobs.iter().map(|blob| descriptor(blob, "layer.v1.tar")).collect();
        let manifest = self.put_blob(&json!({
            "schemaVersion": 2, "mediaType": format!("{MEDIA}.manifest.v1+json"),
            "config": descriptor(&config_blob, "config.v1+json"), "layers": layer_list,
        }))?;
        let size = blobs.iter().map(|blob| blob.size).sum();
        let image = Image { name: name.into(), layers, config, manifest: manifest.digest, size };
        let made = self.temporary("image")?;
        write_json(&made.join("image.json"), &image)?;
        let mut images = self.store.images()?;
        images.retain(|other| other.name != name);
        images.push(image.clone());
        self.write_index(&made, &images)?;
        let record = self.store.record(name);
        fs::rename(made.join("image.json"), &record).map_err(at(&record))?;
        self.name_index(&made)?;
        Ok(image)
    }

    /// Takes an image's name away, and what only it had. What needs space comes last: the disk
    /// may be full, and be the reason.
    pub(crate) fn remove_image(&self, name: &str) -> Result<()> {
        let path = self.store.record(name);
        fs::remove_file(&path).map_err(at(&path))?;
        self.collect()?;
        // The new index is smaller than the old one, whose room it may need.
        let _ = fs::remove_file(self.store.folder.join("index.json"));
        let made = self.temporary("index")?;
        self.write_index(&made, &self.store.images()?)?;
        self.name_index(&made)
    }

    fn blob_of(&self, key: &str) -> Result<Blob> {
        let path = self.store.folder.join("layers").join(key).join("blob.json");
        let text = fs::read(&path).map_err(at(&path))?;
        serde_json::from_slice(&text)
            .map_err(|error| Error::invalid(format!("{}: {error}", path.display())))
    }

    fn put_blob(&self, value: &Value) -> Result<Blob> {
        use sha2::Digest;
        let text = value.to_string();
        let mut hash = sha2::Sha256::new();
        hash.update(&text);
        let blob = Blob { digest: files::hex(hash), size: text.len() as u64 };
        let made = self.temporary("blob")?.join("blob");
        fs::write(&made, text).map_err(at(&made))?;
        let path = self.store.blob(&blob.digest);
        fs::rename(&made, &path).map_err(at(&path))?;
        Ok(blob)
    }

    fn write_index(&self, made: &Path, images: &[Image]) -> Result<()> {
        let entry = |image: &Image| {
            let size = fs::metadata(self.store.blob(&image.manifest)).map_or(0, |meta| meta.len());
            let blob = Blob { digest: image.manifest.clone(), size };
            let mut entry = descriptor(&blob, "manifest.v1+json");
            entry["annotations"] = json!({"org.opencontainers.image.ref.name": image.name});
            entry
        };
        let manifests: Vec<Value> = images.iter().map(entry).collect();
        let index = json!({"schemaVersion": 2, "manifests": manifests});
        write_json(&made.join("index.json"), &index)
    }

    fn name_index(&self, made: &Path) -> Result<()> {
        let index = self.store.folder.join("index.json");
        fs::rename(made.join("index.json"), &index).map_err(at(&index))
    }

    /// Removes layers, roots and blobs that no image has; the built-in bases are images too.
    pub(crate) fn collect(&self) -> Result<()> {
        let images = self.store.images()?;
        let layers: BTreeSet<&String> = images.iter().flat_map(|image| &image.layers).collect();
        self.keep_only("layers", |name| layers.contains(&name.to_string()))?;
        self.keep_only("rootfs", |name| {
            images.iter().any(|image| name.starts_with(&image.manifest))
        })?;
        let mut blobs: BTreeSet<String> = images.iter().map(|i| i.manifest.clone()).collect();
        for image in &images {
            let path = self.store.blob(&image.manifest);
            let text = fs::read(&path).map_err(at(&path))?;
            let manifest: Value = serde_json::from_slice(&text).unwrap_or_default();
            let listed = manifest["layers"].as_array().cloned().unwrap_or_default();
            let digest = |entry: &Value| {
                Some(entry["digest"].as_str()?.strip_prefix("sha256:")?.to_string())
            };
            blobs.extend(listed.iter().chain([&manifest["config"]]).filter_map(digest));
        }
        self.keep_only("blobs/sha256", |name| blobs.contains(name))
    }

    /// Whoever is killed meanwhile leaves no half a layer: each loses its name first.
    fn keep_only(&self, folder: &str, keep: impl Fn(&str) -> bool) -> Result<()> {
        let folder = self.store.folder.join(folder);
        for entry in fs::read_dir(&folder).map_err(at(&folder))?.flatten() {
            if keep(&entry.file_name().to_string_lossy()) {
                continue;
            }
            let gone = self.store.folder.join("tmp/removed");
            fs::rename(entry.path(), &gone).map_err(at(&entry.path()))?;
            remove(&gone).map_err(at(&gone))?;
        }
        Ok(())
    }
}

/// Empties the temporary folder, and what it has on record outside.
fn clear(tmp: &Path) {
    for entry in fs::read_dir(tmp).into_iter().flatten().flatten() {
        if let Ok(outside) = fs::read_link(entry.path()) {
            let name = outside.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(OUTSIDE) {
                let _ = remove(&outside);
                let _ = fs::remove_file(ImageConfig::beside(&outside));
            }
        }
        let _ = remove(&entry.path());
    }
}

/// A folder with all in it, or a file.
fn remove(path: &Path) -> std::io::Result<()> {
    match fs::symlink_metadata(path)?.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    }
}

fn descriptor(blob: &Blob, kind: &str) -> Value {
    let digest = format!("sha256:{}", blob.digest);
    json!({"mediaType": format!("{MEDIA}.{kind}"), "digest": digest, "size": blob.size})
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec(value)
        .map_err(|error| Error::invalid(format!("{}: {error}", path.display())))?;
    fs::write(path, text).map_err(at(path))
}

/// The machine's name as OCI has it.
fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}
