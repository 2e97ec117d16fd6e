//! What the container has beside its root, in Docker's spellings: volumes, file systems in memory,
//! devices, a writable layer. Words in, the library's values out.

use leanbox::{Bind, Device, Error, Result, TemplateBuilder, Tmpfs, parse_bytes};
use std::path::PathBuf;

/// Options of `leanbox run` about files and devices.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Files and devices")]
pub(crate) struct Mounts {
    /// Show a file or folder of the host, with what is mounted below it. Options, with commas
    /// between: ro, rw, noexec, idmap (owners as on the host). May be given again
    #[arg(long, short, value_name = "SRC:DST[:OPTIONS]", value_parser = volume)]
    volume: Vec<Bind>,
    /// The same in long: type=bind,src=PATH,dst=PATH and perhaps readonly, noexec, idmap; or
    /// type=tmpfs,dst=PATH and perhaps tmpfs-size=SIZE, tmpfs-mode=MODE. May be given again
    #[arg(long, value_name = "type=TYPE,dst=DST[,OPTIONS]", value_parser = mount)]
    mount: Vec<Mount>,
    /// An empty file system in memory there, which counts as the container's. Options: size=64m,
    /// mode=1777, exec. May be given again
    #[arg(long, value_name = "DST[:OPTIONS]", value_parser = tmpfs)]
    tmpfs: Vec<Tmpfs>,
    /// Show a device of the host below /dev, to r(ead) and w(rite) by every user inside. May be
    /// given again
    #[arg(long, value_name = "SRC[:DST][:rw]", value_parser = device)]
    device: Vec<Device>,
    /// Have the root take what is written, up to SIZE, in memory that counts as the container's;
    /// thrown away at its end
    #[arg(long, value_name = "SIZE", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "256m", value_parser = parse_bytes)]
    writable: Option<u64>,
    /// Have the root read-only: the default
    #[arg(long, conflicts_with = "writable")]
    read_only: bool,
}

/// What one `--mount` asks for.
#[derive(Debug, Clone)]
enum Mount {
    Bind(Bind),
    Tmpfs(Tmpfs),
}

impl Mounts {
    /// The template with all that was asked for.
    pub(crate) fn apply(&self, mut builder: TemplateBuilder) -> TemplateBuilder {
        for mount in &self.mount {
            builder = match mount.clone() {
                Mount::Bind(bind) => builder.bind(bind),
                Mount::Tmpfs(tmpfs) => builder.tmpfs(tmpfs),
            };
        }
        builder = self.volume.iter().cloned().fold(builder, TemplateBuilder::bind);
        builder = self.tmpfs.iter().cloned().fold(builder, TemplateBuilder::tmpfs);
        builder = self.device.iter().cloned().fold(builder, TemplateBuilder::device);
        match self.writable {
            Some(size) => builder.writable(size),
            None => builder,
        }
    }
}

fn refuse<T>(text: &str, why: &str, remedy: &str) -> Result<T> {
    Err(Error::invalid(format!("{text:?}: {why}")).remedy(remedy))
}

/// A path of the host: Docker takes a word without a slash for a volume that it keeps itself.
fn source(text: &str, path: &str) -> Result<PathBuf> {
    if path.starts_with('/') || path.starts_with("./") || path.starts_with("../") {
        return Ok(path.into());
    }
    let remedy = "write a path of the host that begins with / or ./";
    refuse(text, "there are no named volumes", remedy)
}

/// `SRC:DST[:OPTIONS]`.
fn volume(text: &str) -> Result<Bind> {
    let mut parts = text.split(':');
    let (from, to) = match (parts.next(), parts.next()) {
        (Some(from), Some(to)) if !from.is_empty() && !to.is_empty() => (from, to),
        _ => return refuse(text, "not a volume", "write SRC:DST, or --tmpfs DST for an empty one"),
    };
    let mut bind = Bind::new(source(text, from)?, to);
    let options = parts.next();
    if parts.next().is_some() {
        return refuse(text, "more than two colons", "write --mount type=bind,src=…,dst=…");
    }
    for option in options.into_iter().flat_map(|options| options.split(',')) {
        bind = with_option(text, bind, option)?;
    }
    Ok(bind)
}

