//! Who opens and makes files in a slot for the host: a clone of the keeper in the slot's user and
//! mount namespaces. It is root there and has every capability over the slot's ids, so whatever
//! links the container lays, it reaches nothing that root of the slot could not; and each path is
//! resolved by the kernel in one step, in the slot's root and through no magic link. It is in no
//! group and no pid namespace of the slot's: nobody inside sees, signals or freezes it.

use crate::launcher::take_socket;
use crate::wire::{
    FILE_MESSAGE_MAX, FileAsk, FileReply, FileRequest, SLOT_FD, Step, bytes_of, message_of,
};
use core::ffi::CStr;
use core::sync::atomic::AtomicU32;
use leanbox_sys::process::{self, CloneArgs, pr};
use leanbox_sys::{Errno, Fd, fd, memory, socket};

/// Clones it; the keeper goes on. Descriptors as [`Ask::Files`](crate::wire::Ask) has them.
pub(crate) fn lend(mapped: &'static AtomicU32, fds: &[Fd]) -> Result<(i32, Fd), (u32, Errno)> {
    let [socket, launcher] = fds else { return Err((Step::ENTER, Errno::INVAL)) };
    let mut pidfd = -1;
    let args = CloneArgs::with_pidfd(0, &mut pidfd);
    // SAFETY: one thread; the child goes its own way at once and never returns.
    let pid = unsafe { process::fork3(&args) }.map_err(|errno| (Step::CLONE, errno))?;
    if pid == 0 {
        take_socket(*socket);
        // SAFETY: only who makes slots looks at it.
        unsafe { memory::unmap(mapped.as_ptr().cast(), 4096) };
        match enter(*launcher) {
            Ok(()) => serve(),
            Err(errno) => answer(Err(errno)),
        }
        process::exit(0);
    }
    Ok((pid, pidfd))
}

fn enter(launcher: Fd) -> leanbox_sys::Result<()> {
    let _ = process::prctl(pr::SET_NAME, c"leanbox-files".as_ptr() as usize, 0);
    process::setns(launcher, process::CLONE_NEWUSER | process::CLONE_NEWNS)?;
    fd::close_from(SLOT_FD + 1)?;
    process::setgroups(&[])?;
    process::setgid(0)?;
    process::setuid(0)?;
    process::umask(0);
    process::prctl(pr::SET_DUMPABLE, 0, 0).map(drop)
}

// Not a part of the keeper's own frame, which every launcher has a copy of: 8 KiB of buffers.
#[inline(never)]
fn serve() {
    let mut bytes = [0; FILE_MESSAGE_MAX];
    loop {
        let length = match socket::receive(SLOT_FD, &mut bytes) {
            Err(Errno::INTR) => continue,
            Ok(got) if got.length > 0 => got.length,
            _ => return,
        };
        answer(carry_out(&bytes[..length]));
    }
}

/// Hands over what was opened.
fn answer(done: leanbox_sys::Result<Option<Fd>>) {
    let (errno, opened) = match done {
        Ok(opened) => (0, opened),
        Err(errno) => (errno.0, None),
    };
    let stat = opened.and_then(|opened| fd::stat(opened).ok());
    let owner = stat.map_or([0; 2], |stat| [stat.uid, stat.gid]);
    let reply = FileReply { errno, owner };
    let _ = socket::send(SLOT_FD, bytes_of(&reply), opened.as_slice());
    opened.into_iter().for_each(fd::close);
}

