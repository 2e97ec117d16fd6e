//! Where this process stands in the kernel's hierarchies, and which of them serves what.
//!
//! In: `/proc/self/cgroup` and `/proc/self/mountinfo` (cgroups(7), proc(5)). Out: the folder of
//! our own group in each hierarchy we need. Never: assumes a mount point, or writes.

use super::caller::Place;
pub(crate) use super::roles::Roles;
use super::{file, subtree};
use crate::{Error, ErrorKind, Limits, Result, probe, userns};
use rustix::fs::Access;
use std::path::{Component, Path, PathBuf};

/// What an ordinary user can do where no group is at hand.
pub(super) const REMEDY_OF_USERS: &str = "have one delegated: systemd-run --user --scope \
    -p Delegate=yes …; or go without limits (--cgroups disabled)";

/// The two interfaces of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

/// One hierarchy and a folder in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    pub(crate) version: Version,
    pub(crate) roles: Roles,
    pub(crate) folder: PathBuf,
}

/// The hierarchies that are needed, with the folder of our own group in each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) hierarchies: Vec<Hierarchy>,
    /// Where processes can be frozen: v1's freezer, else v2.
    pub(crate) freezer: Option<Hierarchy>,
}

impl Layout {
    /// Reads this process's place.
    ///
    /// # Errors
    /// `Unsupported` if there is no memory or no pids controller in any mounted hierarchy.
    pub(crate) fn detect() -> Result<Self> {
        let memberships = file::read(Path::new("/proc/self/cgroup"))?;
        let mountinfo = file::read(Path::new("/proc/self/mountinfo"))?;
        let v1_freezer = !probe::is_off("freezer");
        let controllers = subtree::controllers_for;
        if userns::is_machine_root() {
            return Self::from_texts(&memberships, &mountinfo, v1_freezer, controllers, |_| true);
        }
        let ours = |own: &Path| rustix::fs::access(own, Access::WRITE_OK).is_ok();
        Self::from_texts(&memberships, &mountinfo, v1_freezer, controllers, ours)
    }

    /// For those who go without.
    pub(crate) fn none() -> Self {
        Self { hierarchies: Vec::new(), freezer: None }
    }

    /// Our own group of v2; `None` where v1 limits memory, or no mount shows it.
    pub(super) fn own_v2() -> Result<Option<Place>> {
        let memberships = file::read(Path::new("/proc/self/cgroup"))?;
        let lines = || memberships.lines().filter_map(Membership::parse);
        let Some(own) = lines().find(|one| one.controllers.is_empty()) else { return Ok(None) };
        if lines().any(|one| one.has("memory")) {
            return Ok(None);
        }
        let mountinfo = file::read(Path::new("/proc/self/mountinfo"))?;
        let mounts: Vec<Mount> = mountinfo.lines().filter_map(Mount::parse).collect();
        let found = own.locate(&mounts, &|_| String::new());
        Ok(found.map(|one| Place { path: own.path.to_string(), folder: one.folder }))
    }

    /// As [`detect`](Self::detect) from given texts; `v2_controllers` tells what a v2 group may use,
    /// `usable` where we may make groups.
    fn from_texts(
        memberships: &str,
        mountinfo: &str,
        v1_freezer: bool,
        v2_controllers: impl Fn(&Path) -> String,
        usable: impl Fn(&Path) -> bool,
    ) -> Result<Self> {
        let mounts: Vec<Mount> = mountinfo.lines().filter_map(Mount::parse).collect();
        let mut found: Vec<(bool, Hierarchy)> = memberships
            .lines()
            .filter_map(Membership::parse)
            .filter_map(|membership| {
                let place = membership.locate(&mounts, &v2_controllers)?;
                if !usable(&place.folder) {
                    return None;
                }
                let freezes = match place.version {
                    Version::V1 => v1_freezer && membership.has("freezer"),
                    Version::V2 => true,
                };
                Some((freezes, place))
            })
            .collect();
        // v1 first: where it is mounted it has the controllers
        found.sort_by_key(|(_, hierarchy)| hierarchy.version == Version::V2);
        let freezer = found.iter().find(|(freezes, _)| *freezes).map(|(_, place)| place.clone());
        let found = found.into_iter().map(|(_, place)| place).collect();
        let layout = Self { hierarchies: share_out(found), freezer };
        layout.check()
    }

