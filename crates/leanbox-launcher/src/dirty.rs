//! The program that dirties its scratch: static, without a C library, it writes one byte to
//! `/tmp/dirty` and ends; with 1 where it cannot.
#![no_std]
#![no_main]

// openat(AT_FDCWD, path, O_WRONLY|O_CREAT|O_TRUNC, 0600), write(fd, path, 1), exit_group
#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "mov eax, 257",
    "mov edi, -100",
    "lea rsi, [rip + 3f]",
    "mov edx, 0x241",
    "mov r10d, 0x180",
    "syscall",
    "mov edi, eax",
    "mov eax, 1",
    "mov edx, 1",
    "syscall",
    "xor edi, edi",
    "cmp rax, 1",
    "setne dil",
    "mov eax, 231",
    "syscall",
    "3: .asciz \"/tmp/dirty\"",
);
#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "mov x8, #56",
    "mov x0, #-100",
    "adr x1, 3f",
    "mov x2, #0x241",
    "mov x3, #0x180",
    "svc 0",
    "mov x8, #64",
    "adr x1, 3f",
    "mov x2, #1",
    "svc 0",
    "cmp x0, #1",
    "cset x0, ne",
    "mov x8, #94",
    "svc 0",
    "3: .asciz \"/tmp/dirty\"",
);

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
