//! The keeper: one per template, pid 1 of a pid namespace around all its slots, in a mount
//! namespace of a handful of mounts. It makes slots, gives reused ones new scratch, and by its
//! own end (the host's socket closed) ends them all. It takes requests from the host only and
//! never reads a word out of a slot.

mod birth;

use crate::blocks::Blocks;
use crate::enter;
use crate::files;
use crate::frozen::Frozen;
use crate::ground::enter_minimal_mounts;
use crate::launcher;
use crate::making;
use crate::nets::Nets;
use crate::pages;
use crate::text::Text;
use crate::wire::{
    Ask, CONTROL_FD, HOST_FD, OpKind, PLAN_FD, Plan, Reply, Request, Step, TREES_MAX, Tree,
    bytes_of, message_of,
};
use core::cell::UnsafeCell;
use core::ffi::CStr;
use core::sync::atomic::AtomicU32;
use leanbox_sys::mount::{self, FsOption, Reach};
use leanbox_sys::process::{self, CloneArgs, pr};
use leanbox_sys::socket::Received;
use leanbox_sys::{AT_FDCWD, Errno, Fd, fd, memory, socket};

/// A step that did not work, and why.
pub(crate) type Outcome<T> = Result<T, (u32, Errno)>;

pub(crate) struct Keeper {
    plan: Plan,
    own_mounts: Fd,
    /// Where slots are given theirs: nothing is in it. Without root there would be no way back to
    /// the host's.
    own_net: Fd,
    /// Counts the slots whose id maps are written; launchers wait on it.
    mapped: &'static AtomicU32,
    turn: u32,
    trees: usize,
    blocks: Blocks,
    nets: Nets,
    frozen: Frozen,
}

/// How often in a row the kernel may lack what it takes to wait for a request, before that is the
/// end of all.
pub(crate) const PATIENCE: u32 = 100;
/// As deep as keeper and launchers come, ten times over.
const STACK_BYTES: usize = 64 * 1024;
/// How often to try what may not fail: about a millisecond, in which memory may come free.
const TRIES: u32 = 1000;
/// Exit codes, which the host tells: it was gone; nothing could be received, or answered; a slot's
/// network could not be left.
const HOST_GONE: i32 = 2;
const DEAF: i32 = 3;
const MUTE: i32 = 4;
const ASTRAY: i32 = 5;
#[repr(C, align(4096))]
struct Stack(UnsafeCell<[u8; STACK_BYTES]>);
// SAFETY: a keeper has one thread; its children have copies.
unsafe impl Sync for Stack {}
static STACK: Stack = Stack(UnsafeCell::new([0; STACK_BYTES]));
/// More than the kernel gives a program that starts, on either side of its stack pointer.
const FIRST_STACK_BYTES: usize = 1 << 20;

/// The role's entry: goes on on a stack beside the program, and leaves the kernel's to nobody.
pub(crate) fn main() -> ! {
    let here = 0u8;
    let begin = (&raw const here as usize & !4095) - FIRST_STACK_BYTES;
    let _ = memory::keep_from_children(begin, 2 * FIRST_STACK_BYTES);
    let top = STACK.0.get().cast::<u8>().wrapping_add(STACK_BYTES);
    // SAFETY: nothing of this stack is needed any more, and the other one is nobody's.
    unsafe { process::on_stack(top, run) }
}

extern "C" fn run() -> ! {
    match Keeper::set_up() {
        Ok(mut keeper) => keeper.serve(),
        Err((step, errno)) => {
            let _ = answer(Reply { slot: 0, step, errno: errno.0, pid: 0 }, &[]);
            process::exit(1)
        }
    }
}

fn close_all(fds: &[Fd]) {
    fds.iter().copied().filter(|fd| *fd >= 0).for_each(fd::close);
}

fn answer(reply: Reply, fds: &[Fd]) -> leanbox_sys::Result<()> {
    socket::send(CONTROL_FD, bytes_of(&reply), fds)
}

