//! Front-ends run, batch and shell.
