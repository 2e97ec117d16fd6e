//! The root of the static program. Cargo does not know it: the build script compiles it, with
//! the modules that the library shows to clippy, rustdoc and the unit tests.
#![no_std]
#![no_main]

extern crate leanbox_sys;

mod blocks;
mod classic;
mod container;
mod crowd;
mod enter;
mod files;
mod floor;
mod frozen;
mod ground;
mod keeper;
mod launcher;
mod making;
mod mem;
mod nets;
mod pages;
mod roles;
mod text;
mod wire;

// The kernel enters with the argument count at the top of the stack.
#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call leanbox_main",
    "ud2"
);
#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "mov x29, xzr",
    "mov x0, sp",
    "bl leanbox_main",
    "brk #1"
);

/// Begins in the role that the first argument names.
#[unsafe(no_mangle)]
extern "C" fn leanbox_main(stack: *const usize) -> ! {
    // SAFETY: argc and argv as the kernel laid them out (execve(2), System V ABI).
    let (argc, argv) = unsafe { (*stack, stack.add(1).cast::<*const core::ffi::c_char>()) };
    // SAFETY: argv has argc entries.
    let arguments = unsafe { core::slice::from_raw_parts(argv, argc) };
    roles::begin(arguments)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    leanbox_sys::process::exit(101)
}

/// Named by the unwind tables of the precompiled `core`; nothing unwinds here.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
