//! Programs that others wrote, as clients of our hub and as engines for our front-ends. `cargo xtask test` installs them and says where each is in a
//! variable `HANDS_TEST_…`; what is not there is skipped, with the reason. `cargo xtask clients` runs these tests alone.

mod bazel;
mod casd;
mod engines;
mod grid;
#[path = "../it/home.rs"]
#[expect(dead_code, reason = "shared with the other tests, which use all of it")]
mod home;
mod moon;
mod pants;
mod sdk;
#[path = "../it/server.rs"]
mod server;
mod tool;
