//! How far one command has come. Only values: what follows from a message or from the time.

use super::lines;
use super::plan::Task;
use super::reasons;
use super::script::{FOREIGN, MARK, NO_FOLDER, PROMPT, UP};
use super::total::Track;
use crate::READY;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// From the login until it can begin: `sudo`, the program's start, its template.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(20);
/// A benchmark of ours tells every second. ssh itself gives a lost connection up after six.
const SILENT_MAX: Duration = Duration::from_secs(8);
/// Times that one command's `sudo` gets the password.
const ANSWERS_MAX: u32 = 8;
/// What ssh said last that may be a reason.
const SAID_MAX: usize = 32;

/// Where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(super) enum State {
    /// Not begun.
    Waiting,
    /// No word yet.
    Connecting,
    /// Logged in.
    Preparing,
    /// Waits for the word to begin.
    Ready,
    /// Was told to.
    Running,
    /// Over.
    Ended,
}

/// What is to be done about a message.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    Nothing,
    /// Print it.
    Print(String),
    /// Type the password.
    Password,
    /// It cannot go on.
    Fail(String),
}

/// One command's.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) state: State,
    pub(super) track: Track,
    pub(super) error: Option<String>,
    /// Whether it began at the barrier of the program itself.
    pub(super) has_barrier: bool,
    /// Since when it is in this state.
    since: Instant,
    heard: Instant,
    /// How often the password was typed, and what came after it.
    answers: u32,
    after: Option<String>,
    said: Vec<String>,
    last: String,
    pub(super) closed: Option<Instant>,
    pub(super) silent: bool,
}

