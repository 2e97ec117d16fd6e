//! Compiles the static program (and the benchmark's workloads) with direct compiler calls: the same
//! sources as this crate's library, stable Rust, no nested cargo. Neither the caller's RUSTFLAGS
//! nor a compiler wrapper nor the profile reaches it, paths are remapped and there is one
//! codegen unit, so the same compiler gives the same bytes in every folder.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let out = PathBuf::from(variable("OUT_DIR"));
    let here = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let sys = PathBuf::from(variable("DEP_LEANBOX_SYS_SOURCE"));
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", sys.parent().expect("a file has a folder").display());

    let library = out.join("libleanbox_sys.rlib");
    let mut compile = compiler(&sys);
    compile.args(["--crate-type=rlib", "--crate-name=leanbox_sys"]).arg("-o").arg(&library);
    run(compile.arg(&sys));
    let mut compile = static_program(&here.join("src/program.rs"), &out.join("launcher"));
    run(compile.arg(format!("--extern=leanbox_sys={}", library.display())));
    for workload in ["nothing", "dirty", "sleep"] {
        let source = here.join(format!("src/{workload}.rs"));
        run(&mut static_program(&source, &out.join(workload)));
    }
    println!("cargo::metadata=program={}", out.join("launcher").display());
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}

/// A compiler call with nothing of the caller's in it.
fn compiler(source: &Path) -> Command {
    let folder = source.parent().expect("a file has a folder").display();
    let out = variable("OUT_DIR");
    let mut compile = Command::new(variable("RUSTC"));
    compile
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .args(["--edition=2024", "--cap-lints=allow", "--target"])
        .arg(variable("TARGET"))
        .args(["-Copt-level=3", "-Cpanic=abort", "-Ccodegen-units=1", "-Coverflow-checks=off"])
        .args(["-Cdebuginfo=0", "-Cmetadata=leanbox", "-Cforce-unwind-tables=no"])
        .arg(format!("--remap-path-prefix={folder}=leanbox"))
        .arg(format!("--remap-path-prefix={out}=out"));
    compile
}

fn static_program(source: &Path, output: &Path) -> Command {
    let mut compile = compiler(source);
    compile
        .args(["--crate-type=bin", "-Crelocation-model=static", "-Cstrip=symbols"])
        .args(["-Clink-arg=-nostartfiles", "-Clink-arg=-nostdlib", "-Clink-arg=-static"])
        .args([
            "-Clink-arg=-Wl,--build-id=none,-z,noseparate-code,-z,norelro,-z,max-page-size=4096",
        ])
        .arg("-Clink-arg=-Wl,--gc-sections,--no-eh-frame-hdr");
    let linker =
        format!("CARGO_TARGET_{}_LINKER", variable("TARGET").to_uppercase().replace('-', "_"));
    if let Some(linker) = env::var_os("RUSTC_LINKER").or_else(|| env::var_os(linker)) {
        compile.arg("-C").arg(format!("linker={}", linker.to_string_lossy()));
    }
    compile.arg("-o").arg(output).arg(source);
    compile
}

fn run(compile: &mut Command) {
    let status = compile.status().unwrap_or_else(|error| panic!("{compile:?}: {error}"));
    assert!(status.success(), "{compile:?}: {status}");
}
