//! RUN: a command in a container of our own, on a writable overlay, with Docker's default
//! capabilities inside its user namespace and the host's network. What the machine needs to
//! reach its package registries is shown inside for the step, outside layer and cache key.

use crate::files::at;
use crate::layer;
use leanbox::{
    Bind, Capability, Command, Error, ErrorKind, Limits, Network, Outcome, Pool, Result, Rootfs,
    Stdio, Template, TemplateBuilder,
};
use std::fs;
use std::path::{Path, PathBuf};

/// A step's limits: a compiler's, not a service's.
fn limits() -> Limits {
    Limits { memory_max_bytes: 4 << 30, pids_max: 4096, ..Limits::default() }
}

/// Files of the host that name servers, certificates and package sources are in.
const SHOWN: [&str; 8] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pip.conf",
    "/etc/apt/sources.list",
    "/etc/apt/sources.list.d/debian.sources",
    "/etc/apt/auth.conf",
    "/etc/npmrc",
];

/// Variables that pass through: proxies, certificates and package indices.
const PASSED: [&str; 10] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
];

/// What a step runs with.
pub(crate) struct Step<'a> {
    pub(crate) argv: &'a [String],
    pub(crate) env: &'a [(String, String)],
    pub(crate) workdir: &'a str,
    pub(crate) user: &'a str,
}

/// Runs it on `lower_top_first`; what it changes is in `upper/diff` afterwards.
pub(crate) fn run(step: &Step<'_>, lower_top_first: &[PathBuf], upper: &Path) -> Result<Outcome> {
    let shown = shown(lower_top_first);
    let begin = |limits| template(step, lower_top_first, upper, &shown, limits);
    let template = match begin(limits())?.build() {
        // No group was delegated to this user: a build is not what the limits are for.
        Err(error) if error.kind() == ErrorKind::Unsupported && !leanbox::is_machine_root() => {
            begin(Limits::default())?.without_groups().build()?
        }
        built => built?,
    };
    let pool = Pool::new(&template, 0)?;
    let (program, arguments) =
        step.argv.split_first().ok_or_else(|| Error::invalid("RUN without a command"))?;
    let mut command = Command::new(program.as_str());
    command.args(arguments.iter().cloned()).current_dir(step.workdir);
    for (key, value) in passed().chain(step.env.iter().cloned()) {
        command.env(key, value);
    }
    command.stdin(Stdio::Null);
    let container = command.spawn(&pool).map_err(|error| match error.kind() {
        ErrorKind::NotFound if program == "/bin/sh" => {
            error.remedy("shell form needs /bin/sh in the image")
        }
        _ => error,
    })?;
    let outcome = watch(container)?;
    drop((pool, template));
    remove_mount_points(&shown, lower_top_first, upper)?;
    Ok(outcome)
}

fn template(
    step: &Step<'_>,
    lower_top_first: &[PathBuf],
    upper: &Path,
    shown: &[Bind],
    limits: Limits,
) -> Result<TemplateBuilder> {
    let rootfs = Rootfs::overlay(lower_top_first, upper).map_err(|error| match error.kind() {
        ErrorKind::InvalidInput => error.remedy("join some of the steps before it into one"),
        _ => error,
    })?;
    let mut builder = Template::builder(rootfs).limits(limits).network(Network::Host).tmp(false);
    builder = builder.user(step.user).hostname("build");
    for capability in Capability::DOCKER_DEFAULT {
        builder = builder.cap_add(*capability);
    }
    Ok(shown.iter().fold(builder, |builder, bind| builder.bind(bind.clone())))
}

/// Waits, looking now and then whether the build was interrupted.
fn watch(mut container: leanbox::Container) -> Result<Outcome> {
    loop {
        if let Some(outcome) = container.wait_timeout(std::time::Duration::from_millis(200))? {
            return Ok(outcome);
        }
        crate::stop_if_interrupted()?;
    }
}

fn shown(lower: &[PathBuf]) -> Vec<Bind> {
    let mut files: Vec<(PathBuf, PathBuf)> =
        SHOWN.iter().map(|path| (path.into(), path.into())).collect();
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    for own in [".config/pip/pip.conf", ".pip/pip.conf", ".npmrc"] {
        files.push((home.join(own), Path::new("/root").join(own)));
    }
    for name in [
        "SSL_CERT_FILE",
        "NODE_EXTRA_CA_CERTS",
        "PIP_CERT",
        "REQUESTS_CA_BUNDLE",
        "PIP_CONFIG_FILE",
    ] {
        if let Some(path) =
            std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
        {
            files.push((path.clone(), path));
        }
    }
    let apt = |target: &Path| target.starts_with("/etc/apt");
    let has_apt = lower.iter().any(|layer| layer.join("etc/apt").is_dir());
    let mut binds: Vec<Bind> = Vec::new();
    for (source, target) in files {
        let known = binds.iter().any(|bind| bind.target == target);
        if source.is_file() && !known && (has_apt || !apt(&target)) {
            let source = source.canonicalize().unwrap_or(source);
            binds.push(Bind::new(source, target).read_only());
        }
    }
    let conf = Path::new("/etc/apt/apt.conf.d");
    if has_apt {
        // Proxies and certificates of the host's own apt.
        let entries = fs::read_dir(conf).into_iter().flatten().flatten();
        let fits = |path: &PathBuf| {
            fs::read_to_string(path).is_ok_and(|text| {
                text.contains("Acquire::")
                    && (text.contains("roxy") || text.contains("CaInfo") || text.contains("CAInfo"))
            })
        };
        for path in entries.map(|entry| entry.path()).filter(fits) {
            binds.push(Bind::new(path.clone(), path).read_only());
        }
    }
    binds
}

fn passed() -> impl Iterator<Item = (String, String)> {
    let known =
        |key: &str| PASSED.contains(&key) || key.starts_with("PIP_") || key == "REQUESTS_CA_BUNDLE";
    std::env::vars().filter(move |(key, _)| known(key))
}

/// Empty files that only carried a mount are no change of the image.
fn remove_mount_points(binds: &[Bind], lower: &[PathBuf], upper: &Path) -> Result<()> {
    for bind in binds {
        let inside = bind.target.strip_prefix("/").unwrap_or(&bind.target);
        let made = upper.join("diff").join(inside);
        let ours = fs::symlink_metadata(&made).is_ok_and(|meta| meta.is_file() && meta.len() == 0);
        let below = lower.iter().any(|layer| fs::symlink_metadata(layer.join(inside)).is_ok());
        if ours && !below {
            fs::remove_file(&made).map_err(at(&made))?;
            remove_unchanged(made.parent(), &upper.join("diff"), lower);
        }
    }
    Ok(())
}

/// Folders that are there only because something was mounted in them.
fn remove_unchanged(mut folder: Option<&Path>, top: &Path, lower: &[PathBuf]) {
    while let Some(path) = folder.filter(|path| *path != top && path.starts_with(top)) {
        let inside = path.strip_prefix(top).unwrap_or(path);
        let below = lower.iter().find_map(|layer| fs::symlink_metadata(layer.join(inside)).ok());
        let is_change = below.is_some_and(|below| layer::changes_folder(path, &below));
        if is_change || fs::remove_dir(path).is_err() {
            return;
        }
        folder = path.parent();
    }
}
