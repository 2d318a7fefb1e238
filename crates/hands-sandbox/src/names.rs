//! Names of hosts and users in a program that is linked statically.

/// Looks names up in the system's files and by DNS only, whatever `/etc/nsswitch.conf` says. A statically linked program must
/// call this before the first lookup: glibc would load the modules that stand there (`myhostname`, `mdns4_minimal`, `resolve`
/// of systemd, …) into a program that they were not made for, and it dies of it: seen with glibc 2.36, with its own modules
/// and with those of 2.41. Files and DNS are in glibc itself since 2.34.
#[cfg(target_env = "gnu")]
pub fn look_names_up_without_modules() {
    unsafe extern "C" {
        // <nss.h>: replaces the line of one database. It copies what it is given.
        fn __nss_configure_lookup(
            database: *const libc::c_char,
            services: *const libc::c_char,
        ) -> libc::c_int;
    }
    for (database, services) in [(c"hosts", c"files dns"), (c"passwd", c"files")] {
        // SAFETY: both are strings that end with a zero, and no other thread looks anything up yet. It fails for want of
        // memory only; then the next lookup fails likewise.
        unsafe { __nss_configure_lookup(database.as_ptr(), services.as_ptr()) };
    }
}

/// Other libraries of C know files and DNS only.
#[cfg(not(target_env = "gnu"))]
pub fn look_names_up_without_modules() {}
