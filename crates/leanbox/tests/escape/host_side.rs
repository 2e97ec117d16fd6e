//! What the host does: the root with the attacker in it, what is outside, the runs.

use crate::cases::{Attack, CASES};
use crate::classic::Cached;
use crate::common::{self, Folder};
use crate::images;
use crate::itself;
use crate::stage::{MODE, Stage, TERMINAL, WORDS};
use crate::verdict::Verdict;
use leanbox::{Command, Network, Policy, Pool, Rootfs, Stdio, Template};
use rustix::fs::XattrFlags;
use rustix::pty::OpenptFlags;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);
const PROGRAM: &str = "/bin/escape";

/// Verdicts by the names of the cases.
pub(crate) type Verdicts = BTreeMap<&'static str, Verdict>;

/// A host's folder with the canary, its sockets, and a descriptor that is open for everybody.
pub(crate) struct Outside {
    pub(crate) folder: Folder,
    pub(crate) stage: Stage,
    _port: TcpListener,
    _socket: UnixListener,
    _left_open: OwnedFd,
}

impl Outside {
    pub(crate) fn new() -> Self {
        let folder = common::folder("escape-outside");
        let port = TcpListener::bind("127.0.0.1:0").unwrap();
        let token = format!("{}-{}", std::process::id(), port.local_addr().unwrap().port());
        let canary = folder.0.join("canary");
        fs::write(&canary, &token).unwrap();
        let stage = Stage {
            canary: canary.display().to_string(),
            socket: format!("leanbox-escape-{token}"),
            port: port.local_addr().unwrap().port(),
            neighbour_port: 0,
            token,
        };
        let socket = SocketAddr::from_abstract_name(&stage.socket).unwrap();
        let left_open = rustix::io::fcntl_dupfd_cloexec(File::open(&folder.0).unwrap(), 200);
        let left_open = left_open.unwrap();
        rustix::io::fcntl_setfd(&left_open, rustix::io::FdFlags::empty()).unwrap();
        let socket = UnixListener::bind_addr(&socket).unwrap();
        Self { folder, stage, _port: port, _socket: socket, _left_open: left_open }
    }

    /// What is in the folder, and how many mounts the host has.
    pub(crate) fn state(&self) -> String {
        let entries = fs::read_dir(&self.folder.0).unwrap().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
        names.sort();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let on_it = mounts.lines().filter(|line| line.contains("escape-outside")).count();
        format!("{names:?}, {on_it} mounts")
    }
}

/// A root with this program in it, plainly, with its owner's id, and with capabilities.
pub(crate) fn root_like(name: &str) -> Folder {
    const CAPABILITIES: [u32; 5] = [0x0200_0001, 0b11, 0, 0, 0];
    let programs = [("escape", 0o755), ("set-id", 0o6755), ("set-capabilities", 0o755)];
    let root = itself::root(&format!("escape-{name}"), &programs);
    let value: Vec<u8> = CAPABILITIES.iter().flat_map(|word| word.to_le_bytes()).collect();
    let path = root.0.join("bin/set-capabilities");
    rustix::fs::setxattr(&path, "security.capability", &value, XattrFlags::empty()).unwrap();
    symlink("escape", root.0.join("bin/first")).unwrap();
    root
}

/// The lines of cases.
pub(crate) fn verdicts_of(text: &str) -> Verdicts {
    let mut verdicts = Verdicts::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("case ")) {
        let (name, verdict) = line.split_once(' ').unwrap();
        let case = CASES.iter().find(|case| case.name == name).unwrap();
        let verdict = Verdict::parse(verdict).unwrap_or_else(|| panic!("{line}"));
        verdicts.insert(case.name, verdict);
    }
    verdicts
}

pub(crate) fn verdict_of(text: &str, name: &str) -> Verdict {
    verdicts_of(text).remove(name).unwrap_or_else(|| panic!("{name} says nothing: {text}"))
}

/// The slave of a terminal of the test's own, and its master, to keep it alive.
fn terminal() -> (OwnedFd, OwnedFd) {
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    rustix::pty::grantpt(&master).unwrap();
    rustix::pty::unlockpt(&master).unwrap();
    let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
    let slave = rustix::fs::open(name.as_c_str(), flags, rustix::fs::Mode::empty()).unwrap();
    (slave, master)
}

fn command(mode: &str, stage: &Stage) -> Command {
    let (name, value) = stage.variable();
    let mut command = Command::new(PROGRAM);
    command.args(WORDS).env(name, value).env(MODE, mode).timeout(PATIENCE);
    command
}

