//! `leanbox run`: one program in one container, from its words to its exit code.
//!
//! Nothing is done before the start that the start does not need: the time of the whole command
//! is what people feel.

mod detach;
pub(crate) mod explain;
pub(crate) mod limits;
mod mounts;
mod network;
pub(crate) mod security;
mod sockets;
pub(crate) mod terminal;

pub(crate) use limits::LimitArgs;

use crate::images;
use crate::outcome::{self, Failure, Json};
use crate::program::{self, Asked, Files};
use crate::signals::Signals;
use crate::values;
use leanbox::{Command, Container, Error, ErrorKind, Outcome, Pool, Result, Rootfs, Template};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Arguments of `leanbox run`.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "leanbox run [OPTIONS] ROOTFS|NAME [COMMAND [ARGS]...]",
    after_help = HELP
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    /// Set a variable; KEY alone takes its value from here. May be given again
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = values::variable)]
    env: Vec<(String, Option<String>)>,
    /// Start in this folder [default: the image's, else /]
    #[arg(long, short, value_name = "DIR", value_parser = values::absolute)]
    workdir: Option<String>,
    /// Run as this user of the root: name, uid, name:group or uid:gid [default: the image's]
    #[arg(long, short, value_name = "USER")]
    user: Option<String>,
    #[command(flatten)]
    security: security::SecurityArgs,
    /// Run this program instead of the image's entrypoint; "" for none
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// The host name inside
    #[arg(long, value_name = "NAME", default_value = "leanbox", value_parser = values::hostname)]
    hostname: String,
    /// disabled: go without resource groups where none can be had; then nothing limits memory and
    /// CPU time
    #[arg(long, value_name = "enabled|disabled", default_value = "enabled")]
    #[arg(hide_default_value = true)]
    cgroups: Cgroups,
    /// Say at the end what was refused to it, why, and the option that would allow it. Watches every
    /// system call, which makes them many times slower
    #[arg(long, conflicts_with = "detach")]
    explain: bool,
    /// Tell the outcome as one line of JSON: last on standard error, or in FILE (-: last on
    /// standard output)
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "")]
    json: Option<String>,
    #[command(flatten)]
    pub(crate) detach: detach::Detach,
    /// A root file system (with a slash in it: a folder; else an image, else a folder), then the
    /// command with its arguments [default: the image's command, else the app's main file]
    #[arg(value_name = "ROOTFS|NAME", required = true, trailing_var_arg = true)]
    words: Vec<String>,
    #[command(flatten)]
    mounts: mounts::Mounts,
    #[command(flatten)]
    network: network::NetworkArgs,
    #[command(flatten)]
    sockets: sockets::Sockets,
    #[command(flatten)]
    terminal: terminal::Options,
}

/// Whether there are resource groups, as podman spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Cgroups {
    Enabled,
    Disabled,
}

const HELP: &str = "\
Words after ROOTFS are arguments of the image's entrypoint if it has one, else program and
arguments. A Python file of the working directory or of / is run by the root's own python3.

Examples:
  leanbox run ./rootfs sh -c 'id; cat /proc/self/status'
  leanbox run --memory 64m --timeout 10s hello
  leanbox run .base/hello/rootfs hello.py
  leanbox run --entrypoint sh hello -c 'ls -l'
  leanbox run -v ./data:/data:ro --tmpfs /scratch:size=1g hello
  leanbox run -it --writable ./rootfs sh
  leanbox run --network nat -p 8080:80 --allow db.internal:5432 hello serve.py
  leanbox run --listen tcp:127.0.0.1:8080 hello serve.py

Exit codes: the program's own; 128+N if signal N ended it (137: killed, as when out of memory or
past --output-max); 124 timed out, by --timeout or --cpu-time; 125 leanbox could not do it;
126 not executable; 127 no such program.";

/// Runs it to the program's end.
pub(crate) fn run(args: &Args) -> ExitCode {
    if args.detach.detach {
        return detach::run(args);
    }
    let json = match Json::open(args.json.as_deref()) {
        Ok(json) => json,
        Err(error) => return outcome::conclude(Err(error.into()), args, Json::None),
    };
    outcome::conclude(args.carry_out(), args, json)
}

impl Args {
    /// The word for the root.
    pub(crate) fn root(&self) -> &str {
        self.words.first().map(String::as_str).unwrap_or_default()
    }

    /// The words for its program.
    pub(crate) fn words_behind_root(&self) -> &[String] {
        self.words.get(1..).unwrap_or_default()
    }

    /// What can be refused or is taken before anything is made.
    pub(crate) fn prepare(&self) -> Result<sockets::Handed> {
        let handed = self.sockets.take()?;
        self.network.check()?;
        self.limits.limits()?.validate()?;
        if self.cgroups == Cgroups::Enabled {
            leanbox::make_room_for_groups()?;
        }
        Ok(handed)
    }