/// Turns an error into one that names a line of the keeper's set-up.
pub(crate) fn at<T>(line: u32, result: leanbox_sys::Result<T>) -> Outcome<T> {
    result.map_err(|errno| (Step::KEEPER + line * 16, errno))
}

impl Keeper {
    fn set_up() -> Outcome<Self> {
        let plan = map_plan()?;
        enter_minimal_mounts(plan)?;
        at(9, launcher::null_streams())?;
        leave_what_the_host_has();
        let _ = process::sethostname(plan.text(plan.header().hostname));
        let _ = process::setsid();
        process::umask(0o022);
        at(9, process::prctl(pr::SET_NO_NEW_PRIVS, 1, 0))?;
        birth::keep_rights_as_any_user();
        at(9, process::prctl(pr::SET_DUMPABLE, 0, 0))?;
        let _ = process::prctl(pr::SET_NAME, c"leanbox-keeper".as_ptr() as usize, 0);
        // What the host ignored, containers must not; ended children the kernel reaps.
        for signal in 1..=64 {
            // Fails for the two that cannot be ignored.
            let _ = process::set_signal(signal, false);
        }
        at(10, process::set_signal(process::SIGCHLD, true))?;
        pass_on_no_protection();
        let own_mounts = at(11, fd::open(c"/proc/self/ns/mnt", fd::O_RDONLY | fd::O_CLOEXEC))?;
        let own_net = if plan.header().given_net == 1 { at(11, leave_network())? } else { -1 };
        let page = at(12, memory::map_anonymous(pages::near(pages::MAPPED), 4096, true))?;
        // SAFETY: a fresh page of zeroes that is never unmapped.
        let mapped = unsafe { &*page.cast::<AtomicU32>() };
        let (blocks, nets) = (at(15, Blocks::new())?, at(15, Nets::new())?);
        let frozen = Frozen::nothing();
        let mut keeper =
            Self { plan, own_mounts, own_net, mapped, turn: 0, trees: 0, blocks, nets, frozen };
        keeper.take_trees()?;
        at(14, answer(Reply::default(), &[]))?;
        Ok(keeper)
    }

    /// Attaches the template's detached trees here, where each slot's copy is cloned from.
    fn take_trees(&mut self) -> Outcome<()> {
        let mut request = [0; size_of::<Request>()];
        let got = at(13, socket::receive(CONTROL_FD, &mut request).and_then(Received::whole))?;
        let trees: &[Tree] = self.plan.table(self.plan.header().trees);
        for (index, tree) in trees.iter().enumerate().take(got.count.min(TREES_MAX)) {
            let path = Text::new().push(c"/t/").number(index as u32);
            at(13, make_mount_point(path.as_cstr(), tree.file == 1))?;
            at(13, mount::attach(got.fds[index], path.as_cstr()))?;
            // Of a shared mount, as systemd has them all, it is a peer: nobody can pivot into it,
            // what is mounted on the host would come into slots, and where a capability lets
            // somebody mount in a slot, that into the host (mount_namespaces(7)).
            at(13, mount::mount(c"none", path.as_cstr(), mount::MS_REC | mount::MS_PRIVATE))?;
            fd::close(got.fds[index]);
            // Every slot's copy has them too.
            let add = match tree.recursive {
                0 => mount::add_attributes,
                _ => mount::add_attributes_to_all,
            };
            at(13, add(path.as_cstr(), tree.attributes))?;
            self.trees += 1;
        }
        // Once now, so that a file system whose ids cannot be mapped is known before any start.
        let mut copies = [-1; TREES_MAX];
        let mapped = self.clone_trees(&mut copies, message_of(&request));
        close_all(&copies[..self.trees]);
        mapped
    }

