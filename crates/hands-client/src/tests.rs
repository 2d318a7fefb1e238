//! Nothing here talks to a hub; `tests/` does.
