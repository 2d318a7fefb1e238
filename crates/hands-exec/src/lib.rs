//! One action on one machine: stage, run, collect.
