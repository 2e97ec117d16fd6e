//! Where a run in a reused slot can leave something, and whether it did: asked of the kernel,
//! through descriptors that were opened before anything ran in the slot.

use crate::{Error, ErrorKind, Result};
use std::os::fd::OwnedFd;

/// Files that a reused slot's launcher opened: `/tmp`, `/dev/shm`, then what counts objects.
const SCRATCH: usize = 2;

/// Where a run in a reused slot can leave something, and how it looks when nothing is left.
#[derive(Debug)]
pub(crate) struct Traces {
    pub(crate) scratch: [(OwnedFd, Pristine); SCRATCH],
    /// `/proc/sysvipc/{shm,sem,msg}` and `/proc/net/dev` of the slot, with their first texts.
    counters: Vec<(OwnedFd, Vec<u8>)>,
}

/// A tmpfs nobody wrote to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pristine {
    blocks_free: u64,
    inodes_free: u64,
    mode: u32,
    owner: (u32, u32),
    links: u64,
    /// Of the status, which nobody can set: with it every change to the folder itself shows.
    changed: (i64, u64),
    attributes: usize,
}

impl Traces {
    pub(crate) fn first_look(mut opened: Vec<OwnedFd>) -> Result<Self> {
        let missing = || Error::new(ErrorKind::Gone, "the launcher handed over too few files");
        if opened.len() < SCRATCH {
            return Err(missing());
        }
        let counters = opened.split_off(SCRATCH);
        let counters = counters
            .into_iter()
            .map(|file| {
                let text = read_all(&file)?;
                Ok((file, text))
            })
            .collect::<Result<_>>()?;
        let mut scratch = opened.into_iter().map(|dir| {
            let pristine = Pristine::of(&dir)?;
            Ok::<_, Error>((dir, pristine))
        });
        let mut next = || scratch.next().unwrap_or_else(|| Err(missing()));
        Ok(Self { scratch: [next()?, next()?], counters })
    }

    pub(crate) fn counters_untouched(&self) -> Result<bool> {
        for (file, first) in &self.counters {
            if read_all(file)? != *first {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The whole of a small file of `/proc`; more than a page of objects is surely not untouched.
fn read_all(file: &OwnedFd) -> Result<Vec<u8>> {
    let mut text = vec![0; 4096];
    let length = rustix::io::pread(file, &mut text, 0)
        .map_err(|errno| Error::syscall("pread(traces of a slot)", errno))?;
    text.truncate(length);
    Ok(text)
}

impl Pristine {
    pub(crate) fn of(dir: &OwnedFd) -> Result<Self> {
        let wrap = |errno| Error::syscall("fstat(scratch of a slot)", errno);
        let space = rustix::fs::fstatvfs(dir).map_err(wrap)?;
        let stat = rustix::fs::fstat(dir).map_err(wrap)?;
        let attributes = rustix::fs::flistxattr(dir, &mut [0u8; 0][..]).unwrap_or(0);
        Ok(Self {
            blocks_free: space.f_bfree,
            inodes_free: space.f_ffree,
            mode: stat.st_mode,
            owner: (stat.st_uid, stat.st_gid),
            links: stat.st_nlink,
            changed: (stat.st_ctime, stat.st_ctime_nsec),
            attributes,
        })
    }
}
