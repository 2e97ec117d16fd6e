//! Where links of a hostile root lead.

use super::common::{busybox, folder, has_layers_in_memory};
use super::{on, pool, shared};
use leanbox::{Bind, Pool, Rootfs};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

#[test]
fn links_of_a_hostile_root_lead_no_mount_outside_or_into_proc() {
    let (root, volume, outside) =
        (busybox("links"), shared("links-source"), shared("links-outside"));
    let out = outside.0.display();
    for (name, to) in [
        ("absolute", format!("{out}")),
        ("up", format!("../../../../../../../..{out}")),
        ("fd", "/proc/self/fd/5".into()),
        ("cwd", "/proc/self/cwd".into()),
        ("sys", "/proc/sys".into()),
        ("to-proc", "/proc".into()),
        ("through", "/proc/1/root".into()),
        ("loop", "/loop".into()),
        ("fine", "/home".into()),
    ] {
        symlink(to, root.0.join(name)).unwrap();
    }
    let mount = |target: &str, file: bool, writable: bool| {
        let source = if file { volume.0.join("note") } else { volume.0.clone() };
        let builder = on(&root).bind(Bind::new(source, target));
        let builder = if writable { builder.writable(1 << 20) } else { builder };
        let pool = Pool::new(&builder.build()?, 0)?;
        leanbox::Command::new("cat").args(["/proc/self/mountinfo"]).output(&pool)
    };
    // What leads nowhere inside is refused, whether it is there or would have to be made.
    let mut kinds = vec![(false, false), (true, false)];
    if has_layers_in_memory() {
        kinds.extend([(false, true), (true, true)]);
    }
    let hostile = "/absolute /up /absolute/x /up/x/y /fd /fd/x /cwd /cwd/x /loop /through/etc /sys \
        /to-proc /sys/kernel /to-proc/self /to-proc/sys/kernel";
    for target in hostile.split_whitespace() {
        for &(file, writable) in &kinds {
            let refused = mount(target, file, writable);
            let seen = refused.map(|one| String::from_utf8_lossy(&one.stdout.bytes).into_owned());
            assert!(seen.is_err(), "{target} {file} {writable}: {seen:?}");
        }
    }
    let seen = mount("/fine/app", false, false).unwrap();
    assert!(String::from_utf8_lossy(&seen.stdout.bytes).contains(" /home/app "));
    assert_eq!(fs::read_dir(&outside.0).unwrap().count(), 1);
    assert!(!root.0.join("proc/self").exists());
}

#[test]
fn a_root_whose_own_mount_points_are_links_is_refused() {
    for name in ["proc", "dev", "tmp"] {
        let (root, outside) = (busybox("points"), folder("points-outside"));
        fs::remove_dir(root.0.join(name)).unwrap();
        symlink(&outside.0, root.0.join(name)).unwrap();
        let refused = Rootfs::open(&root.0).unwrap_err().to_string();
        assert!(refused.starts_with("mount point") && refused.contains(name), "{refused}");
    }
}

/// Two containers swap a folder of a common volume with a link, while slots are made whose mounts
/// have their places below it.
#[test]
fn a_folder_that_is_swapped_with_a_link_meanwhile_leads_no_mount_elsewhere() {
    let (root, volume, other) = (busybox("swap"), shared("swap-source"), shared("swap-other"));
    let outside = shared("swap-outside");
    fs::create_dir_all(volume.0.join("a/place")).unwrap();
    fs::set_permissions(volume.0.join("a"), fs::Permissions::from_mode(0o777)).unwrap();
    fs::create_dir_all(outside.0.join("place")).unwrap();
    let swapper = pool(on(&root).bind(Bind::new(&volume.0, "/data")));
    let links = [
        "/proc/sys/kernel/..",
        "/proc/1/root",
        "/proc/self/fd/6",
        &outside.0.display().to_string(),
    ];
    let running: Vec<_> = links
        .iter()
        .take(2)
        .zip(links.iter().skip(2))
        .map(|(one, two)| {
            let script = format!("cd /data; n=$$; while :; do ln -s {one} l$n; mv a b$n && mv l$n a; rm -f a; mv b$n a; ln -s {two} l$n; mv a b$n && mv l$n a; rm -f a; mv b$n a; rm -f l$n; done 2>/dev/null");
            leanbox::Command::new("sh").args(["-c", &script]).spawn(&swapper).unwrap()
        })
        .collect();
    let template =
        on(&root).bind(Bind::new(&volume.0, "/data")).bind(Bind::new(&other.0, "/data/a/place"));
    let template = template.build().unwrap();
    let mut made = 0;
    for _ in 0..300 {
        let pool = Pool::new(&template, 0).unwrap();
        let seen = leanbox::Command::new("cat").arg("/proc/self/mountinfo").output(&pool);
        // Refused where the link led to no place, or into proc.
        let Ok(outcome) = seen else { continue };
        made += 1;
        let mounts = String::from_utf8_lossy(&outcome.stdout.bytes).into_owned();
        let ours: Vec<&str> = mounts.lines().filter(|line| line.contains("swap-other")).collect();
        assert_eq!(ours.len(), 1, "{mounts}");
        let place = ours[0].split(' ').nth(4).unwrap();
        assert!(!place.starts_with("/proc") && !place.contains("outside"), "{place}");
    }
    drop(running);
    assert!(made > 0 && made < 300, "{made} slots made: nothing was swapped meanwhile");
    assert_eq!(fs::read_dir(outside.0.join("place")).unwrap().count(), 0);
}
