//! Tells the launcher's build script where these sources are (`DEP_LEANBOX_SYS_SOURCE`), so
//! that it can compile the static program with direct compiler calls.

fn main() {
    let root = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::metadata=source={root}/src/lib.rs");
}
