//! Leases actions from a hub and executes them.