fn carry_out(message: &[u8]) -> leanbox_sys::Result<Option<Fd>> {
    let request = message_of::<FileRequest>(message).ok_or(Errno::INVAL)?;
    let texts = message.get(size_of::<FileRequest>()..).ok_or(Errno::INVAL)?;
    let path = CStr::from_bytes_until_nul(texts).map_err(|_| Errno::INVAL)?;
    if request.ask == FileAsk::Give as u32 {
        let flags = fd::O_RDONLY | fd::O_DIRECTORY | fd::O_NOFOLLOW | fd::O_CLOEXEC;
        let folder = fd::open_in_root(path, flags, 0)?;
        let given = give(folder, &request);
        fd::close(folder);
        return given.map(|()| None);
    }
    if request.ask == FileAsk::Open as u32 {
        // Nothing that a file may be makes it wait, or becomes its terminal.
        const O_NONBLOCK_NOCTTY: i32 = 0o4000 | 0o400;
        let is_place = request.flags as i32 & fd::O_PATH != 0;
        let waitless = if is_place { 0 } else { O_NONBLOCK_NOCTTY };
        let flags = request.flags as i32 | fd::O_CLOEXEC | waitless;
        let opened = fd::open_in_root(path, flags, request.mode)?;
        if flags & fd::O_CREAT != 0 {
            give(opened, &request).inspect_err(|_| fd::close(opened))?;
        }
        return Ok(Some(opened));
    }
    let second = texts.get(path.count_bytes() + 1..).ok_or(Errno::INVAL)?;
    let mut folder = [0; 4096];
    let name = split(path, &mut folder)?;
    let folder = CStr::from_bytes_until_nul(&folder).map_err(|_| Errno::INVAL)?;
    let folder = fd::open_in_root(folder, fd::O_PATH | fd::O_DIRECTORY | fd::O_CLOEXEC, 0)?;
    let done = if request.ask == FileAsk::MakeDir as u32 {
        fd::mkdirat(folder, name, request.mode)
    } else if request.ask == FileAsk::Symlink as u32 {
        let target = CStr::from_bytes_until_nul(second).map_err(|_| Errno::INVAL);
        let made = target.and_then(|target| fd::symlinkat(target, folder, name));
        made.and_then(|()| give_link(folder, name, &request))
    } else if request.ask == FileAsk::Remove as u32 {
        fd::unlinkat(folder, name, false)
    } else {
        Err(Errno::NOSYS)
    };
    fd::close(folder);
    done.map(|()| None)
}

/// A link that was made a moment ago: of what may be in its place by now, no file.
fn give_link(folder: Fd, name: &CStr, request: &FileRequest) -> leanbox_sys::Result<()> {
    let [user, group] = request.owner;
    if request.owner == FileRequest::ROOT {
        return Ok(());
    }
    let made = fd::openat(folder, name, fd::O_PATH | fd::O_NOFOLLOW | fd::O_CLOEXEC, 0)?;
    let given = match fd::stat(made) {
        Ok(stat) if stat.mode & fd::S_IFMT == fd::S_IFLNK => fd::chown(made, user, group),
        Ok(_) => Err(Errno::EXIST),
        Err(errno) => Err(errno),
    };
    fd::close(made);
    given
}

/// Has a file or folder belong to whom it is to, and then its mode: set-id bits go with the owner.
fn give(made: Fd, request: &FileRequest) -> leanbox_sys::Result<()> {
    match request.owner {
        FileRequest::ROOT => Ok(()),
        [user, group] => {
            fd::chown(made, user, group)?;
            fd::chmod(made, request.mode)
        }
    }
}

/// The last name of a path; what is before it in `folder`.
fn split<'a>(path: &'a CStr, folder: &mut [u8; 4096]) -> leanbox_sys::Result<&'a CStr> {
    let bytes = path.to_bytes_with_nul();
    let at = bytes.iter().rposition(|byte| *byte == b'/').ok_or(Errno::INVAL)? + 1;
    let name = CStr::from_bytes_until_nul(&bytes[at..]).map_err(|_| Errno::INVAL)?;
    if name.is_empty() || name == c"." || name == c".." {
        return Err(Errno::INVAL);
    }
    folder.get_mut(..at).ok_or(Errno::INVAL)?.copy_from_slice(&bytes[..at]);
    if at == folder.len() { Err(Errno::INVAL) } else { Ok(name) }
}
