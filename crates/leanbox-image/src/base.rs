//! The built-in bases: `leanbox/python:3`, bootstrapped from Debian packages in well under a
//! minute and kept in the store, and `leanbox/busybox`, a single static program.

use crate::files::at;
use leanbox::{Error, ErrorKind, Result};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// What goes into `leanbox/python:3` beside Debian's essential packages and apt: the interpreter,
/// pip's wheels, certificates, and what packages with a service user need.
const PYTHON_PACKAGES: &str = "python3,python3-venv,python3-pip-whl,python3-setuptools-whl,\
python3-wheel-whl,ca-certificates,adduser,netbase";

/// Where Debian keeps the list of its package sources; others may lie in the folder too.
const SOURCES: [&str; 2] = ["/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"];
const MORE_SOURCES: &str = "/etc/apt/sources.list.d";

/// How much of the end of what mmdebstrap says is kept: its trouble is at most some lines.
const TEXT_MAX_BYTES: usize = 64 * 1024;
/// How often whoever waits for it looks for Ctrl-C.
const LOOK_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// The name of a built-in base.
pub(crate) fn is_base(name: &str) -> bool {
    matches!(name, "leanbox/python:3" | "leanbox/busybox")
}

/// Environment of containers on it.
pub(crate) const ENV: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Fills the empty folder `diff`.
pub(crate) fn fill(name: &str, diff: &Path) -> Result<()> {
    if name == "leanbox/busybox" { busybox(diff) } else { python(diff) }
}

fn missing(program: &str, package: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("{program} is missing"))
        .remedy(format!("apt-get install {package}"))
}

fn busybox(diff: &Path) -> Result<()> {
    let program = Path::new("/bin/busybox");
    if !program.exists() {
        return Err(missing("busybox", "busybox-static"));
    }
    for folder in ["bin", "etc", "proc", "sys", "dev", "root", "run", "tmp", "usr", "var"] {
        let path = diff.join(folder);
        fs::create_dir_all(&path).map_err(at(&path))?;
    }
    chmod(&diff.join("tmp"), 0o1777)?;
    chmod(&diff.join("root"), 0o700)?;
    let target = diff.join("bin/busybox");
    fs::copy(program, &target).map_err(at(&target))?;
    // The original: the store's disk may be mounted noexec.
    let listed = Command::new(program).arg("--list").output().map_err(at(program))?;
    let applets = String::from_utf8_lossy(&listed.stdout).into_owned();
    if applets.is_empty() {
        return Err(missing("a static busybox", "busybox-static"));
    }
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        let link = diff.join("bin").join(applet);
        symlink("busybox", &link).map_err(at(&link))?;
    }
    write(
        &diff.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    )?;
    write(&diff.join("etc/group"), "root:x:0:\nnogroup:x:65534:\n")
}

fn python(diff: &Path) -> Result<()> {
    let command = mmdebstrap(&release()?, diff, &sources()?)?;
    let (status, text) = run_to_its_end(command)?;
    if !status.success() {
        return Err(of_mmdebstrap(status, &text));
    }
    tidy_python(diff)
}

/// Debian's own list where it is at its place, else every list that apt has.
fn sources() -> Result<Vec<PathBuf>> {
    let has_some = |path: &PathBuf| fs::metadata(path).is_ok_and(|file| file.len() > 0);
    if let Some(own) = SOURCES.iter().map(PathBuf::from).find(has_some) {
        return Ok(vec![own]);
    }
    let is_list = |path: &PathBuf| {
        path.extension().is_some_and(|end| end == "list" || end == "sources") && has_some(path)
    };
    let entries = fs::read_dir(MORE_SOURCES).into_iter().flatten().flatten();
    let mut lists: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_list).collect();
    lists.sort();
    if lists.is_empty() {
        let what = "leanbox/python:3 is made of Debian packages, and apt has no list of their \
                    sources here";
        return Err(Error::new(ErrorKind::Unsupported, what)
            .remedy("build FROM an image of the store instead"));
    }
    Ok(lists)
}

