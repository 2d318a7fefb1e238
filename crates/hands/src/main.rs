//! `hands`: argument parsing and exit codes.
fn main() {}
