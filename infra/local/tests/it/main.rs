//! The launcher from outside: its command line and what it keeps. [`demo`] plays
//! the first five minutes on a whole mesh; everything else about one is in `mesh-tests`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod command_line;
mod demo;
mod kept;
mod readme;