/// mmdebstrap(1) in a pid namespace that ends with us, however we end: it starts many programs.
fn mmdebstrap(release: &str, diff: &Path, sources: &[PathBuf]) -> Result<Command> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    for (program, package) in
        [("mmdebstrap", "mmdebstrap"), ("setpriv", "util-linux"), ("unshare", "util-linux")]
    {
        if !std::env::split_paths(&paths).any(|folder| folder.join(program).is_file()) {
            return Err(missing(program, package));
        }
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--mount-proc", "--fork"])
        .args(["--kill-child=KILL", "mmdebstrap", "--mode=root", "--variant=apt", "--quiet"])
        .arg(format!("--include={PYTHON_PACKAGES}"))
        .args([
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-exclude=/usr/share/man/*",
        ])
        .arg(release)
        .arg(diff)
        // What it leaves when it is killed goes with the layer that is being made.
        .env("TMPDIR", diff.parent().unwrap_or(diff))
        .args(sources);
    Ok(command)
}

/// Runs it, looking now and then whether the build was interrupted: then it is killed. Its end
/// is that of the last process that has its standard error. Returns the end of what it said.
fn run_to_its_end(mut command: Command) -> Result<(ExitStatus, String)> {
    let name = command.get_program().to_string_lossy().into_owned();
    let wrap = |error: std::io::Error| Error::io(&name, &error);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(wrap)?;
    let mut pipe = child.stderr.take().expect("it was asked for above");
    let (mut text, mut buffer) = (Vec::new(), vec![0; TEXT_MAX_BYTES]);
    loop {
        if crate::stop_if_interrupted().is_err() {
            let _ = child.kill();
        }
        let mut polled = [PollFd::new(&pipe, PollFlags::IN)];
        match rustix::event::poll(&mut polled, Some(&LOOK_EVERY)) {
            Ok(0) | Err(Errno::INTR) => continue,
            Ok(_) => {}
            Err(errno) => return Err(Error::syscall(format!("poll({name})"), errno)),
        }
        match pipe.read(&mut buffer).map_err(wrap)? {
            0 => break,
            length => text.extend_from_slice(&buffer[..length]),
        }
        let surplus = text.len().saturating_sub(TEXT_MAX_BYTES);
        text.drain(..surplus);
    }
    let status = child.wait().map_err(wrap)?;
    crate::stop_if_interrupted()?;
    Ok((status, String::from_utf8_lossy(&text).into_owned()))
}

/// Its first line of apt's or dpkg's trouble says why; its last one only that.
fn of_mmdebstrap(status: ExitStatus, text: &str) -> Error {
    if text.contains("No space left on device") {
        return Error::syscall("mmdebstrap", Errno::NOSPC);
    }
    let is_trouble = |line: &&str| line.starts_with("E:") || line.starts_with("dpkg: error");
    let why = text.lines().find(is_trouble);
    let why = why.or_else(|| text.lines().rfind(|line| !line.trim().is_empty()));
    let why = why.unwrap_or("no message");
    Error::new(ErrorKind::System, format!("mmdebstrap {status}: {why}"))
}

/// The host's Debian release, so that its own sources fit.
fn release() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release").map_err(at(Path::new("/etc/os-release")))?;
    let code = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    code.map(|code| code.trim_matches('"').to_string()).ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, "/etc/os-release names no Debian release")
    })
}

/// What a base for apps needs beside the packages: `python` and `pip`, installing allowed, no
/// trace of the machine it was made on, no devices.
fn tidy_python(diff: &Path) -> Result<()> {
    for file in ["etc/hostname", "etc/resolv.conf", "etc/machine-id"] {
        let _ = fs::remove_file(diff.join(file));
    }
    let lib = diff.join("usr/lib");
    for entry in fs::read_dir(&lib).map_err(at(&lib))?.flatten() {
        let _ = fs::remove_file(entry.path().join("EXTERNALLY-MANAGED"));
    }
    let dev = diff.join("dev");
    let _ = fs::remove_dir_all(&dev);
    fs::create_dir_all(&dev).map_err(at(&dev))?;
    // Packages that talk to an init system find none (invoke-rc.d(8)).
    script(&diff.join("usr/sbin/policy-rc.d"), "#!/bin/sh\nexit 101\n")?;
    let link = diff.join("usr/local/bin/python");
    symlink("/usr/bin/python3", &link).map_err(at(&link))?;
    // A wheel is an archive that Python runs a program out of; the shell finds its version.
    let pip = "#!/bin/sh\nset -e\nfor wheel in /usr/share/python-wheels/pip-*.whl; do\n    \
               exec env PIP_ROOT_USER_ACTION=ignore python3 \"$wheel/pip\" \
               --disable-pip-version-check \"$@\"\ndone\n";
    for name in ["pip", "pip3"] {
        script(&diff.join("usr/local/bin").join(name), pip)?;
    }
    // apt drops to another user for downloads, which a slot's one user namespace allows.
    for cache in ["var/cache/apt/archives", "var/lib/apt/lists"] {
        empty(&diff.join(cache))?;
    }
    Ok(())
}

fn empty(folder: &Path) -> Result<()> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    for path in files.map(|entry| entry.path()).filter(|path: &PathBuf| path.is_file()) {
        fs::remove_file(&path).map_err(at(&path))?;
    }
    Ok(())
}

fn script(path: &Path, text: &str) -> Result<()> {
    write(path, text)?;
    chmod(path, 0o755)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(at(path))
}

fn chmod(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(at(path))
}