impl Progress {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            state: State::Waiting,
            track: Track::default(),
            error: None,
            has_barrier: false,
            since: now,
            heard: now,
            answers: 0,
            after: None,
            said: Vec::new(),
            last: String::new(),
            closed: None,
            silent: false,
        }
    }

    pub(super) fn enter(&mut self, state: State, now: Instant) {
        (self.state, self.since, self.heard) = (state, now, now);
    }

    /// A line of ssh's.
    pub(super) fn said(&mut self, line: String) {
        if self.said.len() < SAID_MAX {
            self.said.push(line);
        }
    }

    /// A line of the program, or of the script around it; `seconds` since the start.
    pub(super) fn line(&mut self, task: &Task, line: &str, now: Instant, seconds: f64) -> Step {
        self.heard = now;
        if let Some(word) = line.strip_prefix(MARK) {
            return self.word(task, word, now);
        }
        if line.trim() == READY {
            self.has_barrier = true;
            return self.ready(now);
        }
        if self.state < State::Preparing || line.trim().is_empty() {
            return Step::Nothing;
        }
        self.last = line.trim().to_string();
        self.after = Some(self.last.clone());
        if let (State::Running, Some(line)) = (self.state, lines::parse(line)) {
            self.track.take(seconds, line);
        }
        Step::Print(line.to_string())
    }

    fn word(&mut self, task: &Task, word: &str, now: Instant) -> Step {
        match word {
            UP if self.state == State::Connecting => self.enter(State::Preparing, now),
            FOREIGN => return self.ready(now),
            NO_FOLDER => {
                return Step::Fail(format!("its folder {:?} cannot be entered", task.folder));
            }
            _ => {}
        }
        Step::Nothing
    }

    fn ready(&mut self, now: Instant) -> Step {
        if self.state == State::Preparing {
            self.enter(State::Ready, now);
        }
        Step::Nothing
    }

    /// The beginning of a line: does `sudo` ask? The same `sudo` is answered once, since the answer
    /// would be the same again.
    pub(super) fn open(&mut self, task: &Task, text: &str) -> Step {
        let is_prompt = text.strip_prefix(MARK).is_some_and(|text| text.trim() == PROMPT.trim())
            || (text.starts_with("[sudo") && text.trim_end().ends_with(':'));
        if !is_prompt {
            return Step::Nothing;
        }
        let again = self.after.as_ref().is_none_or(|after| after.contains("try again"));
        if self.answers > 0 && (again || self.answers >= ANSWERS_MAX) {
            return Step::Fail("sudo refused the password".into());
        }
        if task.secrets.password.is_none() {
            return Step::Fail("sudo asks for a password; give -p, or NOPASSWD in sudoers".into());
        }
        (self.answers, self.after) = (self.answers + 1, None);
        Step::Password
    }

    /// What the time says is wrong.
    pub(super) fn overdue(&self, now: Instant, connect_timeout: Duration) -> Option<String> {
        let waited = now.duration_since(self.since);
        match self.state {
            State::Connecting if waited > connect_timeout => Some(format!(
                "no login within {} s; is it up? --connect-timeout waits longer",
                connect_timeout.as_secs_f64()
            )),
            State::Preparing if waited > PREPARE_TIMEOUT => Some(format!(
                "logged in, but not ready within {} s; it said last: {:?}",
                PREPARE_TIMEOUT.as_secs(),
                self.last
            )),
            State::Running if self.has_barrier && now.duration_since(self.heard) > SILENT_MAX => {
                Some(format!("connection lost: silent for {} s", SILENT_MAX.as_secs()))
            }
            _ => None,
        }
    }

    /// What was wrong with its end.
    pub(super) fn end(&self, task: &Task, status: ExitStatus) -> Option<String> {
        let password = task.secrets.password.is_some();
        if status.code() == Some(0) && self.state == State::Running {
            return None;
        }
        let is_ssh = status.code() == Some(255) || self.state == State::Connecting;
        let lost = is_ssh.then(|| reasons::reason(&self.said, password)).flatten();
        if let Some(reason) = lost {
            return Some(reason);
        }
        let when = if self.state == State::Running { "" } else { " before the start" };
        let how = match status.code() {
            Some(code) => format!("ended{when} with exit code {code}"),
            None => format!("ended{when}: {status}"),
        };
        let missing = task.program.is_some()
            && ["not found", "No such file"].iter().any(|text| self.last.contains(text));
        Some(match (self.last.is_empty(), missing) {
            (true, _) => how,
            (false, true) => format!("{how}: {}; leanbox bench sync copies it there", self.last),
            (false, false) => format!("{how}: {}", self.last),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Secrets;

    fn task(password: Option<&str>) -> Task {
        let secrets = Secrets { password: password.map(Into::into), passphrase: None };
        Task {
            label: "h".into(),
            target: None,
            folder: String::new(),
            command: "x".into(),
            login_shell: true,
            program: None,
            quiet: false,
            secrets,
        }
    }

    fn at(state: State) -> (Progress, Instant) {
        let now = Instant::now();
        let mut progress = Progress::new(now);
        progress.enter(state, now);
        (progress, now)
    }

    #[test]
    fn a_command_is_ready_by_its_barrier_or_by_the_shell_s_word() {
        let (mut progress, now) = at(State::Connecting);
        let task = task(None);
        assert_eq!(progress.line(&task, "Welcome", now, 0.0), Step::Nothing);
        progress.line(&task, "leanbox-cluster: up", now, 0.0);
        assert_eq!(progress.state, State::Preparing);
        assert_eq!(progress.line(&task, "a lecture", now, 0.0), Step::Print("a lecture".into()));
        progress.line(&task, READY, now, 0.0);
        assert_eq!((progress.state, progress.has_barrier), (State::Ready, true));
        let (mut progress, now) = at(State::Preparing);
        progress.line(&task, "leanbox-cluster: foreign", now, 0.0);
        assert_eq!((progress.state, progress.has_barrier), (State::Ready, false));
    }

    #[test]
    fn one_sudo_is_answered_once_and_the_next_again() {
        let (mut progress, now) = at(State::Preparing);
        let (task, prompt) = (task(Some("word")), "leanbox-cluster: password:");
        assert_eq!(progress.open(&task, "[sudo] password for me: "), Step::Password);
        progress.line(&task, "some output", now, 0.0);
        assert_eq!(progress.open(&task, prompt), Step::Password);
        progress.line(&task, "Sorry, try again.", now, 0.0);
        assert!(matches!(progress.open(&task, prompt), Step::Fail(_)));
        let (mut progress, _) = at(State::Preparing);
        assert_eq!(progress.open(&task, prompt), Step::Password);
        assert!(matches!(progress.open(&task, prompt), Step::Fail(_)));
        assert_eq!(progress.open(&task, "name: "), Step::Nothing);
    }

    #[test]
    fn only_what_must_speak_every_second_may_not_be_silent() {
        let (mut progress, now) = at(State::Running);
        let (late, timeout) = (now + SILENT_MAX * 2, Duration::from_secs(10));
        assert_eq!(progress.overdue(late, timeout), None);
        progress.has_barrier = true;
        assert!(progress.overdue(late, timeout).unwrap().contains("silent"));
        assert_eq!(progress.overdue(now, timeout), None);
        let (progress, now) = at(State::Connecting);
        assert!(progress.overdue(now + timeout * 2, timeout).unwrap().contains("no login"));
        let (progress, now) = at(State::Ready);
        assert_eq!(progress.overdue(now + timeout * 100, timeout), None);
    }
}
