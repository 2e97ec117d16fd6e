//! What `--network nat` needs: nft and a host that forwards, or without root pasta and a tun
//! device.

use super::{Finding, in_path};
use rustix::fs::{Access, access};
use std::path::Path;

/// What others have in a network that containers share with them.
pub(super) fn sockets() -> Finding {
    if leanbox::probe::scopes_sockets() {
        return Finding::ok("network host: abstract sockets of others are out of reach");
    }
    Finding::limited(
        "network host: abstract sockets of others are in reach; Linux 6.12 with Landlock keeps \
         them out",
    )
}

/// One line for root, another for an ordinary user.
pub(super) fn look() -> Finding {
    if leanbox::is_machine_root() { of_root() } else { of_user() }
}

fn of_root() -> Finding {
    let forwards = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap_or_default();
    let nft = ["/usr/sbin/nft", "/sbin/nft"].iter().any(|path| Path::new(path).is_file());
    match (nft || in_path("nft").is_some(), forwards.trim() == "1") {
        (true, true) => Finding::ok("network nat: nft, and this machine forwards"),
        (false, _) => Finding::limited("network nat: no nft; apt-get install nftables"),
        (true, false) => Finding::limited(
            "network nat: this machine forwards nothing; sysctl -w net.ipv4.ip_forward=1",
        ),
    }
}

fn of_user() -> Finding {
    let tun = access("/dev/net/tun", Access::READ_OK | Access::WRITE_OK).is_ok();
    match (in_path("pasta").is_some(), tun) {
        (true, true) => Finding::ok("network nat: by pasta"),
        (false, _) => Finding::limited("network nat: no pasta; apt-get install passt"),
        (true, false) => Finding::limited(
            "network nat: /dev/net/tun is not for users; modprobe tun; chmod 666 /dev/net/tun",
        ),
    }
}
