//! Isolation of one command: namespaces, landlock, seccomp, limits.
