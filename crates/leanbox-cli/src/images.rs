//! `leanbox build`, `export`, `images` and `rmi`: images and the folders they become.

use crate::{say, signals, tell};
use leanbox::{Error, Result};
use leanbox_image::{BuildOptions, ExportOptions, INTERRUPTED, Store};
use signal_hook::SigId;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

/// Exit codes after Ctrl-C and after SIGTERM, as a shell has them.
const INTERRUPT: u8 = 130;
const TERMINATE: u8 = 143;

/// Whether it was SIGTERM.
static TERMINATED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Arguments of `leanbox build`.
#[derive(Debug, clap::Args)]
pub(crate) struct BuildArgs {
    /// The app folder
    #[arg(value_name = "APP")]
    folder: Option<PathBuf>,
    /// The app folder, as the original had it
    #[arg(long, value_name = "APP", conflicts_with = "folder")]
    app: Option<PathBuf>,
    /// The image's name
    #[arg(long, value_name = "NAME", required_unless_present = "show_default_dockerfile")]
    name: Option<String>,
    /// Export the image to this folder, which must be empty or new
    #[arg(long, value_name = "DIR")]
    export: Option<PathBuf>,
    /// Build nothing, only export the image NAME to this folder
    #[arg(long, value_name = "DIR", conflicts_with_all = ["folder", "app", "export"])]
    only_export: Option<PathBuf>,
    /// Keep set-user-id and set-group-id bits in the export
    #[arg(long)]
    keep_setid: bool,
    /// Print the Dockerfile that is used for an app without one
    #[arg(long)]
    show_default_dockerfile: bool,
}

/// Arguments of `leanbox export`.
#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// The image
    name: String,
    /// The folder, which must be empty or new; the image's configuration becomes DIR.json
    dir: PathBuf,
    /// Keep set-user-id and set-group-id bits
    #[arg(long)]
    keep_setid: bool,
}

/// Arguments of `leanbox images`.
#[derive(Debug, clap::Args)]
pub(crate) struct ImagesArgs {
    /// Print one JSON array
    #[arg(long)]
    json: bool,
}

/// Arguments of `leanbox rmi`.
#[derive(Debug, clap::Args)]
pub(crate) struct RmiArgs {
    /// The image
    name: String,
}

/// Builds, and exports if asked.
pub(crate) fn build(args: &BuildArgs) -> Result<ExitCode> {
    let app = args.folder.as_ref().or(args.app.as_ref());
    if args.show_default_dockerfile {
        say(leanbox_image::default_dockerfile(app.map(PathBuf::as_path)).trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    let name = args.name.as_deref().unwrap_or_default();
    heed_interrupts()?;
    let store = Store::open_default()?;
    let options = ExportOptions { keep_setid: args.keep_setid };
    if let Some(dir) = &args.only_export {
        leanbox_image::export(&store, name, dir, options)?;
        return Ok(ExitCode::SUCCESS);
    }
    let app = app.ok_or_else(|| Error::invalid("no app folder given; see leanbox build --help"))?;
    if let Some(dir) = &args.export {
        // Better said before a long build than after it.
        leanbox_image::check_target(dir)?;
    }
    match leanbox::make_room_for_groups() {
        // Without groups an ordinary user's steps have no limits (docs/rootless.md).
        Err(_) if !leanbox::is_machine_root() => {}
        made => made?,
    }
    let build = BuildOptions { app: app.clone(), name: name.to_string() };
    let image = leanbox_image::build(&store, &build, &mut |line| tell(line))?;
    tell(&format!(
        "image {} has {} layers, {} MB",
        image.name,
        image.layers.len(),
        image.size / 1_000_000
    ));
    if let Some(dir) = &args.export {
        leanbox_image::export(&store, name, dir, options)?;
        tell(&format!("exported to {}", dir.display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Exports.
pub(crate) fn export(args: &ExportArgs) -> Result<ExitCode> {
    heed_interrupts()?;
    let options = ExportOptions { keep_setid: args.keep_setid };
    leanbox_image::export(&Store::open_default()?, &args.name, &args.dir, options)?;
    Ok(ExitCode::SUCCESS)
}

/// Lists.
pub(crate) fn list(args: &ImagesArgs) -> Result<ExitCode> {
    let images = Store::open_default()?.images()?;
    if args.json {
        let text = serde_json::to_string(&images)
            .map_err(|error| Error::invalid(format!("images: {error}")))?;
        say(&text);
        return Ok(ExitCode::SUCCESS);
    }
    say(&format!("{:<24} {:<14} {:>6} {:>9}", "NAME", "DIGEST", "LAYERS", "SIZE"));
    for image in images {
        let digest = image.manifest.get(..12).unwrap_or_default();
        let size = format!("{} MB", image.size / 1_000_000);
        say(&format!("{:<24} {digest:<14} {:>6} {size:>9}", image.name, image.layers.len()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Removes.
pub(crate) fn remove(args: &RmiArgs) -> Result<ExitCode> {
    Store::open_default()?.remove(&args.name)?;
    Ok(ExitCode::SUCCESS)
}

/// From now on Ctrl-C and SIGTERM, unless they were ignored, end a build, an export or a benchmark
/// at its next look instead of at once. Returns the handlers, to be taken off again.
pub(crate) fn heed_interrupts() -> Result<Vec<SigId>> {
    // Which one it was is known before that it was one.
    let flags = [(SIGTERM, &*TERMINATED), (SIGTERM, &*INTERRUPTED), (SIGINT, &*INTERRUPTED)];
    let heeded = flags.into_iter().filter(|(signal, _)| !signals::is_ignored(*signal));
    let register = |(signal, flag)| signal_hook::flag::register(signal, Arc::clone(flag));
    heeded.map(register).collect::<Result<_, _>>().map_err(|error| Error::io("sigaction", &error))
}

/// The folder of an image, which is exported into the store at its first run. Ctrl-C and SIGTERM
/// end that, and are then again what they were.
pub(crate) fn rootfs(name: &str) -> Result<PathBuf> {
    let handlers = heed_interrupts()?;
    let mut tell = |line: &str| tell(&format!("leanbox: {line}"));
    let folder =
        Store::open_default().and_then(|store| leanbox_image::rootfs(&store, name, &mut tell));
    for handler in handlers {
        signal_hook::low_level::unregister(handler);
    }
    folder
}

/// The exit code where a signal ended it.
pub(crate) fn interrupted() -> Option<u8> {
    let code = if TERMINATED.load(Ordering::Relaxed) { TERMINATE } else { INTERRUPT };
    INTERRUPTED.load(Ordering::Relaxed).then_some(code)
}