fn says(mut command: Command, pool: &Pool) -> String {
    let outcome = command.output(pool).unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(outcome.success(), "{:?}: {}", outcome.end, text(&outcome.stderr.bytes));
    text(&outcome.stdout.bytes)
}

/// All cases, in containers of leanbox's defaults: as root, then as a user.
pub(crate) fn on_leanbox(outside: &Outside) -> Verdicts {
    let root = root_like("root");
    let builder = || Template::builder(Rootfs::open(&root.0).unwrap());
    let mut verdicts = Verdicts::new();
    for template in [builder(), builder().user("app")] {
        let pool = Pool::new(&template.build().unwrap(), 2).unwrap();
        let mut neighbour = command("neighbour", &outside.stage);
        let mut neighbour = neighbour.stdout(Stdio::Piped).spawn(&pool).unwrap();
        let port = port_of(&mut BufReader::new(neighbour.stdout.take().unwrap()));
        let stage = Stage { neighbour_port: port, ..outside.stage.clone() };
        let mut attack = command("attack", &stage);
        let (slave, _master) = terminal();
        attack.fd(i32::try_from(TERMINAL).unwrap(), slave);
        let seen = verdicts_of(&says(attack, &pool));
        neighbour.kill();
        merge(&mut verdicts, seen);
    }
    let reuse = builder().policy(Policy::Reuse).build().unwrap();
    let pool = Pool::new(&reuse, 1).unwrap();
    let networked = builder().network(Network::Host).build().unwrap();
    let networked = Pool::new(&networked, 0).unwrap();
    for case in CASES.iter().filter(|case| case.is_promised()) {
        match case.attack {
            Attack::Inside(_) => {}
            Attack::Networked(_) => {
                let attack = command(&format!("find {}", case.name), &outside.stage);
                merge(&mut verdicts, verdicts_of(&says(attack, &networked)));
            }
            Attack::Twice(..) => {
                says(command(&format!("leave {}", case.name), &outside.stage), &pool);
                let found = says(command(&format!("find {}", case.name), &outside.stage), &pool);
                merge(&mut verdicts, verdicts_of(&found));
            }
            Attack::Image(_) => {
                let verdict = images::attack(case, outside);
                verdicts.extend(verdict.map(|verdict| (case.name, verdict)));
            }
        }
    }
    verdicts
}

/// What is open in one of two runs is open.
fn merge(verdicts: &mut Verdicts, seen: Verdicts) {
    for (name, verdict) in seen {
        if verdict.is_open() || !verdicts.contains_key(name) {
            verdicts.insert(name, verdict);
        }
    }
}

fn port_of(lines: &mut impl BufRead) -> u16 {
    let ready = lines
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("ready ").map(String::from));
    ready.expect("a neighbour that is ready").parse().unwrap()
}

/// The same attackers in containers of `classic`; it makes no mounts that an image could lead
/// elsewhere.
pub(crate) fn on_classic(outside: &Outside) -> Verdicts {
    let root = root_like("classic");
    let cached = Cached::new(&root.0);
    let (slave, _master) = terminal();
    let terminal = (slave, TERMINAL);
    let start = |mode: &str, stage: &Stage| {
        let mut command = cached.command(PROGRAM, &terminal);
        let (name, value) = stage.variable();
        command.args(WORDS).env(name, value).env(MODE, mode);
        command
    };
    let says = |mode: &str, stage: &Stage| {
        let output = start(mode, stage).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{mode}: {output:?}");
        text(&output.stdout)
    };
    let stage = &outside.stage;
    let mut verdicts = Verdicts::new();
    for case in CASES.iter().filter(|case| matches!(case.attack, Attack::Twice(..))) {
        let _ = start(&format!("leave {}", case.name), stage)
            .stdout(std::process::Stdio::null())
            .output()
            .unwrap();
        merge(&mut verdicts, verdicts_of(&says(&format!("find {}", case.name), stage)));
    }
    // Its network is the host's in any case.
    for case in CASES.iter().filter(|case| matches!(case.attack, Attack::Networked(_))) {
        merge(&mut verdicts, verdicts_of(&says(&format!("find {}", case.name), stage)));
    }
    let mut neighbour = start("neighbour", stage);
    let mut neighbour = neighbour.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let port = port_of(&mut BufReader::new(neighbour.stdout.take().unwrap()));
    let stage = Stage { neighbour_port: port, ..stage.clone() };
    merge(&mut verdicts, verdicts_of(&says("attack", &stage)));
    drop(cached);
    neighbour.wait().unwrap();
    verdicts
}
