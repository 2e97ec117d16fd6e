//! Resource groups (cgroups): what bounds a slot's use and counts it.
//!
//! In: [`Limits`], and where this process stands in the kernel's hierarchies. Out: a [`Group`]
//! per slot with what a launcher needs to join it, its counters, and its removal. Works on
//! cgroup v1, v2 and hybrids (cgroups(7); the kernel's `admin-guide/cgroup-v1`, `cgroup-v2.rst`).
//! Never: moves a process, but to freeze it or when [asked](make_room_for_groups), or touches a
//! group that is not below its own [`Parent`]; only [`remove_tree`], [`Members`] and the
//! [`Freezer`] kill, and only in the folders they are given.
//!
//! ```text
//! Layout   which hierarchy serves what, and where we stand in each
//!  └ Parent   where one owner's groups are in each of them
//!     └ Group   one folder per slot there
//! ```

mod caller;
mod events;
mod file;
mod freezer;
mod given;
mod group;
mod layout;
mod members;
mod plan;
mod remove;
mod roles;
mod stats;
mod subtree;
mod usage;
mod write;

#[cfg(test)]
mod tests;

pub use caller::make_room_for_groups;
pub(crate) use freezer::Freezer;
pub(crate) use group::Group;
pub(crate) use layout::{Layout, unescape};
pub(crate) use members::{Members, pid_of};
pub(crate) use remove::remove_tree;
pub(crate) use usage::{Baseline, CpuMeter};

use crate::{Error, Limits, Result};
use layout::{Hierarchy, Version};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Where one owner's groups are: the first beside our own processes, the others in a folder per
/// hierarchy, made when the second group is. Most owners start one container, and each folder
/// costs 20 to 50 µs to make and as much to remove.
#[derive(Debug)]
pub(crate) struct Parent {
    homes: Vec<Hierarchy>,
    name: String,
    made: Mutex<Vec<Hierarchy>>,
    freezer: Option<Arc<freezer::Home>>,
}

impl Parent {
    /// Whether one of its hierarchies is cgroup v2, which a launcher has to be born in.
    pub(crate) fn has_v2(&self) -> bool {
        self.homes.iter().any(|home| home.version == Version::V2)
    }

    /// Finds the group to make ours in for each hierarchy, which on v2 hands its controllers
    /// down. `name` is that of the folders.
    ///
    /// # Errors
    /// `Unsupported` with the remedy where v2 cannot hand controllers down because our own group
    /// holds processes; else the call that failed, with its path.
    pub(crate) fn find(layout: &Layout, name: &str) -> Result<Self> {
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return Err(Error::invalid(format!("{name:?} is not a name for a resource group")));
        }
        let home = |hierarchy: &Hierarchy| {
            let folder = match hierarchy.version {
                Version::V1 => hierarchy.folder.clone(),
                Version::V2 => subtree::home(hierarchy)?,
            };
            Ok(Hierarchy { folder, ..*hierarchy })
        };
        let homes = layout.hierarchies.iter().map(home).collect::<Result<_>>()?;
        let freezer = layout.freezer.as_ref().map(|place| freezer::Home::new(place, name).into());
        Ok(Self { homes, name: name.to_string(), made: Mutex::default(), freezer })
    }

    /// Every folder that may come to be, for the owner's record: what [`remove_tree`] takes when
    /// the owner is dead. First the one for freezing: nothing frozen dies before that is thawed.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        let folders = |name: String| self.homes.iter().map(move |home| home.folder.join(&name));
        let freezer = self.freezer.iter().map(|home| home.folder().to_path_buf());
        freezer.chain(folders(self.name.clone())).chain(folders(self.first_name())).collect()
    }

    /// Makes the first group. There can be only one.
    ///
    /// # Errors
    /// As for [`group`](Self::group).
    pub(crate) fn first(&self, limits: &Limits) -> Result<Group> {
        Group::create(&self.homes, self.freezer.as_ref(), &self.first_name(), limits)
    }

    /// Makes the group `name` with `limits`.
    ///
    /// # Errors
    /// The call that failed, with its path; `Unsupported` if a CPU limit is asked and no
    /// hierarchy has the cpu controller. Nothing is left behind.
    pub(crate) fn group(&self, name: &str, limits: &Limits) -> Result<Group> {
        Group::create(&self.folders(limits)?, self.freezer.as_ref(), name, limits)
    }

    fn first_name(&self) -> String {
        format!("{}-first", self.name)
    }

    /// The folders of all groups but the first.
    fn folders(&self, limits: &Limits) -> Result<Vec<Hierarchy>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        for home in &self.homes[made.len()..] {
            let folder = home.folder.join(&self.name);
            file::make_folder(&folder)?;
            // noted before anything else can fail, so that dropping removes it
            made.push(Hierarchy { folder: folder.clone(), ..*home });
            if home.version == Version::V2 {
                subtree::enable(&folder, &home.roles.controllers())?;
            }
            let place = Hierarchy { folder, ..*home };
            write::fill_cpuset(&place, None)?;
            // They weigh against others what they weigh against each other.
            let settings = plan::settings(place.version, place.roles, limits);
            let mut weights = settings.iter().filter(|setting| plan::is_weight(setting));
            weights.try_for_each(|weight| write::write(&place.folder, weight))?;
        }
        Ok(made.clone())
    }
}

impl Drop for Parent {
    /// Removes the folders. Whoever held processes in them has killed those before; what is
    /// still busy after the bound of `remove` stays for the next owner's reclaim.
    fn drop(&mut self) {
        for place in self.made.get_mut().unwrap_or_else(PoisonError::into_inner) {
            let _ = remove::remove_folders(&place.folder);
        }
    }
}
