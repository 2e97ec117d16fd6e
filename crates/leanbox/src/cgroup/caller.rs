//! A place for the caller's own processes, where v2 demands that the group above has none
//! (cgroup-v2.rst, "No Internal Process Constraint").
//!
//! In: where we stand, and whether systemd runs. Out: this process is in a group whose parent was
//! delegated to it. Never: happens unasked, or writes into a group that is systemd's: it is asked
//! for a scope of our own.

use super::file;
use super::given::is_given;
use super::layout::Layout;
use super::remove::processes;
use super::subtree::{is_delegated, mark_delegated};
use crate::{Error, ErrorKind, Result, tool, userns};
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The group below a delegated one where its processes go.
const SUBGROUP: &str = "main";
/// As sd_booted(3) has it.
const SYSTEMD: &str = "/run/systemd/system";
/// Where distributions have busctl(1). Not along PATH: what that names first is not for root to
/// run.
const BUSCTL: [&str; 2] = ["/usr/bin/busctl", "/bin/busctl"];
/// PROC_PID_INIT_INO of the kernel.
const INITIAL_PIDS: &str = "pid:[4026531836]";
/// systemd begins a scope within milliseconds, unless it is busy booting.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(5);
/// A process that forks while it is moved leaves a child behind, which the next round moves.
const ROUNDS: u32 = 20;

/// Makes room for the resource groups of this process, where cgroup v2 has the controllers. A
/// group that holds processes cannot have groups with limits below it, so:
///
/// - where our group was delegated to us (`Delegate=yes`, it is the top of a container's, or it was
///   given to this user), *all* its processes move to the group `main` below it;
/// - else, where systemd runs, it is asked for a scope (`StartTransientUnit`, as
///   `systemd-run --scope -p Delegate=yes` does), and this process alone moves there. An ordinary
///   user asks the systemd of that user (`systemd-run --user`), if its bus is there.
///
/// For programs that own their process, as the command does; to be called before anything of
/// leanbox is used but [`enter_user_namespace`](crate::enter_user_namespace), which comes first. A
/// library leaves its caller where it is: templates then say what is missing. Does nothing on
/// cgroup v1, in the root group, in a group whose parent was delegated, and for another user than
/// root of its namespace.
///
/// # Errors
/// systemd refuses or does not answer, or a process cannot be moved.
pub fn make_room_for_groups() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let Some(place) = Layout::own_v2()? else { return Ok(()) };
    if place.has_room() {
        Ok(())
    } else if place.is_ours() {
        move_down(&place.folder)
    } else if let Some(manager) = Manager::find() {
        manager.ask_for_scope(&place)?;
        Layout::own_v2()?.map_or(Ok(()), |scope| move_down(&scope.folder))
    } else {
        Ok(())
    }
}

/// Our own group on v2.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// As `/proc/self/cgroup` has it.
    pub(super) path: String,
    pub(super) folder: PathBuf,
}

impl Place {
    fn has_room(&self) -> bool {
        // The root has no such file, and may hold processes.
        let is_root = !self.folder.join("cgroup.type").exists();
        is_root || self.folder.parent().is_some_and(is_delegated)
    }

    /// The top of a cgroup namespace is the container's, as its other limits are.
    fn is_ours(&self) -> bool {
        is_delegated(&self.folder) || self.path == "/" || is_given(&self.folder)
    }
}

fn move_down(folder: &Path) -> Result<()> {
    let below = folder.join(SUBGROUP);
    match file::make_folder(&below) {
        Err(error) if error.errno() != Some(Errno::EXIST.raw_os_error()) => return Err(error),
        _ => {}
    }
    let list = below.join("cgroup.procs");
    for _ in 0..ROUNDS {
        let there = processes(folder);
        if there.is_empty() {
            // Whoever comes next finds it so.
            return mark_delegated(folder);
        }
        for pid in there {
            match file::write(&list, &pid.as_raw_nonzero().to_string()) {
                // It has ended.
                Err(error) if error.errno() == Some(Errno::SRCH.raw_os_error()) => {}
                moved => moved?,
            }
        }
    }
    Err(Error::new(
        ErrorKind::Busy,
        format!("{folder:?}: its processes fork faster than they move"),
    ))
}

/// The bus of this user's systemd.
fn users_bus() -> Option<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let bus = runtime.filter(|folder| folder.is_absolute())?.join("bus");
    bus.exists().then_some(bus)
}

/// Which systemd has our scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manager {
    /// The machine's.
    System,
    /// The one that a user has had from the first login on (user@.service(5)).
    User,
}

impl Manager {
    fn find() -> Option<Self> {
        // It is told a pid, which is another's in another pid namespace.
        let pids = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        if !Path::new(SYSTEMD).is_dir() || pids != Path::new(INITIAL_PIDS) {
            None
        } else if userns::is_machine_root() {
            Some(Self::System)
        } else {
            users_bus().map(|_| Self::User)
        }
    }

    fn option(self) -> &'static str {
        match self {
            Self::System => "--system",
            Self::User => "--user",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::System => super::subtree::REMEDY,
            Self::User => super::layout::REMEDY_OF_USERS,
        }
    }

    /// A scope for this process alone, which systemd removes when it is empty
    /// (org.freedesktop.systemd1(5)).
    fn ask_for_scope(self, before: &Place) -> Result<()> {
        let pid = std::process::id().to_string();
        // One of a container in the background outlives this process's pid.
        let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        let name = format!("leanbox-{pid}-{:x}.scope", since.as_micros());
        let Some(busctl) = BUSCTL.into_iter().find(|path| Path::new(path).is_file()) else {
            let text = format!("busctl(1) is neither {} nor {}", BUSCTL[0], BUSCTL[1]);
            return Err(Error::new(ErrorKind::NotFound, text).remedy(self.remedy()));
        };
        let service = [
            "org.freedesktop.systemd1",
            "/org/freedesktop/systemd1",
            "org.freedesktop.systemd1.Manager",
        ];
        let mut ask = std::process::Command::new(busctl);
        let ask = ask
            .args([self.option(), "--quiet", "call"])
            .args(service)
            .args(["StartTransientUnit", "ssa(sv)a(sa(sv))", &name, "fail", "4"])
            .args(["Description", "s", "containers of leanbox"])
            .args(["PIDs", "au", "1", &pid])
            .args(["Delegate", "b", "true"])
            .args(["CollectMode", "s", "inactive-or-failed"])
            .arg("0");
        if let (Self::User, Some(bus)) = (self, users_bus()) {
            // A session of another kind may have a bus of its own, without systemd.
            let address = format!("unix:path={}", bus.display());
            ask.env("DBUS_SESSION_BUS_ADDRESS", address);
        }
        let said = tool::ask(ask, "")?;
        if !said.status.success() {
            let text = format!("StartTransientUnit({name}): {}", said.why());
            return Err(Error::new(ErrorKind::Unsupported, text).remedy(self.remedy()));
        }
        let until = Instant::now() + PATIENCE;
        while Layout::own_v2()?.as_ref() == Some(before) {
            if Instant::now() > until {
                let text = format!("{name}: systemd has not begun it after {PATIENCE:?}");
                return Err(Error::new(ErrorKind::Busy, text));
            }
            crate::thread::pause(PAUSE);
        }
        Ok(())
    }
}
