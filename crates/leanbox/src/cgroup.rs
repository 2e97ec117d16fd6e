//! Resource groups (cgroups): what bounds a slot's use and counts it.
//!
//! In: [`Limits`], and where this process stands in the kernel's hierarchies. Out: a [`Group`]
//! per slot with what a launcher needs to join it, its counters, and its removal. Works on
//! cgroup v1, v2 and hybrids (cgroups(7); the kernel's `admin-guide/cgroup-v1`, `cgroup-v2.rst`).
//! Never: moves a process, or touches a group that is not below its own [`Parent`]; only
//! [`remove_tree`] kills, and only in the folder it is given.
//!
//! ```text
//! Layout   which hierarchy serves what, and where we stand in each
//!  └ Parent   one folder per owner process in each of them
//!     └ Group   one folder per slot below that
//! ```

mod file;
mod group;
mod layout;
mod plan;
mod remove;
mod subtree;
mod usage;

#[cfg(test)]
mod tests;

pub(crate) use group::Group;
pub(crate) use layout::Layout;
pub(crate) use remove::remove_tree;
pub(crate) use usage::Baseline;

use crate::{Error, Limits, Result};
use layout::{Hierarchy, Version};
use std::path::PathBuf;

/// One owner process's folder in each hierarchy that is used; the slots' groups are below it.
#[derive(Debug)]
pub(crate) struct Parent {
    places: Vec<Hierarchy>,
}

impl Parent {
    /// Makes the folders `name` inside our own group of each hierarchy, and on v2 hands the
    /// controllers down to them.
    ///
    /// # Errors
    /// `Unsupported` with the remedy where v2 cannot hand controllers down because our own group
    /// holds processes; else the call that failed, with its path. Nothing is left behind.
    pub(crate) fn create(layout: &Layout, name: &str) -> Result<Self> {
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return Err(Error::invalid(format!("{name:?} is not a name for a resource group")));
        }
        let mut parent = Self { places: Vec::with_capacity(layout.hierarchies.len()) };
        for hierarchy in &layout.hierarchies {
            let home = match hierarchy.version {
                Version::V1 => hierarchy.folder.clone(),
                Version::V2 => subtree::home(hierarchy)?,
            };
            let folder = home.join(name);
            file::make_folder(&folder)?;
            // recorded before anything else can fail, so that dropping removes it
            parent.places.push(Hierarchy { folder, ..*hierarchy });
            if let (Version::V2, Some(place)) = (hierarchy.version, parent.places.last()) {
                subtree::enable(&place.folder, &place.roles.always_on())?;
            }
        }
        Ok(parent)
    }

    /// The folders, for the owner's record: what [`remove_tree`] takes when the owner is dead.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.places.iter().map(|place| place.folder.clone()).collect()
    }

    /// Makes the group `name` with `limits`.
    ///
    /// # Errors
    /// The call that failed, with its path; `Unsupported` if a CPU limit is asked and no
    /// hierarchy has the cpu controller. Nothing is left behind.
    pub(crate) fn group(&self, name: &str, limits: &Limits) -> Result<Group> {
        Group::create(&self.places, name, limits)
    }
}

impl Drop for Parent {
    /// Removes the folders. Whoever held processes in them has killed those before; what is
    /// still busy after the bound of `remove` stays for the next owner's reclaim.
    fn drop(&mut self) {
        for place in &self.places {
            let _ = remove::remove_folders(&place.folder);
        }
    }
}
