//! Files of a running container, opened and made from outside: by a process that is root inside and
//! nothing more, so that no link laid inside leads further than that.

use super::Container;
use crate::keeper::has_ended;
use crate::packet::{packet_pair, receive_with_fds, send_with_fds};
use crate::plan::step_error;
use crate::template::no_nul;
use crate::{Error, ErrorKind, Result};
use leanbox_launcher::wire::{
    Ask, FILE_MESSAGE_MAX, FileAsk, FileReply, FileRequest, Request, bytes_of, message_of,
};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use rustix::process::{Signal, pidfd_send_signal};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

/// How long one that was killed may take to be gone.
const END_MS: i64 = 1000;
/// The most names of one folder that are listed.
const NAMES_MAX: usize = 1 << 20;

/// Opens and makes files in a container, also while it is paused. Paths are absolute and as seen
/// inside; new files belong to root inside, unless an owner is named. It is of no more use when the container has ended.
#[derive(Debug)]
pub struct Files {
    socket: OwnedFd,
}

/// What there is at a path, a link not followed.
#[derive(Debug, Clone, Copy)]
pub struct FileStat {
    /// Its kind.
    pub kind: FileType,
    /// Its permissions.
    pub mode: u32,
    /// Bytes of a file.
    pub size: u64,
    /// Seconds since 1970 of its last change.
    pub mtime: i64,
    /// Whom it belongs to.
    pub owner: FileOwner,
}

/// A user and a group by their numbers inside; 65,534 of those whom the container does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileOwner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl Container {
    /// What opens and makes files inside.
    ///
    /// # Errors
    /// `Gone` if the container has ended.
    pub fn files(&self) -> Result<Files> {
        let slot = self.running("files")?;
        let inner = &self.pool.template().inner;
        let (socket, theirs) = packet_pair()?;
        let number = inner.number();
        let request = Request { slot: number, ..slot.ground.request(Ask::Files) };
        inner.keeper.send(request, &[theirs.as_fd(), slot.launcher()])?;
        drop(theirs);
        let answer = inner.keeper.answer(number)?;
        let failed = || step_error(&inner.plan, answer.reply.step, answer.reply.errno, false);
        let usher = answer.fd.ok_or_else(failed)?;
        self.ushers().push(usher);
        Ok(Files::from(socket))
    }

    fn ushers(&self) -> std::sync::MutexGuard<'_, Vec<OwnedFd>> {
        self.ushers.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Before the slot's ids may be another's: whoever has them ends.
    pub(super) fn end_files(&self) {
        let ushers = std::mem::take(&mut *self.ushers());
        for usher in &ushers {
            let _ = pidfd_send_signal(usher, Signal::KILL);
        }
        for usher in &ushers {
            let _ = has_ended(usher, END_MS);
        }
    }
}

impl From<OwnedFd> for Files {
    /// Of [`into_socket`](Self::into_socket), perhaps in another process.
    fn from(socket: OwnedFd) -> Self {
        Self { socket }
    }
}

impl Files {
    /// To be handed to another process.
    #[must_use]
    pub fn into_socket(self) -> OwnedFd {
        self.socket
    }

    /// Has a folder, with this mode, belong to somebody. Last, and the inner ones first: whose a
    /// folder is can put other things into it.
    ///
    /// # Errors
    /// No folder is there, or `EINVAL` as for [`create_as`](Self::create_as).
    pub fn give_dir(&self, path: &str, mode: u32, owner: FileOwner) -> Result<()> {
        let request = request(FileAsk::Give, OFlags::empty(), mode, Some(owner));
        self.ask(&request, path, "").map(drop)
    }

    /// Opens a file for reading, no link, with what it is like: it stays the same file, whatever is
    /// put in its place meanwhile.
    ///
    /// # Errors
    /// As for [`open`](Self::open), or a link.
    pub fn open_with_stat(&self, path: &str) -> Result<(File, FileStat)> {
        self.opened_file(path, OFlags::RDONLY | OFlags::NOFOLLOW)
    }

    /// Opens a file for reading; links are followed, inside.
    ///
    /// # Errors
    /// No such file, or something else than a file: a FIFO, a device.
    pub fn open(&self, path: &str) -> Result<File> {
        self.opened_file(path, OFlags::RDONLY).map(|(file, _)| file)
    }

    /// Makes a new file, in the place of what is there unless that is a folder.
    ///
    /// # Errors
    /// The folder is missing, read-only or full.
    pub fn create(&self, path: &str, mode: u32) -> Result<File> {
        self.create_as(path, mode, None)
    }

