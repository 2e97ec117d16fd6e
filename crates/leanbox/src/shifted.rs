//! The fallback where a kernel or file system cannot map ids: one copy of the root file system
//! with its owners shifted to the block that all slots of the template then share. Made once,
//! removed with the template, never touching the original.

use crate::owner::{Block, Owner, state_folder};
use crate::recipe::{Recipe, bind_trees};
use crate::rootfs::{Kind, detached};
use crate::{Error, ErrorKind, Result, tool};
use leanbox_launcher::wire::IDS_PER_SLOT;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// The overflow id (proc(5), `/proc/sys/kernel/overflowuid`).
const NOBODY: u32 = 65_534;

/// The trees of [`crate::recipe::trees`], on a shifted copy.
pub(crate) fn trees(recipe: &Recipe, owner: &mut Owner, block: Block) -> Result<Vec<OwnedFd>> {
    let Kind::Folder { path, .. } = recipe.rootfs.kind() else {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "a writable overlay needs idmapped mounts of its layers (Linux 5.19, on ext4, xfs, btrfs or tmpfs)",
        ));
    };
    let copy = state_folder().join(format!("{}-root", owner.name()));
    owner.owns_folder(copy.clone())?;
    std::fs::create_dir(&copy).map_err(|error| Error::io(copy.display(), &error))?;
    copy_tree(path, &copy)?;
    shift(&copy, block.first_id())?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(&copy, flags, Mode::empty())
        .map_err(|errno| Error::syscall(format!("open({copy:?})"), errno))?;
    let mut trees = vec![detached(&dir, &copy)?];
    trees.extend(bind_trees(recipe)?);
    Ok(trees)
}

/// Where distributions have cp(1). Not along PATH: what that names first is not for root to run.
const CP: [&str; 2] = ["/usr/bin/cp", "/bin/cp"];

fn cp() -> Result<&'static Path> {
    CP.into_iter().map(Path::new).find(|path| path.is_file()).ok_or_else(|| {
        let text = format!("cp(1) is neither {} nor {}", CP[0], CP[1]);
        Error::new(ErrorKind::NotFound, text).remedy("an owner-shifted copy needs it")
    })
}

/// cp(1) knows holes, hard links, extended attributes and reflinks.
fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let absolute = std::path::absolute(from).map_err(|error| Error::io(from.display(), &error))?;
    // It works in its target: in one that was removed it can make nothing, and ends.
    let mut cp = std::process::Command::new(cp()?);
    let cp = cp
        .args(["-a", "--reflink=auto", "--no-target-directory", "--"])
        .args([&absolute, Path::new(".")])
        .current_dir(to);
    let said = tool::ask(cp, "")?;
    if said.status.success() {
        return Ok(());
    }
    let why = said.why();
    let text = format!("owner-shifted copy of {} in {}: {why}", from.display(), to.display());
    Err(Error::new(ErrorKind::Exhausted, text))
}

/// Adds `first` to every owner and group; modes are put back, since chown(2) clears set-id bits.
fn shift(path: &Path, first: u32) -> Result<()> {
    let wrap = |error| Error::io(path.display(), &error);
    let meta = std::fs::symlink_metadata(path).map_err(wrap)?;
    // A hard link was shifted with its first name.
    if meta.uid() < first {
        // An id that the slot does not have becomes its nobody, never another slot's.
        let inside = |id: u32| first + if id < IDS_PER_SLOT { id } else { NOBODY };
        let (uid, gid) = (Uid::from_raw(inside(meta.uid())), Gid::from_raw(inside(meta.gid())));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(rustix::fs::CWD, path, Some(uid), Some(gid), flags)
            .map_err(|errno| Error::syscall(format!("chown({path:?})"), errno))?;
        if !meta.is_symlink() {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(meta.mode() & 0o7777))
                .map_err(wrap)?;
        }
    }
    if meta.is_dir() {
        for entry in std::fs::read_dir(path).map_err(wrap)? {
            shift(&entry.map_err(wrap)?.path(), first)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of that name in that for temporary files, which is removed.
    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("leanbox-shifted-{}-{name}", std::process::id());
            let folder = Self(std::env::temp_dir().join(name));
            std::fs::create_dir_all(&folder.0).unwrap();
            folder
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_copy_has_all_that_the_original_has_and_its_own_mode() {
        let (from, to) = (Folder::new("from"), Folder::new("to"));
        std::fs::create_dir(from.0.join("etc")).unwrap();
        std::fs::write(from.0.join("etc/x"), "x").unwrap();
        let mode = |mode| std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&from.0, mode(0o1751)).unwrap();
        copy_tree(&from.0, &to.0).unwrap();
        assert_eq!(std::fs::read_to_string(to.0.join("etc/x")).unwrap(), "x");
        assert_eq!(std::fs::metadata(&to.0).unwrap().mode() & 0o7777, 0o1751);
    }

    #[test]
    fn a_copy_whose_place_was_reclaimed_is_not_made_again() {
        let (from, to) = (Folder::new("kept"), Folder::new("reclaimed"));
        std::fs::remove_dir(&to.0).unwrap();
        assert!(copy_tree(&from.0, &to.0).is_err());
        assert!(!to.0.exists());
    }

    #[test]
    fn cp_is_not_looked_for_along_path() {
        assert!(cp().unwrap().is_absolute());
    }
}
