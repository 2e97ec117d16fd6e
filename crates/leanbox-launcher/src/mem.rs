//! The four memory functions that compiled code calls and no C library provides here.

use core::arch::asm;

/// memcpy(3).
///
/// # Safety
/// As the manual page demands.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: both ranges are valid, the caller says.
    unsafe {
        asm!("rep movsb", inout("rcx") count => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    for at in 0..count {
        // SAFETY: both ranges are valid, the caller says; the asm keeps the loop from becoming
        // a call of memcpy.
        unsafe {
            *to.add(at) = *from.add(at);
            asm!("", options(nostack));
        }
    }
    to
}

/// memmove(3).
///
/// # Safety
/// As the manual page demands.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    if (to as usize).wrapping_sub(from as usize) >= count {
        // SAFETY: copying upwards never reads what it has written.
        return unsafe { memcpy(to, from, count) };
    }
    for at in (0..count).rev() {
        // SAFETY: both ranges are valid, the caller says.
        unsafe {
            *to.add(at) = *from.add(at);
            asm!("", options(nostack));
        }
    }
    to
}

/// memset(3).
///
/// # Safety
/// As the manual page demands.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, value: i32, count: usize) -> *mut u8 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the range is valid, the caller says.
    unsafe {
        asm!("rep stosb", inout("rcx") count => _, inout("rdi") to => _, in("al") value as u8,
            options(nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    for at in 0..count {
        // SAFETY: the range is valid, the caller says.
        unsafe {
            *to.add(at) = value as u8;
            asm!("", options(nostack));
        }
    }
    to
}

/// memcmp(3).
///
/// # Safety
/// As the manual page demands.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
    for at in 0..count {
        // SAFETY: both ranges are valid, the caller says.
        let (a, b) = unsafe { (*left.add(at), *right.add(at)) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
    }
    0
}

/// bcmp(3).
///
/// # Safety
/// As the manual page demands.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
    // SAFETY: passed on.
    unsafe { memcmp(left, right, count) }
}

/// strlen(3).
///
/// # Safety
/// As the manual page demands.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut length = 0;
    // SAFETY: the text ends with a NUL, the caller says.
    while unsafe { *text.add(length) } != 0 {
        length += 1;
        // SAFETY: keeps the loop from becoming a call of strlen.
        unsafe { asm!("", options(nostack)) };
    }
    length
}
