//! The built-in bases: `leanbox/python:3`, bootstrapped from Debian packages in well under a
//! minute and kept in the store, and `leanbox/busybox`, a single static program.

use crate::files::at;
use leanbox::{Error, ErrorKind, Result};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What goes into `leanbox/python:3` beside Debian's essential packages and apt: the interpreter,
/// pip's wheels, certificates, and what packages with a service user need.
const PYTHON_PACKAGES: &str = "python3,python3-venv,python3-pip-whl,python3-setuptools-whl,\
python3-wheel-whl,ca-certificates,adduser,netbase";

/// Where Debian keeps the list of its package sources.
const SOURCES: [&str; 2] = ["/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"];

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
    let listed = Command::new(&target).arg("--list").output().map_err(at(&target))?;
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
    let sources = SOURCES.iter().find(|path| Path::new(path).exists());
    let sources = sources.ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, "leanbox/python:3 is made of Debian packages, and there is no list of their sources here")
            .remedy("build FROM an image of the store instead")
    })?;
    let output = Command::new("mmdebstrap")
        .args(["--mode=root", "--variant=apt", "--quiet"])
        .arg(format!("--include={PYTHON_PACKAGES}"))
        .args([
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-exclude=/usr/share/man/*",
        ])
        .args([release()?.as_str(), &diff.display().to_string(), sources])
        .stdin(std::process::Stdio::null())
        .output();
    let output = match output {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(missing("mmdebstrap", "mmdebstrap"));
        }
        other => other.map_err(|error| Error::io("mmdebstrap", &error))?,
    };
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message");
        return Err(Error::new(ErrorKind::System, format!("mmdebstrap {}: {last}", output.status)));
    }
    tidy_python(diff)
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