    /// The same; root's inside if no owner is named.
    ///
    /// # Errors
    /// As for [`create`](Self::create); `EINVAL` for an owner whom the container does not have
    /// (above 65,534).
    pub fn create_as(&self, path: &str, mode: u32, owner: Option<FileOwner>) -> Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        self.make_way(path)?;
        let made = self.ask(&request(FileAsk::Open, flags, mode, owner), path, "")?.0;
        made.map(File::from).ok_or_else(|| gone(path))
    }

    /// Makes a folder.
    ///
    /// # Errors
    /// As for [`create`](Self::create), or something is there.
    pub fn create_dir(&self, path: &str, mode: u32) -> Result<()> {
        self.ask(&request(FileAsk::MakeDir, OFlags::empty(), mode, None), path, "").map(drop)
    }

    /// Makes a symbolic link, in the place of what is there unless that is a folder.
    ///
    /// # Errors
    /// As for [`create`](Self::create).
    pub fn symlink(&self, target: &str, path: &str) -> Result<()> {
        self.symlink_as(target, path, None)
    }

    /// The same; root's inside if no owner is named.
    ///
    /// # Errors
    /// As for [`create_as`](Self::create_as).
    pub fn symlink_as(&self, target: &str, path: &str, owner: Option<FileOwner>) -> Result<()> {
        self.make_way(path)?;
        self.ask(&request(FileAsk::Symlink, OFlags::empty(), 0, owner), path, target).map(drop)
    }

    /// Removes what is there, but no folder.
    ///
    /// # Errors
    /// Nothing is there, a folder is, or it is read-only.
    pub fn remove(&self, path: &str) -> Result<()> {
        self.ask(&request(FileAsk::Remove, OFlags::empty(), 0, None), path, "").map(drop)
    }

    /// What is there.
    ///
    /// # Errors
    /// Nothing is.
    pub fn stat(&self, path: &str) -> Result<FileStat> {
        self.opened(path, OFlags::PATH | OFlags::NOFOLLOW).map(|(_, stat)| stat)
    }

    fn opened(&self, path: &str, flags: OFlags) -> Result<(File, FileStat)> {
        let (opened, owner) = self.ask(&request(FileAsk::Open, flags, 0, None), path, "")?;
        let file = File::from(opened.ok_or_else(|| gone(path))?);
        let stat = rustix::fs::fstat(&file).map_err(|errno| Error::syscall(path, errno))?;
        let stat = FileStat {
            kind: FileType::from_raw_mode(stat.st_mode),
            mode: stat.st_mode & 0o7777,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime: stat.st_mtime,
            owner,
        };
        Ok((file, stat))
    }

    fn opened_file(&self, path: &str, flags: OFlags) -> Result<(File, FileStat)> {
        let (file, stat) = self.opened(path, flags)?;
        match stat.kind.is_file() {
            true => Ok((file, stat)),
            false => Err(Error::invalid(format!("{path}: not a file"))),
        }
    }

    /// Where a symbolic link leads.
    ///
    /// # Errors
    /// None is there.
    pub fn read_link(&self, path: &str) -> Result<String> {
        let (file, _) = self.opened(path, OFlags::PATH | OFlags::NOFOLLOW)?;
        let target = rustix::fs::readlinkat(&file, "", Vec::new());
        let target = target.map_err(|errno| Error::syscall(path, errno))?;
        Ok(target.to_string_lossy().into_owned())
    }

    /// The names in a folder, which is not reached by a link.
    ///
    /// # Errors
    /// No folder is there, or more than a million names are in it.
    pub fn read_dir(&self, path: &str) -> Result<Vec<String>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let (folder, _) = self.opened(path, flags)?;
        let wrap = |errno| Error::syscall(path, errno);
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&folder).map_err(wrap)? {
            let name = entry.map_err(wrap)?.file_name().to_string_lossy().into_owned();
            if name == "." || name == ".." || name.contains('/') {
                continue;
            }
            if names.len() == NAMES_MAX {
                return Err(Error::invalid(format!("{path}: more than {NAMES_MAX} names")));
            }
            names.push(name);
        }
        names.sort();
        Ok(names)
    }

    fn make_way(&self, path: &str) -> Result<()> {
        match self.remove(path) {
            Err(error) if error.errno() != Some(Errno::NOENT.raw_os_error()) => Err(error),
            _ => Ok(()),
        }
    }

    /// What was opened, and whom it belongs to.
    fn ask(
        &self,
        request: &FileRequest,
        path: &str,
        second: &str,
    ) -> Result<(Option<OwnedFd>, FileOwner)> {
        if !path.starts_with('/') {
            return Err(Error::invalid(format!("{path:?}: not an absolute path")));
        }
        no_nul(path).and_then(|()| no_nul(second))?;
        let mut message = bytes_of(request).to_vec();
        for text in [path, second] {
            message.extend(text.as_bytes());
            message.push(0);
        }
        if path.len().max(second.len()) >= 4096 || message.len() > FILE_MESSAGE_MAX {
            return Err(Error::syscall(path, Errno::NAMETOOLONG));
        }
        send_with_fds(&self.socket, &message, &[]).map_err(|_| gone(path))?;
        let mut bytes = [0; size_of::<FileReply>()];
        let (length, mut fds) =
            receive_with_fds(&self.socket, &mut bytes).map_err(|_| gone(path))?;
        let reply = message_of::<FileReply>(&bytes[..length]).ok_or_else(|| gone(path))?;
        match reply.errno {
            0 => Ok((fds.pop(), FileOwner { uid: reply.owner[0], gid: reply.owner[1] })),
            errno => Err(Error::syscall(path, crate::error::told_errno(errno))),
        }
    }
}

fn request(ask: FileAsk, flags: OFlags, mode: u32, owner: Option<FileOwner>) -> FileRequest {
    let owner = owner.map_or(FileRequest::ROOT, |owner| [owner.uid, owner.gid]);
    FileRequest { ask: ask as u32, flags: flags.bits(), mode: mode & 0o7777, owner }
}

fn gone(path: &str) -> Error {
    Error::new(ErrorKind::Gone, format!("{path}: the container has ended"))
}
