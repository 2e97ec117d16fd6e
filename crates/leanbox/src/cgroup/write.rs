//! Putting limits on a group: a new one, or one that is in use.
//!
//! In: folders and settings. Out: all of them are written, or none is. Never: leaves out what this
//! kernel or machine cannot do; that is refused.

use super::file;
use super::layout::{Hierarchy, Roles, Version};
use super::plan::{Setting, Without};
use crate::{Error, ErrorKind, IdList, Limits, Result};
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// Refuses what no hierarchy of `places` can do. `running`: these are a running container's.
pub(super) fn check(places: &[Hierarchy], limits: &Limits, running: bool) -> Result<()> {
    let needed = Roles::needed_for(limits);
    let has = |role: fn(&Roles) -> bool| places.iter().any(|place| role(&place.roles));
    let controllers = [
        (needed.cpu && !has(|roles| roles.cpu), "cpu", "a cpu limit or weight"),
        (needed.cpuset && !has(|roles| roles.cpuset), "cpuset", "a cpuset"),
        (needed.io && !has(|roles| roles.io), "io (v1: blkio)", "block I/O limits"),
    ];
    if let Some((_, name, what)) = controllers.iter().find(|(is_missing, ..)| *is_missing) {
        if running {
            let text = format!("the container is in no group of the {name} controller");
            let remedy = format!(
                "its slot is, where there is one, if the template is updatable or has {what}"
            );
            return Err(Error::new(ErrorKind::Unsupported, text).remedy(remedy));
        }
        let text = format!("no mounted cgroup hierarchy lets us use the {name} controller");
        let remedy = format!("leave out {what}, or have it mounted or delegated");
        return Err(Error::new(ErrorKind::Unsupported, text).remedy(remedy));
    }
    if limits.io_weight.is_some() {
        check_io_weight(places, Path::new("/sys/block"))?;
    }
    Ok(())
}

/// A weight that no disk heeds would be ignored.
fn check_io_weight(places: &[Hierarchy], disks: &Path) -> Result<()> {
    let disks = std::fs::read_dir(disks).into_iter().flatten().flatten();
    let uses_bfq = |disk: &Path| {
        let scheduler = std::fs::read_to_string(disk.join("queue/scheduler"));
        scheduler.is_ok_and(|text| text.contains("[bfq]"))
    };
    let mut paths = disks.map(|disk| disk.path());
    if paths.any(|disk| uses_bfq(&disk)) || has_cost_model(places) {
        return Ok(());
    }
    let text = "I/O weight: no disk of this machine heeds weights";
    Err(Error::new(ErrorKind::Unsupported, text)
        .remedy("echo bfq > /sys/block/DISK/queue/scheduler, or on v2 enable io.cost.qos"))
}

/// `io.cost.qos` is in the topmost group alone.
fn has_cost_model(places: &[Hierarchy]) -> bool {
    let v2 = places.iter().find(|place| place.version == Version::V2 && place.roles.io);
    let mut above = v2.into_iter().flat_map(|place| place.folder.ancestors());
    let text = above.find_map(|folder| std::fs::read_to_string(folder.join("io.cost.qos")).ok());
    text.is_some_and(|text| text.contains("enable=1"))
}

/// In v1 a new group has no CPUs and no memory, and nobody can join it: it gets its parent's,
/// unless `limits` say which.
pub(super) fn fill_cpuset(place: &Hierarchy, limits: Option<&Limits>) -> Result<()> {
    if !place.roles.cpuset || place.version == Version::V2 {
        return Ok(());
    }
    let given =
        |list: fn(&Limits) -> &Option<IdList>| limits.is_some_and(|own| list(own).is_some());
    let files = [
        ("cpuset.cpus", given(|limits| &limits.cpuset_cpus)),
        ("cpuset.mems", given(|limits| &limits.cpuset_mems)),
    ];
    for (name, _) in files.into_iter().filter(|(_, is_given)| !is_given) {
        let above = place.folder.parent().unwrap_or(&place.folder);
        let text = file::read(&above.join(effective(place.version, name)))?;
        file::write(&place.folder.join(name), text.trim())?;
    }
    Ok(())
}

fn effective(version: Version, name: &str) -> String {
    match (version, name.strip_prefix("cpuset.").unwrap_or(name)) {
        (Version::V1, what) => format!("cpuset.effective_{what}"),
        (Version::V2, what) => format!("cpuset.{what}.effective"),
    }
}

