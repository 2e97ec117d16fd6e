//! Three hosts with real sshds, in namespaces that go with this value, and a client for them.

use crate::common::Done;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(crate) const HOSTS: [&str; 3] = ["val01", "val02", "val03"];
/// The password on all hosts, with whatever a shell might take for its own.
pub(crate) const PASSWORD: &str = "s3cret $'word";
/// Its hash (crypt(5)).
const HASH: &str = "$6$leanbox$UJKprRuyWJMfbR6Ea0QsGQNFlAgcBL7l5gLilc0LoiZc1ZOszZTw7YJpwcrAPXpB8PsYSSFTp/SiRKXWgCaRJ/";
/// Of the labs' folders; the process's id and a name follow.
const PREFIX: &str = "leanbox-lab-";
const TIMEOUT: Duration = Duration::from_secs(20);

/// One lab at a time: they measure, on few CPUs.
static ONE: Mutex<()> = Mutex::new(());

/// The hosts.
pub(crate) struct Lab {
    pub(crate) folder: PathBuf,
    namespaces: Child,
    _one: MutexGuard<'static, ()>,
}

impl Lab {
    /// Begins them; they end with the thread that called this, however it ends.
    pub(crate) fn make(name: &str) -> Self {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        remove_old();
        let name = format!("{PREFIX}{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(folder.join("lab.sh"), include_str!("lab.sh")).unwrap();
        key(&folder.join("key"));
        key(&folder.join("other_key"));
        let mut known_hosts = String::new();
        for (index, host) in HOSTS.iter().enumerate() {
            known_hosts += &fill_host(&folder, host, index + 1);
        }
        fs::write(folder.join("known_hosts"), known_hosts).unwrap();
        fs::write(folder.join("ssh_config"), ssh_config(&folder)).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--fork"]);
        command.args(["--kill-child=KILL", "--mount-proc", "sh"]);
        command.arg(folder.join("lab.sh")).arg(&folder).arg("network");
        command.stdin(Stdio::null()).stdout(fs::File::create(folder.join("log")).unwrap());
        command.stderr(fs::File::create(folder.join("errors")).unwrap());
        let namespaces = command.spawn().expect("the tests need util-linux");
        let lab = Self { folder, namespaces, _one: one };
        lab.await_ready();
        lab
    }

    fn await_ready(&self) {
        let begin = Instant::now();
        while !self.folder.join("ready").exists() {
            let log = |path: &str| fs::read_to_string(self.folder.join(path)).unwrap_or_default();
            assert!(
                begin.elapsed() < TIMEOUT,
                "no lab; it needs openssh-server, openssh-client, iproute2, util-linux: {} {}",
                log("errors"),
                log("val01/log")
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// `leanbox bench WORDS` in the client's network.
    pub(crate) fn bench(&self, words: &[&str]) -> Command {
        self.inside(&[&[env!("CARGO_BIN_EXE_leanbox"), "bench"], words].concat())
    }

    /// A command in the client's network, in the lab's folder.
    pub(crate) fn inside(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.namespaces.id()));
        command.args(["--", "env", "--default-signal"]).args(words).current_dir(&self.folder);
        let ssh = format!("ssh -F {}", self.folder.join("ssh_config").display());
        command.env("LEANBOX_SSH", ssh).env("TMPDIR", self.folder.join("client"));
        command.stdin(Stdio::null());
        command
    }

    /// `leanbox bench cluster` with a file of that text, to its end.
    pub(crate) fn cluster(&self, text: &str, words: &[&str]) -> Done {
        Done::of(self.cluster_command(text, words).output().unwrap())
    }

    pub(crate) fn cluster_command(&self, text: &str, words: &[&str]) -> Command {
        let file = self.folder.join("bench.toml");
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        self.bench(&[&["cluster", "-f", "bench.toml"], words].concat())
    }

    pub(crate) fn home(&self, host: &str) -> PathBuf {
        self.folder.join(host).join("home")
    }

    /// From now on sudo asks for a password there.
    pub(crate) fn sudo_asks(&self, host: &str) {
        fs::write(self.folder.join(host).join("sudo_password"), PASSWORD).unwrap();
    }

    /// Kills every sshd of a host: the one that listens and those of its sessions.
    pub(crate) fn kill_sshds(&self, host: &str) {
        let config = self.folder.join(host).join("sshd_config").display().to_string();
        let pids = || fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        let listener = pids().find(|path| words_of(path).contains(&config)).expect("sshd is gone");
        let network = fs::read_link(listener.join("ns/net")).unwrap();
        for path in pids() {
            let is_there = fs::read_link(path.join("ns/net")).is_ok_and(|net| net == network);
            if is_there && words_of(&path).contains("sshd: ") || path == listener {
                let pid = path.file_name().unwrap().to_str().unwrap().to_string();
                let kill = format!("kill -s KILL {pid}");
                let _ = Command::new("sh").args(["-c", &kill]).status();
            }
        }
    }

    /// Pulls a host's plug.
    pub(crate) fn unplug(&self, number: usize) {
        let status = self.inside(&["ip", "link", "set", &format!("v{number}"), "down"]).status();
        assert!(status.unwrap().success());
    }

    /// Whether a benchmark runs on any host.
    pub(crate) fn runs(&self) -> bool {
        let mut paths = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        paths.any(|path| {
            let words = words_of(&path);
            words.contains("--await-go") && !words.contains("ssh") && self.is_inside(&path)
        })
    }

    fn is_inside(&self, process: &Path) -> bool {
        let own =
            |name: &str| fs::read_link(format!("/proc/{}/ns/{name}", self.namespaces.id())).ok();
        fs::read_link(process.join("ns/pid")).ok() == own("pid_for_children")
    }
}

fn words_of(process: &Path) -> String {
    let bytes = fs::read(process.join("cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.namespaces.kill();
        let _ = self.namespaces.wait();
        // What was killed in the middle of a run is taken up by its successor, or by this.
        let _ = Command::new(env!("CARGO_BIN_EXE_leanbox")).arg("gc").output();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Folders of test processes that were killed; their namespaces ended with them.
fn remove_old() {
    for entry in fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn key(path: &Path) {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path);
    assert!(command.status().expect("the tests need openssh-client").success());
}

/// Returns its line of `known_hosts`.
fn fill_host(lab: &Path, host: &str, number: usize) -> String {
    let folder = lab.join(host);
    for name in ["home", "bin", "tmp", "../client"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    let (at, home) = (folder.display(), folder.join("home").display().to_string());
    let user = |name: &str| format!("{name}:x:0:0::{home}:/bin/bash\n");
    let users = user("root") + &user("bench") + "sshd:x:100:65534::/run/sshd:/usr/sbin/nologin\n";
    fs::write(folder.join("passwd"), users).unwrap();
    let shadow = format!("root:{HASH}:19000:0:99999:7:::\nbench:{HASH}:19000:0:99999:7:::\n");
    fs::write(folder.join("shadow"), shadow).unwrap();
    let sudo = folder.join("bin/sudo");
    fs::write(&sudo, include_str!("sudo.sh")).unwrap();
    fs::set_permissions(&sudo, fs::Permissions::from_mode(0o755)).unwrap();
    key(&folder.join("host_key"));
    fs::copy(lab.join("key.pub"), folder.join("authorized_keys")).unwrap();
    let config = format!(
        "ListenAddress 10.99.0.{number}\nHostKey {at}/host_key\nPidFile {at}/sshd.pid\n\
         AuthorizedKeysFile {at}/authorized_keys\nUsePAM no\nPermitRootLogin yes\n\
         StrictModes no\nPrintMotd no\nSubsystem sftp internal-sftp\n\
         SetEnv PATH={at}/bin:/usr/sbin:/usr/bin:/sbin:/bin TMPDIR={at}/tmp\n"
    );
    fs::write(folder.join("sshd_config"), config).unwrap();
    let public = fs::read_to_string(folder.join("host_key.pub")).unwrap();
    format!("10.99.0.{number} {public}")
}

/// The hosts, and some ways in which a host can be wrong.
fn ssh_config(lab: &Path) -> String {
    let at = lab.display();
    let mut text = String::new();
    for (index, host) in HOSTS.iter().enumerate() {
        text += &format!("Host {host} pw-{host}\nHostName 10.99.0.{}\n", index + 1);
    }
    text + &format!(
        "Host pw-*\nPubkeyAuthentication no\n\
         Host down\nHostName 10.99.0.77\n\
         Host closed\nHostName 10.99.0.1\nPort 2\n\
         Host nokey\nHostName 10.99.0.2\nIdentityFile {at}/other_key\n\
         Host stranger\nHostName 10.99.0.3\nUserKnownHostsFile /dev/null\n\
         Host *\nUser bench\nIdentitiesOnly yes\nIdentityAgent none\nUpdateHostKeys no\n\
         GlobalKnownHostsFile /dev/null\nUserKnownHostsFile {at}/known_hosts\n\
         Match !originalhost nokey\nIdentityFile {at}/key\n"
    )
}

/// The built command there, under both names.
pub(crate) fn install(lab: &Lab) {
    for host in HOSTS {
        for name in ["leanbox", "benchmark_lean_container"] {
            symlink(env!("CARGO_BIN_EXE_leanbox"), lab.home(host).join(name)).unwrap();
        }
    }
}