    /// Ends with the host: as pid 1 the keeper takes every slot along. The end of the socket alone
    /// does not tell, for whatever the host has forked may have it open.
    fn serve(&mut self) -> ! {
        let mut patience = PATIENCE;
        loop {
            let mut bytes = [0; size_of::<Request>()];
            let came = match fd::wait_readable([CONTROL_FD, HOST_FD]) {
                Ok([true, false]) => socket::receive(CONTROL_FD, &mut bytes),
                Ok(_) => self.end(HOST_GONE),
                Err(errno) => Err(errno),
            };
            let got = match came {
                Ok(got) if got.length > 0 => got,
                Err(_) if patience > 0 => {
                    patience -= 1;
                    continue;
                }
                Err(_) => self.end(DEAF),
                Ok(_) => self.end(0),
            };
            patience = PATIENCE;
            let Some(request) = message_of::<Request>(&bytes[..got.length]) else { continue };
            match got.whole() {
                Ok(got) => {
                    self.carry_out(request, &got.fds[..got.count]);
                    close_all(&got.fds[..got.count]);
                }
                Err(errno) => {
                    let (step, errno) = (Step::RECEIVE, errno.0);
                    self.tell(Reply { slot: request.slot, step, errno, pid: 0 }, None);
                }
            }
        }
    }

    fn end(&self, code: i32) -> ! {
        self.frozen.end();
        process::exit(code)
    }

    fn carry_out(&mut self, request: Request, fds: &[Fd]) {
        if request.ask == Ask::Thaw as u32 {
            let (step, errno) = self.frozen.take(fds).err().unwrap_or((0, Errno(0)));
            return self.tell(Reply { slot: request.slot, step, errno: errno.0, pid: 0 }, None);
        }
        let made = if request.ask == Ask::Make as u32 {
            self.make(request, fds)
        } else if request.ask == Ask::Hold as u32 {
            self.hold(fds)
        } else if request.ask == Ask::Keep as u32 {
            keep(fds)
        } else if request.ask == Ask::Enter as u32 {
            enter::bring(self.plan, self.mapped, request, fds)
        } else if request.ask == Ask::Files as u32 {
            files::lend(self.mapped, fds)
        } else {
            self.reset(request, fds)
        };
        let slot = request.slot;
        match made {
            Ok((pid, handle)) => {
                self.tell(Reply { slot, step: 0, errno: 0, pid }, Some(handle));
                fd::close(handle);
            }
            Err((step, errno)) => self.tell(Reply { slot, step, errno: errno.0, pid: 0 }, None),
        }
    }

    /// The host waits for each answer. What cannot be handed over is taken back and told as failed;
    /// where not even that can be told, the end of all is what the host sees.
    fn tell(&self, reply: Reply, handle: Option<Fd>) {
        let Err(errno) = answer(reply, handle.as_slice()) else { return };
        if reply.pid > 0 {
            let _ = process::kill(reply.pid, process::SIGKILL);
            // It is reaped by the kernel: this only waits for that.
            let _ = process::wait(reply.pid, process::WALL);
        }
        let step = if reply.step == 0 { Step::TELL } else { reply.step };
        if answer(Reply { step, errno: errno.0, pid: 0, ..reply }, &[]).is_err() {
            self.end(MUTE);
        }
    }

    /// A new slot, in the network namespace that is given for it, if any.
    fn make(&mut self, request: Request, fds: &[Fd]) -> Outcome<(i32, Fd)> {
        let (net, fds) = match fds.split_first() {
            Some((net, rest)) if request.net == 1 => (*net, rest),
            _ => return self.make_here(request, fds),
        };
        let made = match process::setns(net, process::CLONE_NEWNET) {
            Ok(()) => self.make_here(request, fds),
            Err(errno) => Err((Step::NET, errno)),
        };
        // Where it cannot leave, this slot's network would outlive the slot. It takes a little memory,
        // which may be short for a moment; and with the keeper all slots would end.
        if !(0..TRIES).any(|_| process::setns(self.own_net, process::CLONE_NEWNET).is_ok()) {
            self.end(ASTRAY);
        }
        made
    }

