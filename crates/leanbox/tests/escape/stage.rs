//! What the attacks are made against: a host's file, sockets and neighbour that the test made.
//! It goes to the attacker in its environment.

/// What the test binary does inside instead of testing.
pub(crate) const MODE: &str = "LEANBOX_ESCAPE_MODE";
const STAGE: &str = "LEANBOX_ESCAPE_STAGE";
/// The words with which it gets there.
pub(crate) const WORDS: [&str; 4] = ["--exact", "inside", "--nocapture", "--test-threads=1"];
/// Descriptor of the test's own terminal: no other has so high a number.
pub(crate) const TERMINAL: usize = 300;
/// Key of System V objects of a neighbour's or of an earlier run's.
pub(crate) const KEY: usize = 0x6c65_616e;

/// Names of what is outside.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stage {
    /// A file of the host's, by its path there, with the token in it.
    pub(crate) canary: String,
    pub(crate) token: String,
    /// An abstract socket of the host's.
    pub(crate) socket: String,
    /// A port of the host's loopback.
    pub(crate) port: u16,
    /// A port of a neighbour's loopback.
    pub(crate) neighbour_port: u16,
}

impl Stage {
    pub(crate) fn variable(&self) -> (String, String) {
        let Self { canary, token, socket, port, neighbour_port } = self;
        (STAGE.into(), format!("{canary} {token} {socket} {port} {neighbour_port}"))
    }

    pub(crate) fn of_environment() -> Self {
        let text = std::env::var(STAGE).expect("the stage in the environment");
        let words: Vec<&str> = text.split(' ').collect();
        let [canary, token, socket, port, neighbour_port] = words[..] else { panic!("{text}") };
        let number = |word: &str| word.parse().unwrap();
        Self {
            canary: canary.into(),
            token: token.into(),
            socket: socket.into(),
            port: number(port),
            neighbour_port: number(neighbour_port),
        }
    }

    pub(crate) fn neighbour_socket(&self) -> String {
        format!("leanbox-neighbour-{}", self.token)
    }
}
