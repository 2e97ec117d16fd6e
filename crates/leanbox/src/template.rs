//! A template: everything decided and prepared before the first start — root, limits,
//! namespaces, identity, capabilities, filter — and the keeper that makes its slots.
//! Immutable once built.

mod security;

use crate::cgroup::{Group, Layout, Parent};
use crate::crowd::Crowd;
use crate::explain::Facts;
use crate::identity::Identity;
use crate::keeper::Keeper;
use crate::mailbox::Mailboxes;
use crate::making::Making;
use crate::network::{Attachment, Attachments};
use crate::owner::{self, Block, Owner};
use crate::places::Places;
use crate::plan::Plan;
use crate::policy::Policy;
use crate::pool::REAP_MS;
use crate::recipe::{self, Recipe};
use crate::security::Rights;
use crate::shifted;
use crate::slot::{Dying, Freed, Ground};
use crate::upper::{Turn, Upper};
use crate::{Error, ErrorKind, Limits, Network, Result, Rootfs, probe};
use leanbox_launcher::wire::{Ask, Request};
use rustix::io::Errno;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The number of the first slot.
const FIRST: u32 = 1;

/// What was made before anybody asked, for whoever comes first.
#[derive(Debug, Default)]
enum First {
    #[default]
    Taken,
    Group(Group),
    Slot(Making),
}

/// Builds a [`Template`].
#[derive(Debug)]
pub struct TemplateBuilder {
    pub(crate) recipe: Recipe,
}

/// A template, shared by whoever uses it; its keeper ends with the last user.
#[derive(Debug, Clone)]
pub struct Template {
    pub(crate) inner: Arc<Inner>,
}

/// Fields end in the order in which they stand: the groups before the record that speaks for
/// them.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) plan: Plan,
    pub(crate) rootfs: Rootfs,
    pub(crate) limits: Limits,
    pub(crate) output_max_bytes: usize,
    holder: OnceLock<Result<crate::fork::Holder>>,
    /// Killed slots whose groups can be removed when the keeper has ended.
    with_keeper: Mutex<Vec<Dying>>,
    first: Mutex<First>,
    parent: Parent,
    pub(crate) keeper: Keeper,
    pub(crate) attachments: Attachments,
    owner: Mutex<Owner>,
    next: AtomicU32,
    places: Places,
    pub(crate) mailboxes: Mailboxes,
    /// With [`Policy::Shared`].
    pub(crate) crowd: Option<Crowd>,
    /// The one block of all slots, where they share their namespaces or ids cannot be mapped.
    shared_block: Option<Block>,
    /// Of a writable root; unlocked when the keeper has ended.
    pub(crate) upper: Option<Upper>,
    rights: Rights,
    network: Network,
}