    fn carry_out(&self) -> Result<Outcome, Failure> {
        let mut handed = self.prepare()?;
        self.terminal.check()?;
        let mut signals = Signals::take()?;
        let template = self.template().map_err(|error| match images::interrupted() {
            Some(code) => Failure { error: Error::new(ErrorKind::Gone, "interrupted"), code },
            None => error.into(),
        })?;
        let mut command = self.command(template.rootfs()).map_err(Failure::of_program)?;
        handed.give(&mut command);
        self.terminal.prepare(&mut command);
        let pool = Pool::new(&template, 0)?;
        // The pool is its last user: keeper and slot end together, which waits once, not twice.
        drop(template);
        let mut container = command.spawn(&pool).map_err(Failure::of_program)?;
        if self.limits.output_max.is_some() {
            return Ok(relay(&mut container, &mut signals)?);
        }
        let deadline = self.limits.timeout.map(|timeout| Instant::now() + timeout);
        let Some(mut screen) = self.terminal.show(&container)? else {
            await_end(&container, &mut signals, deadline)?;
            return Ok(container.wait()?);
        };
        let hand_on = |signal| terminal::hand_on(&container, signal);
        screen.until_end(container.pidfd(), &mut signals, deadline, hand_on)?;
        let outcome = container.wait();
        screen.finish()?;
        Ok(outcome?)
    }

    pub(crate) fn template(&self) -> Result<Template> {
        let mut builder = Template::builder(Rootfs::open(root_folder(self.root())?)?)
            .limits(self.limits.limits()?)
            .hostname(&self.hostname)
            .terminal(self.terminal.tty)
            .ahead();
        if self.cgroups == Cgroups::Disabled {
            builder = builder.without_groups();
        }
        if self.detach.detach {
            builder = builder.updatable();
        }
        let (mut builder, _joined) = self.network.apply(self.mounts.apply(builder))?;
        if let Some(user) = &self.user {
            builder = builder.user(user);
        }
        self.security.apply(builder)?.build()
    }

    pub(crate) fn command(&self, rootfs: &Rootfs) -> Result<Command> {
        let own_path = self.env.iter().rfind(|(key, _)| key == "PATH");
        let asked = Asked {
            words: self.words_behind_root(),
            entrypoint: self.entrypoint.as_deref(),
            workdir: self.workdir.as_deref(),
            path: own_path.and_then(|(_, value)| value.as_deref()),
        };
        let files = Files {
            is_file: &|path| rootfs.is_file(path),
            is_program: &|path| rootfs.is_program(path),
        };
        let mut words = program::resolve(&asked, rootfs.config(), &files)?.into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        for (key, value) in &self.env {
            if let Some(value) = value {
                command.env(key, value);
            }
        }
        if let Some(dir) = &self.workdir {
            command.current_dir(dir);
        }
        self.limits.apply(&mut command)?;
        if self.explain {
            command.explain();
        }
        Ok(command)
    }
}

/// A folder where the word has a slash; else an image of the store, else a folder of that name.
pub(crate) fn root_folder(word: &str) -> Result<PathBuf> {
    if word.is_empty() {
        return Err(Error::invalid("no root file system named").remedy("name a folder or an image"));
    }
    if word.contains('/') {
        return Ok(word.into());
    }
    match images::rootfs(word) {
        Ok(folder) => Ok(folder),
        Err(_) if Path::new(word).exists() => Ok(word.into()),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::new(
            ErrorKind::NotFound,
            format!("{word}: no such image, and no such folder"),
        )
        .remedy("leanbox images lists the images")),
        Err(error) => Err(error),
    }
}

/// How late a signal may be handed on while output is.
const SIGNAL_LATE: Duration = Duration::from_millis(20);

/// Hands output and signals on to the end.
fn relay(container: &mut Container, signals: &mut Signals) -> Result<Outcome> {
    loop {
        if let Some(outcome) = container.wait_timeout(SIGNAL_LATE)? {
            return Ok(outcome);
        }
        for signal in signals.come() {
            let _ = container.signal(signal);
        }
    }
}

/// Hands signals on until the program has ended or its time is up.
fn await_end(
    container: &Container,
    signals: &mut Signals,
    deadline: Option<Instant>,
) -> Result<()> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(());
        }
        let mut fds = [
            PollFd::from_borrowed_fd(container.pidfd(), PollFlags::IN),
            PollFd::from_borrowed_fd(signals.event(), PollFlags::IN),
        ];
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::syscall("poll(container)", errno)),
        }
        let [ended, signalled] = fds.map(|fd| !fd.revents().is_empty());
        if ended {
            return Ok(());
        }
        if signalled {
            for signal in signals.come() {
                // the program may have ended meanwhile, which the next look tells
                let _ = container.signal(signal);
            }
        }
    }
}
