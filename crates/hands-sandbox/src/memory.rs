//! What this process does not need any more.

/// Gives memory that was freed back to the kernel. The C library keeps it else, for as long as something small lies behind it.
pub fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number, locks what it needs itself, and touches only what is free.
    unsafe {
        libc::malloc_trim(0);
    }
}
