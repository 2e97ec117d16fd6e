//! The host of one detached container, in the background: keeps what it prints, does what commands
//! ask for, and writes down how it ended. When it is killed the container dies with it.

use super::logs::Writer;
use super::protocol::{self, Exec, Reply, Request};
use super::{Named, Record, now_ns, use_of};
use crate::outcome::{self, FAILED, Failure, Report};
use crate::run::Args;
use leanbox::{Command, Container, Error, ErrorKind, Pool, Process, Result, Stdio};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::SocketFlags;
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_peercred};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long a command may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(1);
/// Second programs of one container at a time.
const EXECS_MAX: usize = 64;
const LOOK: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// How long output is read after the end, should something outside hold it open.
const DRAIN: Duration = Duration::from_secs(1);

/// A second program and who waits for it.
struct Second {
    process: Process,
    waits: OwnedFd,
}

/// What came of a request.
enum Done {
    Nothing,
    Second(Box<Process>),
    Descriptor(OwnedFd),
    Text(String),
}

struct Supervisor {
    named: Named,
    /// Held until it ends.
    _lock: File,
    listener: OwnedFd,
    container: Container,
    log: Writer,
    streams: [Option<File>; 2],
    seconds: Vec<Second>,
}

/// Becomes the host: tells on standard output how the start went, and serves until the end.
pub(crate) fn supervise(args: &Args) -> ExitCode {
    let _ = rustix::process::setsid();
    let (named, lock) = match Named::create(args.detach.name.as_deref()) {
        Ok(made) => made,
        Err(error) => return told(&format!("{FAILED} {error}")),
    };
    let name = named.name.clone();
    let begun = Supervisor::begin(args, named, lock);
    let mut supervisor = match begun {
        Ok(supervisor) => supervisor,
        Err(Failure { error, code }) => {
            if let Ok(named) = Named::find(&name) {
                let _ = named.remove();
            }
            return told(&format!("{code} {error}"));
        }
    };
    if supervisor.named.folder.is_absolute() {
        // Nobody's folder is kept busy.
        let _ = std::env::set_current_dir("/");
    }
    let code = told(&format!("0 {name}"));
    let ended = supervisor.serve().and_then(|()| supervisor.end());
    let ended = ended.unwrap_or_else(|error| Report::of_failure(FAILED, error.to_string()));
    // What a full disk has no room for is an end that nobody knows of: "host gone".
    let _ = supervisor.named.write("outcome", &ended);
    if args.detach.rm {
        let _ = supervisor.named.remove();
    }
    code
}

/// The one line, and nothing more on the streams of whoever began it.
fn told(line: &str) -> ExitCode {
    let _ = writeln!(std::io::stdout(), "{line}");
    if let Ok(null) = File::open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
    }
    ExitCode::SUCCESS
}

impl Supervisor {
    fn begin(args: &Args, named: Named, lock: File) -> Result<Self, Failure> {
        let wrap = |error: std::io::Error| Error::io("logs", &error);
        let mut handed = args.prepare()?;
        let template = args.template()?;
        let mut command = args.command(template.rootfs()).map_err(Failure::of_program)?;
        handed.give(&mut command);
        command.stdin(Stdio::Null).stdout(Stdio::Piped).stderr(Stdio::Piped);
        let pool = Pool::new(&template, 0)?;
        drop(template);
        let listener = protocol::serve(&named)?;
        let log = Writer::new(&named).map_err(wrap)?;
        let mut container = command.spawn(&pool).map_err(Failure::of_program)?;
        let streams = [container.stdout.take(), container.stderr.take()];
        for stream in streams.iter().flatten() {
            rustix::io::ioctl_fionbio(stream, true)
                .map_err(|errno| Error::syscall("ioctl(FIONBIO)", errno))?;
        }
        let record = Record {
            name: named.name.clone(),
            root: args.root().to_string(),
            command: args.words_behind_root().to_vec(),
            host_pid: std::process::id(),
            started: now_ns() / 1_000_000_000,
        };
        named.write("record", &record)?;
        let seconds = Vec::new();
        Ok(Self { named, _lock: lock, listener, container, log, streams, seconds })
    }

