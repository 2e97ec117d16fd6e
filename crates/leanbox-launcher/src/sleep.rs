//! The program that only sleeps: static, without a C library, until it is killed. With a number
//! as its argument it is that many processes.
#![no_std]
#![no_main]

// for (; number > 1; number--) if (fork() == 0) break; for (;;) ppoll(NULL, 0, NULL, NULL)
#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "xor ebx, ebx",
    "cmp qword ptr [rsp], 2",
    "jb 5f",
    "mov rsi, [rsp + 16]",
    "2: movzx eax, byte ptr [rsi]",
    "sub eax, 48",
    "jb 4f",
    "imul ebx, ebx, 10",
    "add ebx, eax",
    "inc rsi",
    "jmp 2b",
    "3: dec ebx",
    "4: cmp ebx, 1",
    "jbe 5f",
    "mov eax, 57",
    "syscall",
    "test eax, eax",
    "jnz 3b",
    "5: mov eax, 271",
    "xor edi, edi",
    "xor esi, esi",
    "xor edx, edx",
    "xor r10d, r10d",
    "syscall",
    "jmp 5b",
);
// clone(SIGCHLD, 0, 0, 0, 0) is its fork
#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "mov x19, xzr",
    "ldr x0, [sp]",
    "cmp x0, #2",
    "b.lo 5f",
    "ldr x1, [sp, #16]",
    "mov x3, #10",
    "2: ldrb w2, [x1], #1",
    "subs w2, w2, #48",
    "b.lo 4f",
    "madd x19, x19, x3, x2",
    "b 2b",
    "3: sub x19, x19, #1",
    "4: cmp x19, #1",
    "b.ls 5f",
    "mov x8, #220",
    "mov x0, #17",
    "mov x1, xzr",
    "mov x2, xzr",
    "mov x3, xzr",
    "mov x4, xzr",
    "svc 0",
    "cbnz x0, 3b",
    "5: mov x8, #73",
    "mov x0, xzr",
    "mov x1, xzr",
    "mov x2, xzr",
    "mov x3, xzr",
    "svc 0",
    "b 5b",
);

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
