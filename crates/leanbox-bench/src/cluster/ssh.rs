//! How the system's ssh is called.

use super::askpass::Askpass;
use super::plan::{CONNECT_TIMEOUT, Secrets, Target};
use leanbox::{Error, Result};
use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// The variable that names the command to connect with.
const VARIABLE: &str = "LEANBOX_SSH";

/// The command to connect with, and what it takes to get in.
#[derive(Debug)]
pub struct Ssh {
    words: Vec<String>,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    askpass: BTreeMap<Secrets, Askpass>,
    /// setpriv(1), where there is one: so that each ssh, and what runs at its other end, ends with
    /// this process even where that is killed.
    setpriv: Option<PathBuf>,
}

impl Ssh {
    /// `given` goes before the variable `LEANBOX_SSH`, which goes before `ssh`.
    ///
    /// # Errors
    /// The command is empty, or the temporary folder cannot be written.
    pub fn new<'a>(
        given: Option<&str>,
        connect_timeout: Option<Duration>,
        secrets: impl Iterator<Item = &'a Secrets>,
    ) -> Result<Self> {
        let variable = std::env::var(VARIABLE).ok();
        let text = given.or(variable.as_deref()).unwrap_or("ssh");
        let words: Vec<String> = text.split_whitespace().map(Into::into).collect();
        if words.is_empty() {
            return Err(Error::invalid(format!("{VARIABLE}, or ssh in the file, is empty")));
        }
        let mut askpass = BTreeMap::new();
        for secrets in secrets {
            if !askpass.contains_key(secrets) {
                askpass.insert(secrets.clone(), Askpass::make(secrets)?);
            }
        }
        let connect_timeout = connect_timeout.unwrap_or(CONNECT_TIMEOUT);
        Ok(Self { words, connect_timeout, askpass, setpriv: installed("setpriv") })
    }

    /// `ssh … HOST COMMAND_LINE`, with a terminal if asked.
    pub(super) fn command(
        &self,
        target: &Target,
        secrets: &Secrets,
        terminal: bool,
        command_line: &str,
    ) -> Command {
        let mut command = self.program(&self.words[0], secrets);
        command.args([if terminal { "-tt" } else { "-T" }, "-e", "none"]);
        for option in ["ClearAllForwardings=yes", "RemoteCommand=none"] {
            command.args(["-o", option]);
        }
        if let Some(user) = &target.user {
            command.args(["-l", user]);
        }
        if let Some(port) = target.port {
            command.args(["-p", &port.to_string()]);
        }
        command.args(["--", &target.host, command_line]);
        command
    }

    /// scp(1), with what scp and ssh have in common.
    pub(super) fn scp(&self, secrets: &Secrets) -> Command {
        let program = match self.words[0].strip_suffix("ssh") {
            Some(folder) if folder.is_empty() || folder.ends_with('/') => format!("{folder}scp"),
            _ => "scp".into(),
        };
        self.program(&program, secrets)
    }

    /// Its own process group: Ctrl-C is for us, who end them in order. Never at a prompt: whatever
    /// ssh would ask at the terminal it asks our askpass, which knows secrets or nothing.
    fn program(&self, program: &str, secrets: &Secrets) -> Command {
        let mut command = match &self.setpriv {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "TERM", "--", program]);
                command
            }
            None => Command::new(program),
        };
        command.args(&self.words[1..]).process_group(0);
        let timeout = self.connect_timeout.as_secs_f64().ceil();
        let batch = if *secrets == Secrets::default() { "yes" } else { "no" };
        for option in [
            format!("ConnectTimeout={timeout}"),
            format!("BatchMode={batch}"),
            "ServerAliveInterval=2".into(),
            "ServerAliveCountMax=3".into(),
            "NumberOfPasswordPrompts=1".into(),
            "LogLevel=INFO".into(),
        ] {
            command.args(["-o", &option]);
        }
        if let Some(askpass) = self.askpass.get(secrets) {
            command.env("SSH_ASKPASS", askpass.program()).env("SSH_ASKPASS_REQUIRE", "force");
        }
        command
    }
}

fn installed(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|folder| folder.join(program)).find(|path| path.is_file())
}