    /// Without what no limit needs: each hierarchy costs a start.
    pub(crate) fn needed_for(mut self, limits: &Limits) -> Self {
        let needed = Roles::needed_for(limits);
        for Hierarchy { roles, .. } in &mut self.hierarchies {
            roles.cpu &= needed.cpu;
            roles.cpuset &= needed.cpuset;
            roles.io &= needed.io;
        }
        self.hierarchies.retain(|place| place.roles != Roles::default());
        self
    }

    fn check(self) -> Result<Self> {
        let serves = |role: fn(&Roles) -> bool| self.hierarchies.iter().any(|one| role(&one.roles));
        for (name, there) in
            [("memory", serves(|roles| roles.memory)), ("pids", serves(|roles| roles.pids))]
        {
            if !there {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("no mounted cgroup hierarchy lets us use the {name} controller"),
                )
                .remedy(match userns::is_machine_root() {
                    true => "mount one, or have it delegated: systemd-run -p Delegate=yes …",
                    false => REMEDY_OF_USERS,
                }));
            }
        }
        Ok(self)
    }
}

/// Gives each role to the first hierarchy that has it, and drops those left with none.
fn share_out(found: Vec<Hierarchy>) -> Vec<Hierarchy> {
    let mut taken = Roles::default();
    // true once for each role, for the first that offers it
    let first = |offered: bool, taken: &mut bool| offered && !std::mem::replace(taken, true);
    let mut claim = |offers: Roles| Roles {
        memory: first(offers.memory, &mut taken.memory),
        pids: first(offers.pids, &mut taken.pids),
        cpu: first(offers.cpu, &mut taken.cpu),
        cpu_time: first(offers.cpu_time, &mut taken.cpu_time),
        cpuset: first(offers.cpuset, &mut taken.cpuset),
        io: first(offers.io, &mut taken.io),
    };
    let shared = found.into_iter().map(|one| Hierarchy { roles: claim(one.roles), ..one });
    shared.filter(|one| one.roles != Roles::default()).collect()
}

/// A line of `/proc/self/cgroup`: `4:memory:/user`, `0::/init.scope`.
struct Membership<'a> {
    controllers: &'a str,
    path: &'a str,
}

impl<'a> Membership<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        path.starts_with('/').then_some(Self { controllers, path })
    }

    fn has(&self, controller: &str) -> bool {
        self.controllers.split(',').any(|one| one == controller)
    }

    fn locate(
        &self,
        mounts: &[Mount],
        v2_controllers: &impl Fn(&Path) -> String,
    ) -> Option<Hierarchy> {
        let version = if self.controllers.is_empty() { Version::V2 } else { Version::V1 };
        let folder = mounts
            .iter()
            .filter(|mount| mount.serves(version, self.controllers))
            .find_map(|mount| mount.folder_of(self.path))?;
        let roles = match version {
            Version::V1 => Roles::of_v1(|name| self.has(name)),
            Version::V2 => Roles::of_v2(&v2_controllers(&folder)),
        };
        Some(Hierarchy { version, roles, folder })
    }
}

/// A mounted hierarchy: a line of `/proc/self/mountinfo` of type cgroup or cgroup2.
struct Mount {
    version: Version,
    /// The group that the mount shows as its top.
    root: PathBuf,
    point: PathBuf,
    options: String,
}