impl TemplateBuilder {
    /// Limits other than [`Limits::default`].
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.recipe.limits = limits;
        self
    }

    /// Another user than the image's: `name`, `uid`, `name:group` or `uid:gid`.
    #[must_use]
    pub fn user(mut self, user: &str) -> Self {
        self.recipe.user = Some(user.to_string());
        self
    }

    /// Another network than none.
    #[must_use]
    pub fn network(mut self, network: Network) -> Self {
        self.recipe.network = network;
        self
    }

    /// Another host name than `leanbox`.
    #[must_use]
    pub fn hostname(mut self, name: &str) -> Self {
        self.recipe.hostname = name.to_string();
        self
    }

    /// Whether `/tmp` is a tmpfs of its own. The default; a writable root can do without.
    /// `/dev/shm` always is.
    #[must_use]
    pub fn tmp(mut self, tmp: bool) -> Self {
        self.recipe.tmp = tmp;
        self
    }

    /// Whether slots serve once (the default) or again, or share their namespaces.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.recipe.policy = policy;
        self
    }

    /// Goes without resource groups: where none can be had (`Unsupported`), as for a user to whom
    /// none was delegated. Then nothing limits memory and CPU time but the machine, processes are
    /// limited for each user inside (`RLIMIT_NPROC`, setrlimit(2); not before Linux 5.14), nothing can
    /// be paused, and the outcome knows neither CPU time nor memory
    /// ([`Outcome::accounted`](crate::Outcome::accounted)). With [`Policy::Once`] only.
    #[must_use]
    pub fn without_groups(mut self) -> Self {
        self.recipe.groups = false;
        self
    }

    /// Slots join every hierarchy there is, not only those that the limits ask for: then
    /// [`Container::update`](crate::Container::update) can set a limit of any kind later, and
    /// [`Container::stats`](crate::Container::stats) knows throttling and block I/O. On v1 a
    /// start takes longer for each hierarchy more.
    #[must_use]
    pub fn updatable(mut self) -> Self {
        self.recipe.updatable = true;
        self
    }

    /// Begins the first slot while the keeper sets itself up: for whoever starts at once.
    #[must_use]
    pub fn ahead(mut self) -> Self {
        self.recipe.ahead = true;
        self
    }

    /// Takes the fallback of kernels without idmapped mounts even where they work (tests).
    #[doc(hidden)]
    #[must_use]
    pub fn without_idmap(mut self) -> Self {
        self.recipe.idmap = false;
        self
    }

    /// Prepares everything and starts the keeper.
    ///
    /// # Errors
    /// Limits that make no sense, a policy that does not go with the rest, a seccomp profile that
    /// lets nothing start, an upper folder that
    /// another template has, an unknown user, a missing right or kernel feature; nothing is left
    /// behind.
    pub fn build(self) -> Result<Template> {
        self.prepare().map_err(probe::blame_old_kernel)
    }

    fn prepare(self) -> Result<Template> {
        let mut recipe = self.recipe;
        recipe.limits.validate()?;
        recipe.check_policy()?;
        recipe.check_mounts()?;
        let is_shared = recipe.policy == Policy::Shared;
        let limits = recipe.group_limits();
        let spec = recipe.user.clone().unwrap_or_else(|| recipe.rootfs.config().user.clone());
        let identity = Identity::resolve(&spec, &recipe.rootfs)?;
        let upper = recipe.rootfs.lock_upper()?;
        let mut owner = Owner::register()?;
        let own_blocks = owner::has_blocks();
        let block = owner.take_block()?;
        let attachments = Attachments::prepare(&recipe.network, &mut owner, &mut recipe.binds)?;
        if recipe.network.is_given() {
            recipe.check_mounts()?;
        }
        let maps_ids = recipe.idmap && own_blocks;
        let plan = recipe::plan(&recipe, identity.clone(), maps_ids)?;
        let (mailboxes, memory) = Mailboxes::new()?;
        let starting = match maps_ids || !own_blocks {
            true => Some(Keeper::begin(&plan, &recipe::trees(&recipe)?, &memory, block)?),
            false => None,
        };
        // What needs no keeper is done while it sets itself up: half a millisecond on two CPUs.
        let parent = match recipe.groups {
            false => Parent::find(&Layout::none(), owner.name())?,
            true => {
                let all = Layout::detect()?;
                let whole = recipe.updatable.then(|| Parent::find(&all, owner.name()));
                match whole {
                    Some(Ok(whole)) => whole,
                    // Without a controller that cannot be handed down, if no limit asks for it.
                    _ => Parent::find(&all.needed_for(&limits), owner.name())?,
                }
            }
        };
        owner.owns_groups(parent.paths())?;
        let mut first = First::Group(parent.first(&limits)?);
        if let (Some(starting), true) = (&starting, recipe.ahead && !is_shared) {
            let turn = upper.as_ref().map(Upper::turn).transpose()?;
            first = first.begin(starting.keeper(), block, attachments.attach()?, turn);
        }
        let (keeper, plan, shared_block) = match starting.map(|starting| starting.ready(&plan)) {
            Some(Ok(keeper)) => (keeper, plan, (is_shared || !own_blocks).then_some(block)),
            Some(Err(error)) if error.kind() != ErrorKind::Unsupported => return Err(error),
            // Ids cannot be mapped: one block for all slots, on an owner-shifted copy.
            _ => {
                first = first.back_to_group();
                recipe::check_unmapped(&recipe)?;
                let plan = recipe::plan(&recipe, identity, false)?;
                let trees = shifted::trees(&recipe, &mut owner, block)?;
                (Keeper::begin(&plan, &trees, &memory, block)?.ready(&plan)?, plan, Some(block))
            }
        };
        if matches!((&first, shared_block), (First::Group(_), None)) {
            owner.give_block(block);
        }
        let Recipe { rootfs, rights, network, .. } = recipe;
        let inner = Inner {
            keeper,
            attachments,
            plan,
            rootfs,
            output_max_bytes: usize::try_from(limits.output_max_bytes).unwrap_or(usize::MAX),
            limits,
            holder: OnceLock::new(),
            with_keeper: Mutex::default(),
            first: Mutex::new(first),
            parent,
            owner: Mutex::new(owner),
            next: AtomicU32::new(FIRST + 1),
            places: Places::default(),
            mailboxes,
            crowd: is_shared.then(Crowd::default),
            shared_block,
            upper,
            rights,
            network,
        };
        Ok(Template { inner: Arc::new(inner) })
    }
}

