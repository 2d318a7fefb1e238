//! Repository chores. `cargo test -p xtask` runs every tidy check, so that CI needs no second list.
fn main() {}
