//! The launcher from outside: its command line and what it keeps. A whole mesh runs in `mesh-tests`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod command_line;
mod kept;
mod readme;
