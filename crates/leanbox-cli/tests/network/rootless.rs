//! The same for an ordinary user, by pasta.

use crate::common::Done;
use crate::lab::{HOST, HOST_INSIDE, Lab, METADATA, NEIGHBOUR, PUBLIC, add_applets};
use crate::refused;
use crate::user::User;

const NAT: [&str; 5] = ["run", "--cgroups", "disabled", "--network", "nat"];

/// A user of the lab's host.
struct Guest {
    lab: Lab,
    user: User,
}

impl Guest {
    fn new(name: &str) -> Self {
        let user = User::new(name);
        add_applets(&user.home);
        Self { lab: Lab::make(name), user }
    }

    fn run(&self, options: &[&str], words: &[&str]) -> Done {
        let words = [&NAT[..], options, &["./root"], words].concat();
        Done::of(self.lab.host.enter(&self.user.leanbox(&words)).output().unwrap())
    }

    /// nc says that it is done after it has heard all: Debian 12's pasta forgets the other side's
    /// end of a connection where both come at a time.
    fn ask(&self, options: &[&str], address: &str, port: u16) -> String {
        let script = format!("sleep 1 | nc -w 2 {address} {port}");
        let done = self.run(options, &["sh", "-c", &script]);
        done.out + &done.err
    }
}

#[test]
fn a_user_reaches_the_internet_and_nothing_private() {
    let guest = Guest::new("user-reach");
    assert_eq!(guest.ask(&[], PUBLIC, 80), format!("{PUBLIC}:80 hears {HOST}"));
    for (address, port) in [(NEIGHBOUR, 80), (METADATA, 80), (HOST_INSIDE, 22), (HOST, 22)] {
        let answer = guest.ask(&[], address, port);
        assert!(refused(&answer) || answer.contains("refused"), "{address}:{port}: {answer}");
        assert!(!answer.contains("hears"), "{address}:{port}: {answer}");
    }
    guest.user.has_nothing_left();
}

#[test]
fn a_user_reaches_what_is_allowed_at_its_port_alone() {
    let guest = Guest::new("user-allow");
    let options = ["--allow", "10.1.0.5:5432"];
    assert!(guest.ask(&options, NEIGHBOUR, 5432).starts_with(&format!("{NEIGHBOUR}:5432 hears")));
    assert!(refused(&guest.ask(&options, NEIGHBOUR, 80)));
}

#[test]
fn a_users_published_port_leads_inside_and_goes_with_it() {
    let guest = Guest::new("user-publish");
    let script = "nc -ll -p 80 -e echo eighty & sleep 0.3; echo ready; sleep 60";
    let words = [&NAT[..], &["-p", "8080:80", "./root", "sh", "-c", script]].concat();
    let mut command = guest.lab.host.enter(&guest.user.leanbox(&words));
    let mut running = crate::Running::start(&guest.lab.place, &mut command);
    running.await_text("ready");
    assert_eq!(guest.lab.host.ask("127.0.0.1", 8080), "eighty\n");
    assert!(guest.lab.neighbours.ask(HOST_INSIDE, 8080).contains("refused"));
    // Its end is pasta's, too.
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    let begin = std::time::Instant::now();
    while !guest.lab.host.ask("127.0.0.1", 8080).contains("refused") {
        assert!(begin.elapsed().as_secs() < 10, "pasta goes on");
    }
}
