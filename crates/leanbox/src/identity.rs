//! Who the program is inside: an image's `USER` resolved against the image's own
//! `/etc/passwd` and `/etc/group` (OCI image specification, "User").

use crate::{Error, ErrorKind, Result, Rootfs};

/// Numbers inside the slot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    /// The home folder, where `/etc/passwd` knows one.
    pub(crate) home: Option<String>,
}

/// The last id a container may be: the one after it is the launcher's.
const ID_LAST: u32 = leanbox_launcher::wire::LAUNCHER_ID - 1;

impl Identity {
    /// Resolves `""`, `name`, `uid`, `name:group` or `uid:gid`.
    pub(crate) fn resolve(spec: &str, rootfs: &Rootfs) -> Result<Self> {
        let passwd = rootfs.read("etc/passwd").unwrap_or_default();
        let group = rootfs.read("etc/group").unwrap_or_default();
        Self::from_files(spec, &passwd, &group)
            .map_err(|error| error.during(format!("user {spec:?} of {}", rootfs.display())))
    }

    fn from_files(spec: &str, passwd: &str, group: &str) -> Result<Self> {
        let (user, wanted_group) = spec.split_once(':').map_or((spec, None), |(u, g)| (u, Some(g)));
        let user = if user.is_empty() { "0" } else { user };
        let number = user.parse::<u32>().ok();
        let entry = lines(passwd).find(|fields| match number {
            Some(uid) => field(fields, 2) == Some(uid),
            None => fields.first() == Some(&user),
        });
        let uid = match (&entry, number) {
            (Some(fields), _) => field(fields, 2),
            (None, Some(uid)) => Some(uid),
            (None, None) => None,
        };
        let uid = uid.ok_or_else(|| missing(user, "/etc/passwd"))?;
        let gid = match wanted_group {
            Some(name) => resolve_group(name, group)?,
            None => entry.as_ref().and_then(|fields| field(fields, 3)).unwrap_or(0),
        };
        let name = entry.as_ref().and_then(|fields| fields.first().copied());
        let groups = if wanted_group.is_some() { Vec::new() } else { member_of(name, group) };
        let home = entry.and_then(|fields| fields.get(5).map(ToString::to_string));
        if uid > ID_LAST || gid > ID_LAST {
            return Err(Error::invalid(format!("{uid}:{gid}: ids inside go up to {ID_LAST}")));
        }
        Ok(Self { uid, gid, groups, home })
    }
}

fn lines(file: &str) -> impl Iterator<Item = Vec<&str>> {
    file.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(':').collect())
}

fn field(fields: &[&str], index: usize) -> Option<u32> {
    fields.get(index)?.trim().parse().ok()
}

fn missing(name: &str, file: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("no {name:?} in its {file}"))
        .remedy("name a user of the image, or a number")
}

fn resolve_group(name: &str, group: &str) -> Result<u32> {
    if let Ok(gid) = name.parse() {
        return Ok(gid);
    }
    lines(group)
        .find(|fields| fields.first() == Some(&name))
        .and_then(|fields| field(&fields, 2))
        .ok_or_else(|| missing(name, "/etc/group"))
}

fn member_of(name: Option<&str>, group: &str) -> Vec<u32> {
    let Some(name) = name else { return Vec::new() };
    lines(group)
        .filter(|fields| fields.get(3).is_some_and(|members| members.split(',').any(|m| m == name)))
        .filter_map(|fields| field(&fields, 2))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n";
    const GROUP: &str = "root:x:0:\napp:x:1001:\nvideo:x:44:app,other\n";

    #[test]
    fn a_name_brings_its_groups_and_home() {
        let app = Identity::from_files("app", PASSWD, GROUP).unwrap();
        let groups = vec![44];
        assert_eq!(app, Identity { uid: 1000, gid: 1001, groups, home: Some("/home/app".into()) });
    }

    #[test]
    fn numbers_need_no_entry() {
        let one = Identity::from_files("7:8", "", "").unwrap();
        assert_eq!((one.uid, one.gid), (7, 8));
        assert_eq!(Identity::from_files("", "", "").unwrap(), Identity::default());
    }

    #[test]
    fn unknown_names_and_the_launchers_id_are_refused() {
        assert!(Identity::from_files("nobody", PASSWD, GROUP).is_err());
        assert!(Identity::from_files("app:none", PASSWD, GROUP).is_err());
        assert!(Identity::from_files("65535", PASSWD, GROUP).is_err());
    }
}
