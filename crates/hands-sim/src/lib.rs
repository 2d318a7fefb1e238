//! Seeded simulation of hub, workers and network.