/// Has a cpuset of v2 hold for those who were cloned into it, whom the kernel leaves on the CPUs of
/// their maker before Linux 6.4 ("cgroup/cpuset: Make cpuset_fork() handle CLONE_INTO_CGROUP
/// properly"). Only what changes is carried out.
pub(super) fn renew_cpuset(place: &Hierarchy) -> Result<()> {
    if !place.roles.cpuset || place.version == Version::V1 {
        return Ok(());
    }
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let own = file::read(&place.folder.join(name))?;
        if !own.trim().is_empty() {
            let above = place.folder.parent().unwrap_or(&place.folder);
            let all = file::read(&above.join(effective(place.version, name)))?;
            file::write(&place.folder.join(name), all.trim())?;
            file::write(&place.folder.join(name), own.trim())?;
        }
    }
    Ok(())
}

/// v2 takes any number, and uses what it has; v1 says EACCES.
pub(super) fn check_cpuset(place: &Hierarchy, limits: &Limits) -> Result<()> {
    if !place.roles.cpuset {
        return Ok(());
    }
    let lists = [
        ("cpuset.cpus", "cpus", &limits.cpuset_cpus),
        ("cpuset.mems", "memory nodes", &limits.cpuset_mems),
    ];
    for (name, what, list) in lists {
        let Some(list) = list else { continue };
        let above = place.folder.parent().unwrap_or(&place.folder);
        let text = file::read(&above.join(effective(place.version, name)))?;
        let Ok(allowed) = text.trim().parse() else { continue };
        if let Some(missing) = list.without(&allowed) {
            let text =
                format!("{what} {list}: {missing} cannot be had: there are {allowed} for us");
            return Err(Error::invalid(text));
        }
    }
    Ok(())
}

/// Writes one setting.
pub(super) fn write(folder: &Path, setting: &Setting) -> Result<()> {
    let Setting { file, value, without } = setting;
    if *without == Without::Fails {
        return file::write(&folder.join(file), value).map_err(explain);
    }
    let written = file::write_if_there(&folder.join(file), value).map_err(explain)?;
    match without {
        Without::Refused(what, remedy) if !written => {
            Err(Error::new(ErrorKind::Unsupported, *what).remedy(remedy))
        }
        Without::Takes(other) if !written => file::write(&folder.join(other), value),
        _ => Ok(()),
    }
}

/// What the kernel says where something does not go now.
fn explain(error: Error) -> Error {
    match error.errno().map(Errno::from_raw_os_error) {
        Some(Errno::BUSY) => error.remedy("more is in use than that"),
        _ => error,
    }
}

/// Writes settings to a group that is in use: all, or what was written becomes again what it was.
pub(super) fn write_all(changes: &[(PathBuf, Setting)]) -> Result<()> {
    let mut undo: Vec<(PathBuf, String)> = Vec::new();
    for (folder, setting) in changes {
        let path = folder.join(setting.file);
        let before = file::read(&path).ok().and_then(|text| value_before(&text, setting));
        if let Err(error) = write(folder, setting) {
            for (path, value) in undo.into_iter().rev() {
                let _ = file::write(&path, &value);
            }
            return Err(error);
        }
        undo.extend(before.map(|value| (path, value)));
    }
    Ok(())
}

