//! The image store: an OCI image layout (`oci-layout`, `index.json`, `blobs/sha256`), with each
//! layer unpacked beside it under `layers/KEY/diff`, where KEY is also the build cache's key.
//! Closed to other users. One lock is held by whoever changes it.

use crate::files::{at, make_private};
use crate::layer;
use leanbox::{Error, ErrorKind, ImageConfig, Result};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

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

/// A layer's archive.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Blob {
    pub(crate) digest: String,
    pub(crate) size: u64,
}

/// The store.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
}

/// The store held for a change; temporary folders of whoever died are gone.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    pub(crate) store: &'a Store,
    _lock: OwnedFd,
}

impl Store {
    /// The default one: `LEANBOX_STORE`, else `/var/lib/leanbox` for root, else below
    /// `XDG_DATA_HOME`.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open_default() -> Result<Self> {
        let named = std::env::var_os("LEANBOX_STORE").map(PathBuf::from);
        let own = || {
            let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
            let home =
                std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
            data.or(home).map(|folder| folder.join("leanbox"))
        };
        let root = || Some(PathBuf::from("/var/lib/leanbox"));
        let folder =
            named.or_else(|| if rustix::process::geteuid().is_root() { root() } else { own() });
        let folder =
            folder.ok_or_else(|| Error::invalid("no HOME to keep images in; set LEANBOX_STORE"))?;
        Self::open(&folder)
    }

    /// The store in `folder`, made if missing.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(folder: &Path) -> Result<Self> {
        make_private(folder)?;
        for name in ["blobs/sha256", "layers", "images", "tmp"] {
            let path = folder.join(name);
            fs::create_dir_all(&path).map_err(at(&path))?;
        }
        let layout = folder.join("oci-layout");
        if !layout.exists() {
            fs::write(&layout, "{\"imageLayoutVersion\":\"1.0.0\"}").map_err(at(&layout))?;
        }
        Ok(Self { folder: folder.to_path_buf() })
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
            let image = serde_json::from_slice(&text)
                .map_err(|error| Error::invalid(format!("{}: {error}", path.display())))?;
            images.push(image);
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
            Error::new(ErrorKind::NotFound, format!("no image {name:?} in the store"))
                .remedy("leanbox images lists them")
        })?;
        serde_json::from_slice(&text)
            .map_err(|error| Error::invalid(format!("{}: {error}", path.display())))
    }

    /// Removes an image, and the layers that no other image has.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn remove(&self, name: &str) -> Result<()> {
        self.image(name)?;
        let held = self.hold()?;
        let path = self.record(name);
        fs::remove_file(&path).map_err(at(&path))?;
        held.write_index()?;
        held.collect()
    }

    /// Holds the store for a change; waits for whoever does.
    pub(crate) fn hold(&self) -> Result<Held<'_>> {
        let lock = crate::files::open_folder(&self.folder)?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive)
            .map_err(|errno| Error::syscall(format!("flock({})", self.folder.display()), errno))?;
        let tmp = self.folder.join("tmp");
        for left in fs::read_dir(&tmp).map_err(at(&tmp))?.flatten() {
            let _ = fs::remove_dir_all(left.path());
        }
        Ok(Held { store: self, _lock: lock })
    }

    /// A layer's unpacked folder.
    pub(crate) fn layer(&self, key: &str) -> PathBuf {
        self.folder.join("layers").join(key).join("diff")
    }

    /// Where an image's root lies when it is run by name.
    pub(crate) fn rootfs(&self, image: &Image) -> PathBuf {
        self.folder.join("rootfs").join(&image.manifest)
    }

    fn record(&self, name: &str) -> PathBuf {
        self.folder.join("images").join(format!("{}.json", name.replace('/', "+")))
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.folder.join("blobs/sha256").join(digest)
    }
}

/// Names as registries have them; slashes only in the built-in ones.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let good = name.chars().all(|c| plain(c) || "._-".contains(c))
        && name.starts_with(plain)
        && !name.contains("..")
        && name.len() <= 128;
    if good || crate::base::is_base(name) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "image name {name:?}: lower-case letters, digits, '.', '_' and '-', beginning with a letter or digit"
    )))
}