fn with_option(text: &str, bind: Bind, option: &str) -> Result<Bind> {
    Ok(match option {
        "ro" | "readonly" => Bind { read_only: true, ..bind },
        "rw" => Bind { read_only: false, ..bind },
        "noexec" => Bind { no_exec: true, ..bind },
        "exec" => Bind { no_exec: false, ..bind },
        "idmap" => Bind { idmap: true, ..bind },
        // What every volume is.
        "rprivate" | "private" | "nosuid" | "nodev" => bind,
        other => {
            let why = format!("no such option of a volume: {other:?}");
            return refuse(text, &why, "there are ro, rw, noexec, exec and idmap");
        }
    })
}

/// `type=bind|tmpfs,KEY[=VALUE],…`.
fn mount(text: &str) -> Result<Mount> {
    let fields = || text.split(',').map(|field| field.split_once('=').unwrap_or((field, "")));
    let value =
        |keys: &[&str]| fields().find(|(key, _)| keys.contains(key)).map(|(_, value)| value);
    let Some(target) = value(&["dst", "target", "destination"]).filter(|path| !path.is_empty())
    else {
        return refuse(text, "no target", "write dst=PATH");
    };
    match value(&["type"]) {
        Some("bind") => {
            let from = value(&["src", "source"]).unwrap_or_default();
            let bind = Bind::new(source(text, from)?, target);
            let rest = fields().filter(|(key, _)| !BIND_KEYS.contains(key));
            let mut rest = rest;
            rest.try_fold(bind, |bind, field| with_field(text, bind, field)).map(Mount::Bind)
        }
        Some("tmpfs") => {
            let rest = fields().filter(|(key, _)| !TMPFS_KEYS.contains(key));
            let options =
                rest.map(|(key, value)| (key.strip_prefix("tmpfs-").unwrap_or(key), value));
            with_options(text, Tmpfs::new(target), options).map(Mount::Tmpfs)
        }
        _ => refuse(text, "no such type of mount", "write type=bind or type=tmpfs"),
    }
}

const TMPFS_KEYS: [&str; 4] = ["type", "dst", "target", "destination"];
const BIND_KEYS: [&str; 6] = ["type", "src", "source", "dst", "target", "destination"];

/// One of `readonly`, `readonly=true`, `bind-propagation=rprivate` and what a volume takes.
fn with_field(text: &str, bind: Bind, (key, value): (&str, &str)) -> Result<Bind> {
    match (key, value) {
        ("bind-propagation", option) => with_option(text, bind, option),
        (key, "" | "true" | "1") => with_option(text, bind, key),
        ("ro" | "readonly", "false" | "0") => Ok(Bind { read_only: false, ..bind }),
        (key, value) => {
            let why = format!("no such option of a bind: {key}={value}");
            refuse(text, &why, "there are readonly, noexec and idmap")
        }
    }
}

/// `DST[:OPTIONS]`.
fn tmpfs(text: &str) -> Result<Tmpfs> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let options = options.split(',').filter(|option| !option.is_empty());
    let fields = options.map(|option| option.split_once('=').unwrap_or((option, "")));
    with_options(text, Tmpfs::new(target), fields)
}

fn with_options<'a>(
    text: &str,
    mut tmpfs: Tmpfs,
    options: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<Tmpfs> {
    for option in options {
        match option {
            ("size", size) => tmpfs.size_max_bytes = parse_bytes(size)?,
            ("mode", mode) => match u32::from_str_radix(mode, 8) {
                Ok(mode) => tmpfs.mode = mode,
                Err(_) => return refuse(text, "not a mode", "write octal digits, as in 1777"),
            },
            ("exec", "") => tmpfs.exec = true,
            // What every one is.
            ("rw" | "noexec" | "nosuid" | "nodev", "") => {}
            (key, _) => {
                let why = format!("no such option of a tmpfs: {key:?}");
                return refuse(text, &why, "there are size, mode and exec");
            }
        }
    }
    Ok(tmpfs)
}