impl Mount {
    /// `36 31 0:33 /ROOT /POINT rw,relatime … - cgroup cgroup rw,memory`
    fn parse(line: &str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, point) = (unescape(left.next()?), unescape(left.next()?));
        let mut right = right.split(' ');
        let version = match right.next()? {
            "cgroup" => Version::V1,
            "cgroup2" => Version::V2,
            _ => return None,
        };
        let options = right.nth(1).unwrap_or_default().to_string();
        Some(Self { version, root, point, options })
    }

    /// Whether this is a mount of the hierarchy with these v1 controllers, or of v2's only one.
    fn serves(&self, version: Version, controllers: &str) -> bool {
        let has = |name| self.options.split(',').any(|option| option == name);
        self.version == version && (version == Version::V2 || controllers.split(',').all(has))
    }

    /// Where the group `path` is seen, if this mount shows it. In a container the mount's root
    /// is the container's own group, and so is the start of `path`; a `..` in either is a group
    /// outside our cgroup namespace, whose folder cannot be known.
    fn folder_of(&self, path: &str) -> Option<PathBuf> {
        let inside = Path::new(path).strip_prefix(&self.root).ok()?;
        let plain = inside.components().all(|part| matches!(part, Component::Normal(_)));
        let outside = self.root.components().any(|part| part == Component::ParentDir);
        let folder = if inside.as_os_str().is_empty() {
            self.point.clone() // a join would leave a slash at the end
        } else {
            self.point.join(inside)
        };
        (plain && !outside).then_some(folder)
    }
}