    /// A new slot: its launcher is cloned into all its namespaces at once.
    fn make_here(&mut self, request: Request, fds: &[Fd]) -> Outcome<(i32, Fd)> {
        if self.plan.header().leases_net == 1 {
            self.nets.enter(request.place).map_err(|errno| (Step::NET, errno))?;
        }
        let mut trees = [-1; TREES_MAX];
        let cloned = self.clone_trees(&mut trees, Some(request));
        let locks = self.plan.header().locks_trees == 1;
        let mut shown = 0;
        let born = cloned
            .and_then(|()| if locks { show(&trees[..self.trees], &mut shown) } else { Ok(()) })
            .and_then(|()| self.bear(request, fds, &trees[..self.trees]));
        (0..shown).for_each(|index| {
            let _ = mount::unmount(launcher::place_of(index).as_cstr(), mount::MNT_DETACH);
        });
        close_all(&trees[..self.trees]);
        born
    }

    /// Namespaces kept for the fork mode: no user namespace, no ids mapped.
    fn hold(&mut self, fds: &[Fd]) -> Outcome<(i32, Fd)> {
        let socket = fds.first().ok_or((Step::CLONE, Errno::INVAL))?;
        let mut trees = [-1; TREES_MAX];
        self.clone_trees(&mut trees, None)?;
        let mut pidfd: Fd = -1;
        let args = CloneArgs::with_pidfd(
            self.plan.header().namespaces & !process::CLONE_NEWPID,
            &mut pidfd,
        );
        // SAFETY: as in `bear`.
        let pid = unsafe { process::fork3(&args) }.map_err(|errno| (Step::CLONE, errno))?;
        if pid == 0 {
            launcher::hold(self.plan, *socket, &trees[..self.trees]);
        }
        close_all(&trees[..self.trees]);
        Ok((pid, pidfd))
    }

    /// This slot's copies of the trees, with its ids where they are to be mapped.
    fn clone_trees(&mut self, out: &mut [Fd; TREES_MAX], slot: Option<Request>) -> Outcome<()> {
        let trees: &[Tree] = self.plan.table(self.plan.header().trees);
        for (index, tree) in trees.iter().enumerate().take(self.trees) {
            let path = Text::new().push(c"/t/").number(index as u32);
            let reach = if tree.recursive == 1 { Reach::Tree } else { Reach::Mount };
            let copy = mount::clone_tree(AT_FDCWD, path.as_cstr(), reach);
            let copy = copy.map_err(|errno| (Step::TREE, errno))?;
            out[index] = copy;
            if let Some(request) = slot.filter(|_| tree.idmap == 1) {
                let userns = self.blocks.user_namespace(request.block, request.id_base)?;
                mount::map_ids(copy, userns, reach).map_err(|errno| (Step::TREE, errno))?;
            }
        }
        Ok(())
    }

    /// New scratch in a slot that is to serve again, put in by entering its mount namespace.
    fn reset(&mut self, request: Request, fds: &[Fd]) -> Outcome<(i32, Fd)> {
        let launcher = *fds.first().ok_or((Step::ENTER, Errno::INVAL))?;
        process::setns(launcher, process::CLONE_NEWNS).map_err(|errno| (Step::ENTER, errno))?;
        let made = self.renew_scratch(request);
        process::setns(self.own_mounts, process::CLONE_NEWNS).map_err(|e| (Step::ENTER, e))?;
        made.map(|scratch| (0, scratch))
    }