/// `SRC[:DST][:PERMISSIONS]`.
fn device(text: &str) -> Result<Device> {
    let parts: Vec<&str> = text.split(':').collect();
    let (from, to, permissions) = match parts[..] {
        [from] => (from, from, "rw"),
        [from, to] if to.starts_with('/') => (from, to, "rw"),
        [from, permissions] => (from, from, permissions),
        [from, to, permissions] => (from, to, permissions),
        _ => return refuse(text, "not a device", "write SRC[:DST][:rw]"),
    };
    if permissions.contains('m') {
        let remedy = "nobody inside can make devices; write r, w or rw";
        return refuse(text, "permission m is not to be had", remedy);
    }
    if permissions.is_empty() || !permissions.chars().all(|one| "rw".contains(one)) {
        return refuse(text, "no such permissions", "write r, w or rw");
    }
    let (read, write) = (permissions.contains('r'), permissions.contains('w'));
    Ok(Device { source: from.into(), target: to.into(), read, write })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_spelled_as_dockers() {
        assert_eq!(volume("/a:/b").unwrap(), Bind::new("/a", "/b"));
        assert_eq!(volume("./a:/b:ro").unwrap(), Bind::new("./a", "/b").read_only());
        let both = Bind { read_only: true, no_exec: true, ..Bind::new("/a", "/b") };
        assert_eq!(volume("/a:/b:ro,noexec,rprivate").unwrap(), both);
        for bad in ["", "/a", "/a:", ":/b", "name:/b", "/a:/b:z", "/a:/b:ro:x", "/a:/b:shared"] {
            assert!(volume(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn mounts_are_spelled_as_dockers() {
        let bind = |text: &str| match mount(text) {
            Ok(Mount::Bind(bind)) => bind,
            other => panic!("{text}: {other:?}"),
        };
        let fixed = Bind::new("/a", "/b").read_only();
        assert_eq!(bind("type=bind,source=/a,target=/b,readonly"), fixed);
        assert_eq!(bind("type=bind,src=/a,dst=/b,ro=true,bind-propagation=rprivate"), fixed);
        assert_eq!(bind("dst=/b,src=/a,type=bind,readonly=false"), Bind::new("/a", "/b"));
        match mount("type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=700") {
            Ok(Mount::Tmpfs(Tmpfs { size_max_bytes: 0x10_0000, mode: 0o700, .. })) => {}
            other => panic!("{other:?}"),
        }
        for bad in [
            "type=volume,src=x,dst=/b",
            "src=/a,dst=/b",
            "type=bind,dst=/b",
            "type=bind,src=/a",
            "type=bind,src=/a,dst=/b,bind-propagation=shared",
            "type=bind,src=/a,dst=/b,ro=maybe",
            "type=tmpfs,dst=/t,src=/a",
        ] {
            assert!(mount(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tmpfs_has_a_size_and_a_mode() {
        let small = tmpfs("/t:size=64k,mode=0750,exec,nosuid").unwrap();
        assert_eq!((small.size_max_bytes, small.mode, small.exec), (65536, 0o750, true));
        assert_eq!(tmpfs("/t").unwrap(), Tmpfs::new("/t"));
        for bad in ["/t:size=x", "/t:mode=9", "/t:uid=0", "/t:suid"] {
            assert!(tmpfs(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn devices_are_to_be_read_and_written_and_never_made() {
        let tun = Device { write: false, ..Device::new("/dev/net/tun") };
        assert_eq!(device("/dev/net/tun:r").unwrap(), tun);
        assert_eq!(device("/dev/sda:/dev/x:rw").unwrap().target, PathBuf::from("/dev/x"));
        assert!(device("/dev/fuse:rwm").unwrap_err().to_string().contains("permission m"));
        for bad in ["/dev/fuse:", "/dev/fuse:x", "/dev/a:/dev/b:", "a:b:c:d"] {
            assert!(device(bad).is_err(), "{bad}");
        }
    }
}
