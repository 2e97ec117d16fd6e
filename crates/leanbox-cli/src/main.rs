//! The `leanbox` command.
fn main() {}
