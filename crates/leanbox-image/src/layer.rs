//! Layers as tar archives (OCI image specification, "layer"): an overlay upper folder becomes an
//! archive with whiteouts, owners as inside, in a fixed order. No overlay attribute leaves.

use crate::files::{at, walk};
use crate::held::Blob;
use leanbox::{Error, ErrorKind, Result};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};

/// The longest value of a mount option (fsconfig(2)).
const OPTION_MAX_BYTES: usize = 255;

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
    tar.append_data(&mut header, name, Looking(File::open(path)?))
}

/// A file that reads as broken once the build is interrupted.
struct Looking(File);

impl io::Read for Looking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        crate::stop_if_interrupted().map_err(io::Error::other)?;
        self.0.read(buffer)
    }
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

/// Whether a folder of an upper layer says more than that it is there, as it is below.
pub(crate) fn changes_folder(path: &Path, below: &fs::Metadata) -> bool {
    let own = |meta: &fs::Metadata| (meta.mode(), meta.uid(), meta.gid());
    is_opaque(path) || fs::symlink_metadata(path).map_or(true, |meta| own(&meta) != own(below))
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
pub(crate) fn merged(lower_top_first: &[PathBuf], upper: Option<&Path>) -> Result<OwnedFd> {
    if leanbox::probe::is_off("overlay_layers") {
        return mount(lower_top_first, upper, Lower::Joined);
    }
    match mount(lower_top_first, upper, Lower::OneByOne) {
        // Linux before 6.7 does not know the option.
        Err(error) if error.errno() == Some(Errno::INVAL.raw_os_error()) => {
            mount(lower_top_first, upper, Lower::Joined)
        }
        other => other,
    }
}

/// How an overlay is told its lower layers (overlayfs documentation, "Multiple lower layers").
enum Lower {
    OneByOne,
    Joined,
}

fn mount(lower_top_first: &[PathBuf], upper: Option<&Path>, how: Lower) -> Result<OwnedFd> {
    use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
    let wrap =
        |call: &'static str| move |errno| Error::syscall(format!("{call}(\"overlay\")"), errno);
    // Descriptors, because one option's value is short.
    let open = |path: &PathBuf| crate::files::open_folder(path);
    let folders: Vec<OwnedFd> = lower_top_first.iter().map(open).collect::<Result<_>>()?;
    let upper = upper.map(crate::files::open_folder).transpose()?;
    let name = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let lower: Vec<String> = folders.iter().map(name).collect();
    let context =
        rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(wrap("fsopen"))?;
    let set = |key: &str, value: &str| {
        rustix::mount::fsconfig_set_string(&context, key, value).map_err(wrap("fsconfig"))
    };
    match how {
        Lower::OneByOne => lower.iter().try_for_each(|folder| set("lowerdir+", folder))?,
        Lower::Joined if lower.join(":").len() > OPTION_MAX_BYTES => {
            let text = format!("{} layers are too many for a kernel before 6.7", lower.len());
            let error = Error::new(ErrorKind::Unsupported, text);
            return Err(error.remedy("join some of the steps into one"));
        }
        Lower::Joined => set("lowerdir", &lower.join(":"))?,
    }
    if let Some(upper) = &upper {
        set("upperdir", &format!("{}/diff", name(upper)))?;
        set("workdir", &format!("{}/work", name(upper)))?;
    }
    rustix::mount::fsconfig_set_flag(&context, "userxattr").map_err(wrap("fsconfig"))?;
    rustix::mount::fsconfig_create(&context).map_err(wrap("fsconfig"))?;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
        .map_err(wrap("fsmount"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(name: &str, count: usize) -> (PathBuf, Vec<PathBuf>) {
        let top = std::env::temp_dir().join(format!("leanbox-layer-{}-{name}", std::process::id()));
        let folders: Vec<PathBuf> = (0..count).map(|layer| top.join(layer.to_string())).collect();
        for (layer, folder) in folders.iter().enumerate() {
            fs::create_dir_all(folder).unwrap();
            fs::write(folder.join("same"), layer.to_string()).unwrap();
            fs::write(folder.join(format!("own-{layer}")), "").unwrap();
        }
        (top, folders)
    }

    fn seen(root: &OwnedFd) -> (usize, String) {
        let path = format!("/proc/self/fd/{}", root.as_raw_fd());
        let same = fs::read_to_string(format!("{path}/same")).unwrap();
        (fs::read_dir(path).unwrap().count(), same)
    }

    #[test]
    fn both_ways_to_name_the_layers_show_the_same() {
        let (top, folders) = layers("ways", 3);
        for root in [merged(&folders, None), mount(&folders, None, Lower::Joined)] {
            let root = root.expect("the tests of layers need root");
            assert_eq!(seen(&root), (4, "0".to_string()));
        }
        fs::remove_dir_all(top).unwrap();
    }

    #[test]
    fn an_older_kernel_says_when_there_are_too_many_layers() {
        let (top, folders) = layers("many", 40);
        let error = mount(&folders, None, Lower::Joined).unwrap_err().to_string();
        fs::remove_dir_all(top).unwrap();
        assert!(error.starts_with("40 layers are too many"), "{error}");
    }
}
