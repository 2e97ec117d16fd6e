//! What this kernel and user can do; each newer call can be switched off here
//! (`LEANBOX_WITHOUT=idmap,…`), so that its fallback is tested.

use std::sync::OnceLock;

/// Whether a feature was switched off by `LEANBOX_WITHOUT`.
#[must_use]
pub fn is_off(feature: &str) -> bool {
    static OFF: OnceLock<String> = OnceLock::new();
    let off = OFF.get_or_init(|| std::env::var("LEANBOX_WITHOUT").unwrap_or_default());
    off.split(',').any(|name| name == feature)
}