    fn renew_scratch(&self, request: Request) -> Outcome<Fd> {
        let ops = self.plan.table(self.plan.header().slot_ops);
        let scratch = ops
            .iter()
            .filter(|op: &&crate::wire::Op| {
                op.kind == OpKind::Filesystem as u32 && self.plan.text(op.text) == c"tmpfs"
            })
            .nth(request.scratch as usize)
            .ok_or((Step::ENTER, Errno::INVAL))?;
        let target = self.plan.text(scratch.extra as u32);
        let options = making::options(&self.plan, scratch.text2);
        let owner = Text::new().number(request.id_base);
        let owners = [c"uid", c"gid"].map(|key| FsOption { key, value: owner.as_cstr() });
        let fresh = mount::new_filesystem(c"tmpfs", options.chain(owners), scratch.number);
        let fresh = fresh.map_err(|errno| (Step::ENTER, errno))?;
        mount::unmount(target, mount::MNT_DETACH)
            .and_then(|()| mount::attach(fresh, target))
            .map_err(|errno| (Step::ENTER, errno))?;
        fd::close(fresh);
        fd::open(target, fd::O_RDONLY | fd::O_DIRECTORY | fd::O_CLOEXEC)
            .map_err(|errno| (Step::ENTER, errno))
    }
}

/// Mounts a slot's trees over the template's while its launcher is cloned: what it inherits across
/// user namespaces has its attributes locked, and so have the copies that it makes of it.
fn show(trees: &[Fd], shown: &mut usize) -> Outcome<()> {
    for (index, tree) in trees.iter().enumerate() {
        let place = launcher::place_of(index);
        mount::attach(*tree, place.as_cstr()).map_err(|errno| (Step::TREE, errno))?;
        *shown = index + 1;
    }
    Ok(())
}

/// A process that only sleeps in the groups.
fn keep(fds: &[Fd]) -> Outcome<(i32, Fd)> {
    let (socket, groups) = fds.split_first().ok_or((Step::CLONE, Errno::INVAL))?;
    let mut pidfd: Fd = -1;
    let args = CloneArgs::with_pidfd(0, &mut pidfd);
    // SAFETY: one thread; the child only sleeps until its socket closes.
    let pid = unsafe { process::fork3(&args) }.map_err(|errno| (Step::CLONE, errno))?;
    if pid == 0 {
        launcher::keep(*socket, groups);
    }
    Ok((pid, pidfd))
}

fn map_plan() -> Outcome<Plan> {
    let mut length = [0; 8];
    at(1, fd::pread(PLAN_FD, &mut length, 0))?;
    let length = u64::from_ne_bytes(length) as usize;
    let base = at(1, memory::map_shared(pages::near(pages::PLAN), PLAN_FD, 0, length, false))?;
    fd::close(PLAN_FD);
    // SAFETY: the memfd is sealed by the host; the mapping is only unmapped by a launcher that
    // has no more use for it.
    Ok(unsafe { Plan::new(base, length) })
}

/// The session's keys, and a scheduling policy that starves others or itself. Niceness, I/O
/// priority and CPU affinity stay: a host that was told to make way has its containers make way as
/// well. A kernel without keys has none to leave; one that keeps us from another policy has its
/// reason.
fn leave_what_the_host_has() {
    let _ = process::leave_session_keyring();
    let _ = process::leave_scheduling_policy();
}

/// A host that the OOM killer spares (proc_pid_oom_score_adj(5)) must not make its containers
/// so: nothing could end them at their memory limit.
fn pass_on_no_protection() {
    let Ok(score) = fd::open(c"/proc/self/oom_score_adj", fd::O_RDWR | fd::O_CLOEXEC) else {
        return;
    };
    let mut text = [0; 8];
    if fd::pread(score, &mut text, 0).is_ok() && text[0] == b'-' {
        // Raising it is allowed to everybody.
        let _ = fd::write(score, b"0");
    }
    fd::close(score);
}

fn leave_network() -> leanbox_sys::Result<Fd> {
    process::unshare(process::CLONE_NEWNET)?;
    fd::open(c"/proc/self/ns/net", fd::O_RDONLY | fd::O_CLOEXEC)
}

fn make_mount_point(path: &CStr, file: bool) -> leanbox_sys::Result<()> {
    if file {
        let flags = fd::O_CREAT | fd::O_WRONLY | fd::O_CLOEXEC;
        fd::openat(AT_FDCWD, path, flags, 0o644).map(fd::close)
    } else {
        fd::mkdirat(AT_FDCWD, path, 0o755)
    }
}
