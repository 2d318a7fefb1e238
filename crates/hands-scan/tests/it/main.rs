//! The scanner beside the compilers themselves: what `-M` says is right.

mod bounds;
mod cases;
mod compiler;
mod disk;
mod project;
mod soup;