/// mountinfo writes blank, tab, newline and backslash as three octal digits.
pub(crate) fn unescape(text: &str) -> PathBuf {
    let pairs = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    pairs.iter().fold(text.to_string(), |text, (code, plain)| text.replace(code, plain)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Roles =
        Roles { memory: false, pids: false, cpu: false, cpu_time: false, cpuset: false, io: false };
    const ONLY_MEMORY: Roles = Roles { memory: true, ..NONE };
    const ONLY_PIDS: Roles = Roles { pids: true, ..NONE };
    const ONLY_CPU: Roles = Roles { cpu: true, ..NONE };
    const ONLY_TIME: Roles = Roles { cpu_time: true, ..NONE };
    const ONLY_CPUSET: Roles = Roles { cpuset: true, ..NONE };
    const BOTH_CPU: Roles = Roles { cpu: true, cpu_time: true, ..NONE };
    const USUAL: Roles = Roles { memory: true, pids: true, cpu: true, cpu_time: true, ..NONE };
    const ALL: Roles = Roles { cpuset: true, io: true, ..USUAL };

    const HYBRID_CGROUP: &str = "\
9:name=systemd:/
8:pids:/
7:blkio:/
4:memory:/jobs/85c3
3:cpuset:/
2:cpuacct:/
1:cpu:/
0::/
";
    const HYBRID_MOUNTS: &str = "\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    fn layout(cgroup: &str, mounts: &str, v2: &str) -> Result<Vec<(Version, Roles, String)>> {
        let layout = Layout::from_texts(cgroup, mounts, true, |_| v2.to_string(), |_| true)?;
        let flat = |one: Hierarchy| (one.version, one.roles, one.folder.display().to_string());
        Ok(layout.hierarchies.into_iter().map(flat).collect())
    }

    fn v1(roles: Roles, folder: &str) -> (Version, Roles, String) {
        (Version::V1, roles, folder.to_string())
    }

    fn v2(roles: Roles, folder: &str) -> (Version, Roles, String) {
        (Version::V2, roles, folder.to_string())
    }

    #[test]
    fn a_hybrid_uses_v1_apart_and_leaves_a_v2_that_has_only_hugetlb() {
        let wanted = vec![
            v1(ONLY_PIDS, "/sys/fs/cgroup/pids"),
            v1(ONLY_MEMORY, "/sys/fs/cgroup/memory/jobs/85c3"),
            v1(ONLY_CPUSET, "/sys/fs/cgroup/cpuset"),
            v1(ONLY_TIME, "/sys/fs/cgroup/cpuacct"),
            v1(ONLY_CPU, "/sys/fs/cgroup/cpu"),
        ];
        assert_eq!(layout(HYBRID_CGROUP, HYBRID_MOUNTS, "hugetlb\n").unwrap(), wanted);
    }

    #[test]
    fn plain_v2_serves_everything_from_one_folder() {
        let mounts = "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
        let found = layout("0::/system.slice/a.service\n", mounts, "cpuset cpu io memory pids\n");
        assert_eq!(found.unwrap(), vec![v2(ALL, "/sys/fs/cgroup/system.slice/a.service")]);
    }

    #[test]
    fn combined_mounts_inside_a_container_show_our_group_as_their_top() {
        let cgroup = "\
6:cpu,cpuacct:/docker/3f0a
5:memory:/docker/3f0a/inner
4:pids:/docker/3f0a
1:name=systemd:/docker/3f0a
";
        let mounts = "\
700 690 0:29 /docker/3f0a /sys/fs/cgroup/cpu,cpuacct ro master:11 - cgroup cgroup rw,cpu,cpuacct
701 690 0:32 /docker/3f0a /sys/fs/cgroup/memory ro master:12 - cgroup cgroup rw,memory
702 690 0:36 /docker/3f0a /sys/fs/cgroup/pids ro master:13 - cgroup cgroup rw,pids
";
        let wanted = vec![
            v1(BOTH_CPU, "/sys/fs/cgroup/cpu,cpuacct"),
            v1(ONLY_MEMORY, "/sys/fs/cgroup/memory/inner"),
            v1(ONLY_PIDS, "/sys/fs/cgroup/pids"),
        ];
        assert_eq!(layout(cgroup, mounts, "").unwrap(), wanted);
    }

    #[test]
    fn v2_fills_in_for_what_v1_lacks() {
        let cgroup = "5:memory:/\n0::/box\n";
        let mounts = "\
35 31 0:32 / /mnt/memory rw - cgroup cgroup rw,memory
41 31 0:38 / /mnt/all\\040others rw - cgroup2 none rw,nsdelegate
";
        let rest = Roles { memory: false, ..USUAL };
        let wanted = vec![v1(ONLY_MEMORY, "/mnt/memory"), v2(rest, "/mnt/all others/box")];
        assert_eq!(layout(cgroup, mounts, "cpu memory pids").unwrap(), wanted);
    }

    #[test]
    fn a_mount_that_does_not_show_our_group_is_passed_over() {
        let cgroup = "0::/user/me\n";
        let mounts = "\
50 1 0:26 /other /mnt/other rw - cgroup2 cgroup2 rw
51 1 0:26 /../.. /mnt/above rw - cgroup2 cgroup2 rw
52 1 0:26 /user /mnt/user rw - cgroup2 cgroup2 rw
";
        let found = layout(cgroup, mounts, "cpu memory pids").unwrap();
        assert_eq!(found, vec![v2(USUAL, "/mnt/user/me")]);
        assert!(layout("0::/../elsewhere\n", mounts, "cpu memory pids").is_err());
    }

    #[test]
    fn without_a_controller_we_need_it_is_unsupported_and_says_which() {
        let mounts = "29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let error = layout("0::/\n", mounts, "cpu memory").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("the pids controller"), "{error}");
        assert_eq!(layout("", "", "").unwrap_err().kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn lines_that_make_no_sense_are_passed_over() {
        let cgroup = format!("\nx\n1:2\n:::\n{HYBRID_CGROUP}");
        let mounts = format!("\n - \n1 2 3 - cgroup\n{HYBRID_MOUNTS}");
        assert!(layout(&cgroup, &mounts, "").is_ok());
    }

    #[test]
    fn this_machine_has_a_layout_whose_folders_are_there() {
        for hierarchy in Layout::detect().unwrap().hierarchies {
            assert!(hierarchy.folder.join("cgroup.procs").exists(), "{:?}", hierarchy.folder);
        }
    }
}
