//! The program as people meet it: real processes, real actions, each test with a home of its own.

mod batch;
mod full_disk;
mod home;
mod jobs;
mod mistakes;
mod processes;
mod run;
mod surroundings;
mod terminal;
