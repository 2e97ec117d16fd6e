//! Which resource groups (cgroups(7)) there are, and whether we may make some.
//!
//! In: `/proc/self/cgroup` and `/proc/self/mountinfo`. Out: findings. The library looks for
//! itself; this is for people.

use super::Finding;
use rustix::fs::{Access, access};
use std::fs;
use std::path::{Path, PathBuf};

/// Every container has these limits; the others only where they are asked for.
const NEEDED: [&str; 2] = ["memory", "pids"];
const WANTED: [(&str, &str); 4] = [
    ("cpu", "--cpus will be refused"),
    ("cpuacct", "outcomes will lack the CPU time"),
    ("cpuset", "--cpuset-cpus and --cpuset-mems will be refused"),
    (IO, "limits of block I/O will be refused"),
];
/// As v2 calls it.
const IO: &str = "io";
/// And v1.
const BLKIO: &str = "blkio";

/// A controller and our own group's folder in its hierarchy.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    controller: String,
    folder: PathBuf,
}

/// What was found.
pub(super) fn look() -> Vec<Finding> {
    let memberships = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let places = places(&memberships, &mountinfo, offered);
    let mut findings = vec![layout(&mountinfo, &places)];
    findings.extend(lacking(&places));
    findings.extend(writable(&places));
    findings
}

/// What groups of v2 can have that are made beside us: in `main` of a delegated group, what that
/// group can hand down.
fn offered(folder: &Path) -> String {
    let read =
        |folder: &Path| fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or_default();
    let own = read(folder);
    if own.trim().is_empty() { folder.parent().map(read).unwrap_or_default() } else { own }
}

fn layout(mountinfo: &str, places: &[Place]) -> Finding {
    let has = |kind| mounts(mountinfo).any(|mount| mount.kind == kind);
    let name = match (has("cgroup"), has("cgroup2")) {
        (true, true) => "hybrid (v1 and v2)",
        (true, false) => "v1",
        (false, true) => "v2",
        (false, false) => {
            return Finding::missing("cgroups: none mounted; mount -t cgroup2 none /sys/fs/cgroup");
        }
    };
    let of_use = |place: &&Place| {
        NEEDED.contains(&place.controller.as_str())
            || WANTED.iter().any(|(wanted, _)| *wanted == place.controller)
    };
    let found: Vec<&str> =
        places.iter().filter(of_use).map(|place| place.controller.as_str()).collect();
    Finding::ok(format!("cgroups: {name} with {}", found.join(", ")))
}

fn lacking(places: &[Place]) -> Vec<Finding> {
    let lacks = |name: &str| !places.iter().any(|place| place.controller == name);
    let needed = NEEDED.into_iter().filter(|name| lacks(name)).map(|name| {
        let enable = match name {
            "memory" => " (kernel command line: cgroup_enable=memory)",
            _ => "",
        };
        Finding::missing(format!(
            "cgroups: no {name} controller{enable}; mount one, or: systemd-run -p Delegate=yes …"
        ))
    });
    let wanted = WANTED
        .into_iter()
        .filter(|(name, _)| lacks(name))
        .map(|(name, loss)| Finding::limited(format!("cgroups: no {name} controller, so {loss}")));
    needed.chain(wanted).collect()
}

/// One finding for all folders that matter.
fn writable(places: &[Place]) -> Option<Finding> {
    let mut needed = places.iter().filter(|place| NEEDED.contains(&place.controller.as_str()));
    let closed = needed.find(|place| access(&place.folder, Access::WRITE_OK).is_err());
    match closed {
        _ if places.is_empty() => None,
        None => Some(Finding::ok("cgroups: writable")),
        Some(place) => Some(Finding::missing(format!(
            "cgroups: {} is not writable; systemd-run --user --scope -p Delegate=yes …, or run leanbox \
             with sudo",
            place.folder.display()
        ))),
    }
}

fn places(memberships: &str, mountinfo: &str, v2: impl Fn(&Path) -> String) -> Vec<Place> {
    let mut places = Vec::new();
    for line in memberships.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(own)) = (fields.next(), fields.next()) else { continue };
        let kind = if controllers.is_empty() { "cgroup2" } else { "cgroup" };
        let first = controllers.split(',').next().unwrap_or_default();
        let mount = mounts(mountinfo).find(|mount| {
            mount.kind == kind
                && (kind == "cgroup2" || mount.options.split(',').any(|o| o == first))
        });
        let Some(folder) = mount.and_then(|mount| mount.folder_of(own)) else { continue };
        let offered = if controllers.is_empty() {
            // every v2 group counts its CPU time
            format!("{} cpuacct", v2(&folder)).split_whitespace().map(str::to_string).collect()
        } else {
            let as_v2 = |name| if name == BLKIO { IO } else { name };
            controllers.split(',').map(as_v2).map(str::to_string).collect::<Vec<_>>()
        };
        for controller in offered {
            if !places.iter().any(|place: &Place| place.controller == controller) {
                places.push(Place { controller, folder: folder.clone() });
            }
        }
    }
    places
}

/// A line of `/proc/self/mountinfo` (proc(5)).
struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

fn mounts(mountinfo: &str) -> impl Iterator<Item = Mount<'_>> {
    mountinfo.lines().filter_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let mut kind = kind.split(' ');
        Some(Mount {
            root: mount.next()?,
            point: mount.next()?,
            kind: kind.next()?,
            options: kind.nth(1)?,
        })
    })
}

impl Mount<'_> {
    fn folder_of(&self, own: &str) -> Option<PathBuf> {
        let below = Path::new(own).strip_prefix(self.root).ok()?;
        Some(Path::new(self.point).join(below))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
29 25 0:25 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio
30 25 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
31 25 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct
32 25 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";

    #[test]
    fn controllers_are_found_where_they_are_mounted() {
        let memberships = "5:blkio:/\n4:memory:/a\n3:cpu,cpuacct:/\n0::/b\n";
        let places = places(memberships, HYBRID, |folder| {
            assert_eq!(folder, Path::new("/sys/fs/cgroup/unified/b"));
            "pids\n".to_string()
        });
        let found: Vec<String> = places
            .iter()
            .map(|place| format!("{} {}", place.controller, place.folder.display()))
            .collect();
        let expected = [
            "io /sys/fs/cgroup/blkio/",
            "memory /sys/fs/cgroup/memory/a",
            "cpu /sys/fs/cgroup/cpu/",
            "cpuacct /sys/fs/cgroup/cpu/",
            "pids /sys/fs/cgroup/unified/b",
        ];
        assert_eq!(found, expected);
        assert_eq!(
            layout(HYBRID, &places).to_string(),
            "ok       cgroups: hybrid (v1 and v2) with io, memory, cpu, cpuacct, pids"
        );
    }

    #[test]
    fn a_missing_controller_is_said_with_its_remedy() {
        let memory = Place { controller: "memory".into(), folder: "/x".into() };
        let findings: Vec<String> = lacking(&[memory]).iter().map(ToString::to_string).collect();
        assert!(findings[0].starts_with("missing  cgroups: no pids controller; "), "{findings:?}");
        assert_eq!(findings[1], "limited  cgroups: no cpu controller, so --cpus will be refused");
    }
}
