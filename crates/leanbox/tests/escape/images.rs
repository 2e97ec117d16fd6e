//! Root file systems that mean ill: links where leanbox mounts. Made by the host, as an image of
//! a stranger's would be.

use crate::cases::{Attack, Case};
use crate::host_side::{Outside, root_like, verdict_of};
use crate::stage::{MODE, WORDS};
use crate::verdict::Verdict;
use leanbox::{Bind, Command, Pool, Result, Rootfs, Template};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long containers are started while links are swapped.
const RACES: Duration = Duration::from_secs(5);
/// How long each stands: about as long as the making of a slot.
const SWAP: Duration = Duration::from_micros(700);

fn link(root: &Path, name: &str, to: &Path) {
    let path = root.join(name);
    fs::remove_dir_all(&path).unwrap();
    symlink(to, path).unwrap();
}

pub(crate) fn dev(root: &Path, outside: &Path) {
    link(root, "dev", outside);
}

pub(crate) fn dev_up(root: &Path, outside: &Path) {
    let up = format!("../../../../../..{}", outside.display());
    link(root, "dev", Path::new(&up));
}

pub(crate) fn proc(root: &Path, outside: &Path) {
    link(root, "proc", outside);
}

pub(crate) fn proc_inside(root: &Path, _: &Path) {
    link(root, "proc", Path::new("etc"));
}

pub(crate) fn tmp(root: &Path, outside: &Path) {
    link(root, "tmp", outside);
}

pub(crate) fn target(root: &Path, outside: &Path) {
    symlink(outside, root.join("mnt")).unwrap();
}

/// What is swapped lies beside, under the name of the other.
pub(crate) fn swapped(root: &Path, outside: &Path) {
    for name in SWAPPED {
        symlink(outside, root.join(format!("{name}.link"))).unwrap();
    }
}

const SWAPPED: [&str; 2] = ["tmp", "proc"];

pub(crate) fn own_program(root: &Path, _: &Path) {
    let first = root.join("bin/first");
    fs::remove_file(&first).unwrap();
    fs::write(&first, "#!/proc/self/exe\n").unwrap();
    fs::set_permissions(&first, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Starts a container on such a root: refused, or as isolated as on any other.
pub(crate) fn attack(case: &Case, outside: &Outside) -> Option<Verdict> {
    let Attack::Image(make) = case.attack else { return None };
    let root = root_like(case.name);
    make(&root.0, &outside.folder.0);
    let before = outside.state();
    let is_race = root.0.join("tmp.link").is_symlink();
    let verdict = if is_race {
        race(case, &root.0, outside)
    } else {
        verdict_of_start(case, start(case, &root.0, outside))
    };
    let after = outside.state();
    let same = before == after;
    Some(if same { verdict } else { Verdict::Open(format!("the host's folder became {after}")) })
}

fn verdict_of_start(case: &Case, started: Result<String>) -> Verdict {
    match started {
        Err(error) => {
            let text = error.to_string();
            let reason = text.rsplit_once(": ").map_or(&*text, |(_, reason)| reason);
            Verdict::Blocked(format!("refused: {reason}"))
        }
        // The launcher's program has no role under that name, and ends.
        Ok(text) if text.is_empty() && case.name == "self-exe" => {
            Verdict::Blocked("it ends at once".into())
        }
        Ok(text) => verdict_of(&text, case.name),
    }
}

fn start(case: &Case, root: &Path, outside: &Outside) -> Result<String> {
    let mut builder = Template::builder(Rootfs::open(root)?);
    if root.join("mnt").is_symlink() {
        builder = builder.bind(Bind::new(root.join("home"), "/mnt"));
    }
    let pool = Pool::new(&builder.build()?, 0)?;
    let (name, value) = outside.stage.variable();
    let mut command = Command::new("/bin/first");
    command.args(WORDS).env(name, value).env(MODE, format!("image {}", case.name));
    let outcome = command.timeout(Duration::from_secs(60)).output(&pool)?;
    Ok(String::from_utf8_lossy(&outcome.stdout.bytes).into_owned())
}

fn race(case: &Case, root: &Path, outside: &Outside) -> Verdict {
    let until = Instant::now() + RACES;
    let swap = || {
        while Instant::now() < until {
            for name in SWAPPED {
                let (one, other) = (root.join(name), root.join(format!("{name}.link")));
                let _ = renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE);
                std::thread::sleep(SWAP);
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(swap);
        while Instant::now() < until {
            let verdict = verdict_of_start(case, start(case, root, outside));
            if verdict.is_open() {
                return verdict;
            }
        }
        Verdict::Blocked("each time refused or as isolated as without it".into())
    })
}
