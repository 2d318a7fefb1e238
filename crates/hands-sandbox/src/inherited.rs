//! What a long-lived process must not keep of the one that started it.

/// Closes every descriptor but the standard streams: a shell's redirections, another program's sockets. To be called
/// first thing in `main`, before this process has opened anything and while it has one thread.
pub fn close_inherited_descriptors() {
    crate::spawn::close_all_but(&[]);
}