/// What to write to have again what a file says now.
fn value_before(text: &str, setting: &Setting) -> Option<String> {
    let (device, rest) = setting.value.split_once(' ').unwrap_or((&setting.value, ""));
    if !device.contains(':') {
        // `io.weight` and bfq's: the default's line first.
        return text.lines().next().map(|line| line.trim().to_string());
    }
    let line = text.lines().find(|line| line.split(' ').next() == Some(device));
    line.map(str::to_string).or_else(|| match rest.contains('=') {
        true => Some(format!("{device} rbps=max wbps=max riops=max wiops=max")),
        false => Some(format!("{device} 0")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A group of files in place of the kernel's, below a folder that stands for its parent.
    struct Fake(PathBuf, Hierarchy);

    impl Drop for Fake {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn fake(name: &str, version: Version, files: &[(&str, &str)]) -> Fake {
        let top = std::env::temp_dir().join(format!("leanbox-{name}-{}", std::process::id()));
        let folder = top.join("group");
        std::fs::create_dir_all(&folder).unwrap();
        for (file, text) in files {
            std::fs::write(top.join(file), text).unwrap();
        }
        let roles = Roles { cpuset: true, io: true, ..Roles::default() };
        Fake(top, Hierarchy { version, roles, folder })
    }

    fn text(fake: &Fake, file: &str) -> String {
        std::fs::read_to_string(fake.0.join(file)).unwrap()
    }

    fn setting(file: &'static str, value: &str, without: Without) -> Setting {
        Setting { file, value: value.into(), without }
    }

    #[test]
    fn a_v1_group_without_cpus_gets_its_parents() {
        let files = [
            ("cpuset.effective_cpus", "0-3\n"),
            ("cpuset.effective_mems", "0\n"),
            ("group/cpuset.cpus", ""),
            ("group/cpuset.mems", ""),
        ];
        let group = fake("fill", Version::V1, &files);
        let limits = Limits { cpuset_cpus: Some("1".parse().unwrap()), ..Limits::default() };
        fill_cpuset(&group.1, Some(&limits)).unwrap();
        assert_eq!(text(&group, "group/cpuset.cpus"), "", "it has its own");
        assert_eq!(text(&group, "group/cpuset.mems"), "0");
        fill_cpuset(&group.1, None).unwrap();
        assert_eq!(text(&group, "group/cpuset.cpus"), "0-3");
    }

    #[test]
    fn cpus_that_are_not_there_are_refused_by_number() {
        let v1 = [("cpuset.effective_cpus", "0-1\n")];
        let v2 = [("cpuset.cpus.effective", "0-1\n")];
        for (version, files) in [(Version::V1, v1), (Version::V2, v2)] {
            let group = fake("cpus", version, &files);
            let with = |list: &str| {
                let limits = Limits { cpuset_cpus: list.parse().ok(), ..Limits::default() };
                check_cpuset(&group.1, &limits)
            };
            with("1").unwrap();
            let line = with("1-3").unwrap_err().to_string();
            assert_eq!(line, "cpus 1-3: 2-3 cannot be had: there are 0-1 for us");
        }
    }

    #[test]
    fn a_controller_that_nobody_has_is_refused_by_name() {
        let limits = Limits { cpuset_cpus: "0".parse().ok(), ..Limits::default() };
        let error = check(&[], &limits, false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("the cpuset controller; leave out"), "{error}");
    }

    #[test]
    fn a_weight_is_refused_where_no_disk_heeds_it() {
        let off = [("io.cost.qos", "8:0 enable=0 ctrl=auto\n")];
        let group = fake("weight", Version::V2, &off);
        let places = std::slice::from_ref(&group.1);
        let disks = group.0.join("disks");
        std::fs::create_dir_all(disks.join("sda/queue")).unwrap();
        std::fs::write(disks.join("sda/queue/scheduler"), "[none] bfq\n").unwrap();
        assert_eq!(check_io_weight(places, &disks).unwrap_err().kind(), ErrorKind::Unsupported);
        std::fs::write(disks.join("sda/queue/scheduler"), "none [bfq]\n").unwrap();
        check_io_weight(places, &disks).unwrap();
        std::fs::write(disks.join("sda/queue/scheduler"), "[none] bfq\n").unwrap();
        std::fs::write(group.0.join("io.cost.qos"), "8:0 enable=1 ctrl=auto\n").unwrap();
        check_io_weight(places, &disks).unwrap();
    }

    #[test]
    fn what_was_written_before_a_refusal_is_undone() {
        let files = [("group/pids.max", "11\n"), ("group/io.max", "8:0 rbps=5 wbps=max\n")];
        let group = fake("undo", Version::V2, &files);
        let folder = group.1.folder.clone();
        let refused = Without::Refused("swap limit", "allow none");
        let changes = [
            (folder.clone(), setting("pids.max", "21", Without::Fails)),
            (folder.clone(), setting("io.max", "8:16 rbps=7", Without::Fails)),
            (folder, setting("memory.swap.max", "1", refused)),
        ];
        let error = write_all(&changes).unwrap_err();
        assert_eq!(error.to_string(), "swap limit; allow none");
        assert!(text(&group, "group/pids.max").starts_with("11"));
        // A file is written over from its start; the kernel's takes one device at a time.
        let undone = "8:16 rbps=max wbps=max riops=max wiops=max";
        assert!(text(&group, "group/io.max").starts_with(undone));
    }

    #[test]
    fn a_weight_goes_to_bfq_where_the_other_file_is_missing() {
        let group = fake("bfq", Version::V2, &[("group/io.bfq.weight", "default 100\n")]);
        let weight = setting("io.weight", "200", Without::Takes("io.bfq.weight"));
        write(&group.1.folder, &weight).unwrap();
        assert!(text(&group, "group/io.bfq.weight").starts_with("200"));
    }
}
