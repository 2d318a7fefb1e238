//! The store as its users see it.

mod it {
    pub(crate) mod common;
    mod durability;
    mod eviction;
    mod faces;
    mod named;
    mod reading;
    mod spoiled;
    mod staging;
}
