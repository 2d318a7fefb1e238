//! What this process does not need any more.

/// Gives memory that was freed back to the kernel. The C library keeps it else, for as long as something small lies behind it.
pub fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number, locks what it needs itself, and touches only what is free.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Has the C library keep less of what is freed: to be called once, before a server starts threads.
///
/// By itself it raises the size from which memory goes back at once to that of the largest block that was ever freed (up to
/// 32 MiB), and makes eight heaps for each cpu, each with gaps of its own. A hub to which a member sent large messages for 45 s
/// had 489 MB so, and 155 MB with these bounds.
pub fn keep_little_memory() {
    #[cfg(target_env = "gnu")]
    {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let heaps = libc::c_int::try_from(cpus.max(2)).unwrap_or(libc::c_int::MAX);
        let options = [
            (libc::M_ARENA_MAX, heaps),
            // A piece of a blob is smaller: those are many, and a heap serves them faster than the kernel.
            (libc::M_MMAP_THRESHOLD, 4 << 20),
            (libc::M_TRIM_THRESHOLD, 8 << 20),
        ];
        for (option, value) in options {
            // SAFETY: it takes two numbers. One that it does not like changes nothing.
            unsafe {
                libc::mallopt(option, value);
            }
        }
    }
}
