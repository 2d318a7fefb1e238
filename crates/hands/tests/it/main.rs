//! The program as people meet it: real processes, real actions, each test with a home of its own.

mod absences;
mod agent_life;
mod authority;
mod bad_input;
mod batch;
mod batch_forms;
mod batch_left;
#[cfg(target_os = "linux")]
mod cc;
#[cfg(target_os = "linux")]
mod cluster;
mod clusters;
mod crashes;
#[cfg(target_os = "linux")]
mod default_port;
mod doors;
mod doubts;
mod durability;
mod engines;
mod escapes;
mod eviction;
#[cfg(target_os = "linux")]
mod first_caller;
mod forgetful;
mod full_disk;
mod full_hub;
#[cfg(target_os = "linux")]
mod full_worker;
mod garbage;
mod goodbyes;
mod home;
mod host_roots;
mod hostile_client;
mod hostile_messages;
mod hostile_worker;
#[cfg(target_os = "linux")]
mod images;
mod jobs;
mod killable;
#[cfg(target_os = "linux")]
mod lease_times;
mod leftovers;
mod lending;
#[cfg(target_os = "linux")]
mod long_commands;
#[cfg(target_os = "linux")]
mod long_pauses;
mod looks;
mod lost_stores;
#[cfg(target_os = "linux")]
mod lost_workers;
#[cfg(target_os = "linux")]
mod machines;
mod marks;
mod mistakes;
#[cfg(target_os = "linux")]
mod moves;
mod moving_inputs;
#[cfg(target_os = "linux")]
mod narrow_limits;
mod observability;
#[cfg(target_os = "linux")]
mod odd_outputs;
mod operators;
mod pauses;
mod pins;
mod plain_words;
mod processes;
mod promises;
mod prompts;
mod readers;
mod resources;
mod run;
mod scheduling;
mod second_worker;
mod server;
mod signals;
mod sizes;
mod small_disk;
#[cfg(target_os = "linux")]
mod splices;
mod stale_builds;
mod stdin_holes;
#[cfg(target_os = "linux")]
mod stdio;
mod strangers;
mod surroundings;
mod terminal;
#[cfg(target_os = "linux")]
mod tls;
mod top;
mod trace;
mod trust;
mod unanswered;
#[cfg(target_os = "linux")]
mod vanished;
mod versions;
#[cfg(target_os = "linux")]
mod views;
#[cfg(target_os = "linux")]
mod wrong_clocks;
