//! Layers as tar archives (OCI image specification, "layer"): an overlay upper folder becomes an
//! archive with whiteouts, owners as inside, in a fixed order. No overlay attribute leaves.

use crate::files::{at, walk};
use crate::store::Blob;
use leanbox::{Error, Result};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};

/// Packs `diff` into the file `archive`; the digest is of the archive.
pub(crate) fn pack(diff: &Path, archive: &Path) -> Result<Blob> {
    let file = File::create(archive).map_err(at(archive))?;
    let writer = Hashing { inner: BufWriter::new(file), hash: Sha256::new(), size: 0 };
    let mut tar = Builder::new(writer);
    let mut links: BTreeMap<(u64, u64), PathBuf> = BTreeMap::new();
    for path in walk(diff)? {
        let name = path.strip_prefix(diff).unwrap_or(&path).to_path_buf();
        append(&mut tar, &path, &name, &mut links).map_err(at(&path))?;
    }
    let mut writer = tar.into_inner().map_err(at(archive))?;
    writer.flush().map_err(at(archive))?;
    Ok(Blob { digest: crate::files::hex(writer.hash), size: writer.size })
}

fn append(
    tar: &mut Builder<impl Write>,
    path: &Path,
    name: &Path,
    links: &mut BTreeMap<(u64, u64), PathBuf>,
) -> io::Result<()> {
    let meta = fs::symlink_metadata(path)?;
    if is_whiteout(&meta) {
        let mut hidden = std::ffi::OsString::from(".wh.");
        hidden.push(name.file_name().unwrap_or_default());
        return append_empty(tar, &name.with_file_name(hidden));
    }
    let mut header = Header::new_gnu();
    header.set_mode(meta.mode() & 0o7777);
    header.set_uid(meta.uid().into());
    header.set_gid(meta.gid().into());
    header.set_mtime(u64::try_from(meta.mtime()).unwrap_or(0));
    header.set_size(0);
    if meta.is_dir() {
        header.set_entry_type(EntryType::Directory);
        tar.append_data(&mut header, name, io::empty())?;
        return if is_opaque(path) {
            append_empty(tar, &name.join(".wh..wh..opq"))
        } else {
            Ok(())
        };
    }
    if meta.is_symlink() {
        header.set_entry_type(EntryType::Symlink);
        return tar.append_link(&mut header, name, fs::read_link(path)?);
    }
    if meta.nlink() > 1 {
        if let Some(first) = links.get(&(meta.dev(), meta.ino())) {
            header.set_entry_type(EntryType::Link);
            return tar.append_link(&mut header, name, first);
        }
        links.insert((meta.dev(), meta.ino()), name.to_path_buf());
    }
    if !meta.is_file() {
        // Sockets and pipes do not outlive the step that made them.
        return Ok(());
    }
    if let Some(capability) = attribute(path, "security.capability") {
        tar.append_pax_extensions([("SCHILY.xattr.security.capability", capability.as_slice())])?;
    }
    header.set_entry_type(EntryType::Regular);
    header.set_size(meta.len());
    tar.append_data(&mut header, name, File::open(path)?)
}

fn append_empty(tar: &mut Builder<impl Write>, name: &Path) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_mode(0);
    header.set_size(0);
    header.set_entry_type(EntryType::Regular);
    tar.append_data(&mut header, name, io::empty())
}

/// overlayfs marks a removed file by a character device 0:0.
fn is_whiteout(meta: &fs::Metadata) -> bool {
    meta.file_type().is_char_device() && meta.rdev() == 0
}

fn is_opaque(path: &Path) -> bool {
    attribute(path, "user.overlay.opaque").is_some_and(|value| value == b"y")
}

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 256];
    let length = rustix::fs::lgetxattr(path.as_os_str().as_bytes(), name, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

/// Counts and hashes what goes through.
struct Hashing<W> {
    inner: W,
    hash: Sha256,
    size: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The merged view of layers as a detached mount: nothing of it is ever seen by another process.
pub(crate) fn merged(
    lower_top_first: &[PathBuf],
    upper: Option<&Path>,
) -> Result<std::os::fd::OwnedFd> {
    use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
    use std::os::fd::AsRawFd;
    let wrap =
        |call: &'static str| move |errno| Error::syscall(format!("{call}(\"overlay\")"), errno);
    // Descriptors, because one option's value is at most 255 bytes long.
    let folders: Vec<_> = lower_top_first
        .iter()
        .map(|path| crate::files::open_folder(path))
        .collect::<Result<_>>()?;
    let upper = upper.map(crate::files::open_folder).transpose()?;
    let name = |fd: &std::os::fd::OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let lower: Vec<String> = folders.iter().map(name).collect();
    let context =
        rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(wrap("fsopen"))?;
    let set = |key: &str, value: &str| {
        rustix::mount::fsconfig_set_string(&context, key, value).map_err(wrap("fsconfig"))
    };
    set("lowerdir", &lower.join(":"))?;
    if let Some(upper) = &upper {
        set("upperdir", &format!("{}/diff", name(upper)))?;
        set("workdir", &format!("{}/work", name(upper)))?;
    }
    rustix::mount::fsconfig_set_flag(&context, "userxattr").map_err(wrap("fsconfig"))?;
    rustix::mount::fsconfig_create(&context).map_err(wrap("fsconfig"))?;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
        .map_err(wrap("fsmount"))
}