    /// Until the program has ended.
    fn serve(&mut self) -> Result<()> {
        loop {
            let mut fds = vec![
                PollFd::from_borrowed_fd(self.container.pidfd(), PollFlags::IN),
                PollFd::new(&self.listener, PollFlags::IN),
            ];
            fds.extend(self.streams.iter().flatten().map(|file| PollFd::new(file, PollFlags::IN)));
            for second in &self.seconds {
                fds.push(PollFd::from_borrowed_fd(second.process.pidfd(), PollFlags::IN));
                // Nothing asked for: only that it hung up.
                fds.push(PollFd::new(&second.waits, PollFlags::empty()));
            }
            match poll(&mut fds, Some(&LOOK)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::syscall("poll(container)", errno)),
            }
            let ready = |at: usize| !fds[at].revents().is_empty();
            let (ended, asked) = (ready(0), ready(1));
            drop(fds);
            self.read_streams();
            self.look_at_seconds();
            if ended {
                return Ok(());
            }
            if asked {
                self.answer();
            }
        }
    }

    /// A bounded piece of each, so that a flood keeps nobody from being heard.
    fn read_streams(&mut self) -> bool {
        let mut any = false;
        let mut buffer = [0; 32 * 1024];
        for (stream, mark) in self.streams.iter_mut().zip(['o', 'e']) {
            let Some(file) = stream else { continue };
            match file.read(&mut buffer) {
                Ok(0) => *stream = None,
                Ok(length) => {
                    self.log.keep(mark, &buffer[..length]);
                    any = true;
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => *stream = None,
            }
        }
        any
    }

    fn look_at_seconds(&mut self) {
        let mut at = 0;
        while let Some(second) = self.seconds.get_mut(at) {
            let reply = match second.process.wait_timeout(Duration::ZERO) {
                Ok(None) if hung_up(&second.waits) => None,
                Ok(None) => {
                    at += 1;
                    continue;
                }
                Ok(Some(exit)) => {
                    let code = u8::try_from(exit.shell_code()).unwrap_or(FAILED);
                    Some(Reply { code, ..Reply::default() })
                }
                Err(error) => Some(failed(&error)),
            };
            // Dropped, one that nobody waits for is killed.
            let second = self.seconds.swap_remove(at);
            if let Some(reply) = reply {
                let _ = protocol::send(&second.waits, &reply, &[]);
            }
        }
    }

    fn answer(&mut self) {
        let Ok(peer) = rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC) else {
            return;
        };
        let own = rustix::process::geteuid();
        let is_trusted =
            socket_peercred(&peer).is_ok_and(|who| who.uid == own || who.uid.is_root());
        if !is_trusted || set_socket_timeout(&peer, Timeout::Recv, Some(PATIENCE)).is_err() {
            return;
        }
        let Ok((Some(request), fds)) = protocol::receive::<Request>(&peer) else { return };
        let reply = match self.carry_out(request, fds) {
            Ok(Done::Second(process)) => {
                return self.seconds.push(Second { process: *process, waits: peer });
            }
            Ok(Done::Descriptor(descriptor)) => {
                let _ = protocol::send(&peer, &Reply::default(), &[descriptor.as_fd()]);
                return;
            }
            Ok(Done::Text(text)) => Reply { text: Some(text), ..Reply::default() },
            Ok(Done::Nothing) => Reply::default(),
            Err(error) => failed(&error),
        };
        let _ = protocol::send(&peer, &reply, &[]);
    }

    fn carry_out(&mut self, request: Request, fds: Vec<OwnedFd>) -> Result<Done> {
        let mark = self.named.folder.join("paused");
        match request {
            Request::Signal(9) => self.container.kill(),
            Request::Signal(signal) => self.container.signal(signal)?,
            Request::Pause => {
                self.container.pause()?;
                let _ = File::create(mark);
            }
            Request::Unpause => {
                self.container.resume()?;
                let _ = std::fs::remove_file(mark);
            }
            Request::Stats => {
                let stats = self.container.stats()?;
                return Ok(Done::Text(use_of::report(&self.named.name, &stats)));
            }
            Request::Update(asked) => use_of::change(&self.container, asked)?,
            Request::Exec(exec) => {
                return self.exec(exec, fds).map(|process| Done::Second(Box::new(process)));
            }
            Request::Files => {
                return self.container.files().map(|files| Done::Descriptor(files.into_socket()));
            }
            Request::Network => return self.container.network_namespace().map(Done::Descriptor),
        }
        Ok(Done::Nothing)
    }

    fn exec(&self, exec: Exec, fds: Vec<OwnedFd>) -> Result<Process> {
        let streams: [OwnedFd; 3] =
            fds.try_into().map_err(|_| Error::invalid("exec: three streams have to come along"))?;
        if self.seconds.len() >= EXECS_MAX {
            let text = format!("exec: {EXECS_MAX} programs are running beside the first");
            return Err(Error::new(ErrorKind::Exhausted, text));
        }
        let mut words = exec.words.into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        for (key, value) in exec.env {
            command.env(key, value);
        }
        if let Some(dir) = exec.workdir {
            command.current_dir(dir);
        }
        if let Some(user) = exec.user {
            command.user(user);
        }
        if exec.tty {
            command.controlling_terminal();
        }
        let [stdin, stdout, stderr] = streams.map(Stdio::Fd);
        self.container.exec(command.stdin(stdin).stdout(stdout).stderr(stderr))
    }

    /// How it ended, when all that it printed is kept.
    fn end(&mut self) -> Result<Report> {
        let until = Instant::now() + 10 * DRAIN;
        let outcome = loop {
            if let Some(outcome) = self.container.wait_timeout(DRAIN)? {
                break outcome;
            }
            if Instant::now() > until {
                return Err(Error::new(ErrorKind::System, "its end was not told"));
            }
        };
        let until = Instant::now() + DRAIN;
        while self.read_streams() && Instant::now() < until {}
        for Second { mut process, waits } in self.seconds.drain(..) {
            let reply = match process.wait_timeout(DRAIN) {
                Ok(Some(exit)) => {
                    let code = u8::try_from(exit.shell_code()).unwrap_or(FAILED);
                    Reply { code, ..Reply::default() }
                }
                _ => Reply { code: 137, ..Reply::default() },
            };
            let _ = protocol::send(&waits, &reply, &[]);
        }
        Ok(outcome::report(&outcome))
    }
}

fn hung_up(peer: &OwnedFd) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(peer.as_fd(), PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
}

fn failed(error: &Error) -> Reply {
    let error = error.clone();
    let Failure { error, code } = Failure::of_program(error);
    Reply { code, error: Some(error.to_string()), text: None }
}