impl Template {
    /// Begins a template on a root file system.
    #[must_use]
    pub fn builder(rootfs: Rootfs) -> TemplateBuilder {
        TemplateBuilder { recipe: Recipe::new(rootfs) }
    }

    /// The root file system it was made of.
    #[must_use]
    pub fn rootfs(&self) -> &Rootfs {
        &self.inner.rootfs
    }

    /// Whether the kernel maps the files' owners for each slot; else all slots share one block
    /// of ids on an owner-shifted copy.
    #[must_use]
    pub fn maps_ids(&self) -> bool {
        self.inner.plan.trees.first().is_some_and(|tree| tree.idmap == 1)
    }

    /// The keeper's process id (for measuring; never to be signalled).
    #[must_use]
    pub fn keeper_pid(&self) -> i32 {
        self.inner.keeper.pid()
    }
}

impl Inner {
    /// What a new slot stands on.
    pub(crate) fn ground(&self) -> Result<Ground> {
        let turn = self.upper.as_ref().map(Upper::turn).transpose()?;
        let number = self.number();
        let block = match self.shared_block {
            Some(block) => block,
            None => self.owner().take_block()?,
        };
        let is_shared = self.crowd.is_some();
        let net = if is_shared { None } else { self.attachments.attach()? };
        Ok(Ground::new(number, self.places.take()?, block, is_shared, net, turn))
    }

    /// What the keeper is asked for namespaces that all slots share, in nobody's group.
    pub(crate) fn shared_ground(&self) -> Result<(Request, Option<Attachment>)> {
        let block = self.shared_block.unwrap_or(Block(0));
        let net = self.attachments.attach()?;
        let request = Request {
            ask: Ask::Make as u32,
            net: net.is_some().into(),
            slot: self.number(),
            block: block.0,
            id_base: block.first_id(),
            place: self.places.take()?,
            ..Request::default()
        };
        Ok((request, net))
    }

    /// Whether a slot has to be gone before the next is made: they would write to one folder, or
    /// have the same ports of the host lead to them.
    pub(crate) fn has_one_at_a_time(&self) -> bool {
        self.upper.is_some() || self.network.publishes() && self.crowd.is_none()
    }

    /// What decides what is refused.
    pub(crate) fn facts(&self) -> Result<Facts> {
        Facts::new(&self.rights, &self.network)
    }

