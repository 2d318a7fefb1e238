//! The program as people meet it: real processes, real actions, each test with a home of its own.

mod agent_life;
mod bad_input;
mod batch;
mod batch_forms;
#[cfg(target_os = "linux")]
mod cluster;
mod clusters;
mod crashes;
mod durability;
mod engines;
mod escapes;
mod full_disk;
mod home;
mod host_roots;
mod hostile_client;
mod hostile_worker;
mod jobs;
mod killable;
mod leftovers;
mod lending;
mod looks;
#[cfg(target_os = "linux")]
mod lost_workers;
#[cfg(target_os = "linux")]
mod machines;
mod marks;
mod mistakes;
mod observability;
mod operators;
mod processes;
mod promises;
mod resources;
mod run;
mod server;
mod signals;
mod small_disk;
mod surroundings;
mod terminal;
mod top;
mod trace;
mod trust;