impl Held<'_> {
    /// A temporary folder; gone with the next holder at the latest.
    pub(crate) fn temporary(&self, name: &str) -> Result<PathBuf> {
        let path = self.store.folder.join("tmp").join(name);
        let _ = fs::remove_dir_all(&path);
        make_private(&path)?;
        Ok(path)
    }

    /// Whether a layer is there already.
    pub(crate) fn has_layer(&self, key: &str) -> bool {
        self.store.folder.join("layers").join(key).join("blob.json").exists()
    }

    /// Takes a whole layer in: `made/diff` with its archive.
    pub(crate) fn put_layer(&self, key: &str, made: &Path) -> Result<()> {
        let archive = made.join("layer.tar");
        let blob = layer::pack(&made.join("diff"), &archive)?;
        let target = self.store.blob(&blob.digest);
        fs::rename(&archive, &target).map_err(at(&target))?;
        let record = made.join("blob.json");
        write_json(&record, &blob)?;
        let folder = self.store.folder.join("layers").join(key);
        let _ = fs::remove_dir_all(&folder);
        let _ = fs::remove_dir_all(made.join("work"));
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
        let full = json!({
            "architecture": architecture(), "os": "linux", "config": config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config_blob = self.put_blob(&full)?;
        let kind = "application/vnd.oci.image";
        let descriptor = |blob: &Blob, kind: String| json!({"mediaType": kind, "digest": format!("sha256:{}", blob.digest), "size": blob.size});
        let layer_list: Vec<Value> =
            blobs.iter().map(|blob| descriptor(blob, format!("{kind}.layer.v1.tar"))).collect();
        let manifest = self.put_blob(&json!({
            "schemaVersion": 2, "mediaType": format!("{kind}.manifest.v1+json"),
            "config": descriptor(&config_blob, format!("{kind}.config.v1+json")), "layers": layer_list,
        }))?;
        let size = blobs.iter().map(|blob| blob.size).sum();
        let image = Image { name: name.into(), layers, config, manifest: manifest.digest, size };
        let made = self.temporary("image")?.join("image.json");
        write_json(&made, &image)?;
        let record = self.store.record(name);
        fs::rename(&made, &record).map_err(at(&record))?;
        self.write_index()?;
        Ok(image)
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
        let blob = Blob { digest: crate::files::hex(hash), size: text.len() as u64 };
        let path = self.store.blob(&blob.digest);
        fs::write(&path, text).map_err(at(&path))?;
        Ok(blob)
    }

    fn write_index(&self) -> Result<()> {
        let entry = |image: Image| {
            let size = fs::metadata(self.store.blob(&image.manifest)).map_or(0, |meta| meta.len());
            json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": format!("sha256:{}", image.manifest), "size": size,
                "annotations": {"org.opencontainers.image.ref.name": image.name},
            })
        };
        let manifests: Vec<Value> = self.store.images()?.into_iter().map(entry).collect();
        let made = self.temporary("index")?.join("index.json");
        write_json(&made, &json!({"schemaVersion": 2, "manifests": manifests}))?;
        let index = self.store.folder.join("index.json");
        fs::rename(&made, &index).map_err(at(&index))
    }

    /// Removes layers and blobs that no image has; the built-in bases are images too.
    fn collect(&self) -> Result<()> {
        let images = self.store.images()?;
        let keep: BTreeSet<&String> = images.iter().flat_map(|image| &image.layers).collect();
        let layers = self.store.folder.join("layers");
        for entry in fs::read_dir(&layers).map_err(at(&layers))?.flatten() {
            if !keep.contains(&entry.file_name().to_string_lossy().into_owned()) {
                fs::remove_dir_all(entry.path()).map_err(at(&entry.path()))?;
            }
        }
        let mut wanted: BTreeSet<String> = images.iter().map(|i| i.manifest.clone()).collect();
        for image in &images {
            let path = self.store.blob(&image.manifest);
            let text = fs::read(&path).map_err(at(&path))?;
            let manifest: Value = serde_json::from_slice(&text).unwrap_or_default();
            let listed = manifest["layers"].as_array().cloned().unwrap_or_default();
            let all = listed.iter().chain([&manifest["config"]]);
            wanted.extend(
                all.filter_map(|d| {
                    Some(d["digest"].as_str()?.strip_prefix("sha256:")?.to_string())
                }),
            );
        }
        let roots = self.store.folder.join("rootfs");
        for entry in fs::read_dir(&roots).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let known = images.iter().any(|image| name.starts_with(&image.manifest));
            if !known && fs::remove_dir_all(entry.path()).is_err() {
                let _ = fs::remove_file(entry.path());
            }
        }
        let blobs = self.store.folder.join("blobs/sha256");
        for entry in fs::read_dir(&blobs).map_err(at(&blobs))?.flatten() {
            if !wanted.contains(&entry.file_name().to_string_lossy().into_owned()) {
                fs::remove_file(entry.path()).map_err(at(&entry.path()))?;
            }
        }
        Ok(())
    }
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