    /// A number for a request that is about no new slot.
    pub(crate) fn number(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// A place that nothing has any more.
    pub(crate) fn give_back_place(&self, place: u32) {
        self.mailboxes.clear(place);
        self.places.give_back(place);
    }

    /// The group of a slot: `clean`, which another left behind, or a new one.
    pub(crate) fn group_of(&self, ground: &Ground, clean: Option<Group>) -> Result<Group> {
        clean.map_or_else(|| self.group(&format!("s{}", ground.number)), Ok)
    }

    /// Whether a launcher has to be born in its group (v2), so that even a cold slot has one.
    pub(crate) fn is_born_in_group(&self) -> bool {
        self.parent.has_v2()
    }

    /// The slot that was begun ahead, for whoever comes first.
    pub(crate) fn first_slot(&self) -> Option<Making> {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::take(&mut *first) {
            First::Slot(making) => Some(making),
            other => {
                *first = other;
                None
            }
        }
    }

    /// A group with the template's limits.
    pub(crate) fn group(&self, name: &str) -> Result<Group> {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::take(&mut *first) {
            First::Group(group) => Ok(group),
            other => {
                *first = other;
                self.parent.group(name, &self.limits)
            }
        }
    }

    /// Takes a ground back; the group is returned, to be made as good as new.
    pub(crate) fn give_back(&self, Freed { ground, group }: Freed) -> Option<Group> {
        if self.shared_block.is_none() {
            self.owner().give_block(ground.block);
        }
        self.give_back_place(ground.place);
        group
    }

    /// Keeps killed slots until the keeper has ended, which is about to happen.
    pub(crate) fn bury_with_keeper(&self, dying: impl Iterator<Item = Dying>) {
        self.with_keeper.lock().unwrap_or_else(PoisonError::into_inner).extend(dying);
    }

    fn owner(&self) -> std::sync::MutexGuard<'_, Owner> {
        self.owner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cached namespaces of the fork mode, made at the first use.
    pub(crate) fn holder(&self) -> Result<&crate::fork::Holder> {
        let made = self.holder.get_or_init(|| crate::fork::Holder::make(self));
        made.as_ref().map_err(Clone::clone)
    }
}

impl First {
    /// Asks for the first slot, on this group. A keeper that has ended already will say why.
    fn begin(
        self,
        keeper: &Keeper,
        block: Block,
        net: Option<Attachment>,
        turn: Option<Turn>,
    ) -> Self {
        let Self::Group(group) = self else { return self };
        let (number, place) = (FIRST, Places::FIRST);
        let ground = Ground::new(number, place, block, false, net, turn);
        match Making::ask(keeper, ground, Some(group), false) {
            Ok(making) => Self::Slot(making),
            Err(unasked) => unasked.1.group.map_or(Self::Taken, Self::Group),
        }
    }

    /// The keeper has ended without making it.
    fn back_to_group(self) -> Self {
        match self {
            Self::Slot(making) => making.give_up().map_or(Self::Taken, Self::Group),
            other => other,
        }
    }
}

impl Drop for Inner {
    /// The groups are removed while the keeper is on its way out: it takes its time for its mounts.
    fn drop(&mut self) {
        self.keeper.end();
        let first = self.first_slot();
        if self.holder.get().is_some() || first.is_some() {
            // Processes in a group of which nothing tells the end but this.
            self.keeper.wait();
        }
        drop(first);
        let with_keeper = self.with_keeper.get_mut().unwrap_or_else(PoisonError::into_inner);
        for dying in with_keeper.drain(..) {
            // One that is not gone in time keeps its group; the record stays and names it.
            if let Ok(freed) = dying.reap(REAP_MS) {
                drop(freed);
            }
        }
    }
}

/// The error where a path has a byte that no path may have.
pub(crate) fn no_nul(text: &str) -> Result<()> {
    if text.contains('\0') {
        return Err(Error::syscall(format!("{text:?}"), Errno::INVAL).remedy("remove the NUL byte"));
    }
    Ok(())
}
