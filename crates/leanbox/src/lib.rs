//! Isolated Linux containers that start at the price of a fork.
//!
//! A root file system ([`Rootfs`]) and [`Limits`] make a [`Template`]; a [`Pool`] of it keeps
//! slots ready; a [`Command`] started in one is a [`Container`]; its end is an [`Outcome`]. Who
//! knows `std::process` knows the rest:
//!
//! ```no_run
//! use leanbox::{Command, Pool, Rootfs, Template};
//!
//! let template = Template::builder(Rootfs::open("/srv/rootfs")?).build()?;
//! let pool = Pool::new(&template, 4)?;
//! let outcome = Command::new("python3").arg("hello.py").output(&pool)?;
//! assert!(outcome.success());
//! # Ok::<(), leanbox::Error>(())
//! ```
#![deny(unsafe_code)]

mod capability;
mod cgroup;
mod command;
mod container;
mod crowd;
mod deadline;
mod error;
mod explain;
mod filter;
pub mod floor;
mod fork;
mod identity;
mod image_config;
mod keeper;
mod limits;
mod mailbox;
mod making;
mod message;
mod mounts;
mod network;
mod outcome;
mod owner;
mod packet;
mod places;
mod plan;
mod policy;
mod pool;
pub mod probe;
mod process;
mod recipe;
mod rootfs;
mod security;
mod shifted;
mod slot;
mod stats;
mod stdio;
mod template;
mod thread;
mod told;
mod tool;
mod traces;
mod upper;
mod userns;

pub use capability::Capability;
pub use cgroup::make_room_for_groups;
pub use command::Command;
pub use container::Container;
pub use container::files::{FileOwner, FileStat, Files};
pub use error::{Error, ErrorKind, Result};
pub use explain::{Explanation, Lift, Reason, Refusal};
pub use filter::{Profile, default_filter};
pub use fork::{Forked, ForkedChild, Inside};
pub use image_config::ImageConfig;
pub use limits::{
    BlockDevice, IdList, IoLimit, Limits, LimitsChange, Rlimit, parse_bytes, parse_cpus,
};
pub use mounts::{Bind, Device, Tmpfs};
pub use network::{Allow, Cidr, Nat, Network, PortProtocol, Publish};
pub use outcome::{Captured, Cause, End, Outcome};
pub use owner::{DeadOwner, dead_owners, reclaim, reclaim_dead_owners, state_folder};
pub use policy::Policy;
pub use pool::{Pool, PoolBuilder};
pub use process::{Exit, Process};
pub use rootfs::Rootfs;
pub use security::Security;
pub use stats::{
    CpuStats, IoStats, MemoryStats, Pressure, PressureShare, Stall, Stats, Throttling,
};
pub use stdio::Stdio;
pub use template::{Template, TemplateBuilder};
pub use userns::{check_subordinate_ids, enter_user_namespace, has_sys_admin, is_machine_root};
