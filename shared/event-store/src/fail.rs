//! Named places where a test kills the process, as a power cut would.
//!
//! `ANNOMESH_FAIL_POINT=es.append.after_commit:3` makes the third visit of that place the last. Only debug
//! builds have them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

static ARMED: OnceLock<Option<(String, AtomicU64)>> = OnceLock::new();

/// Ends this process with SIGKILL when `name` is armed and its countdown is over.
#[expect(clippy::disallowed_methods, reason = "a test's switch, not a setting of the product")]
pub fn visit(name: &str) {
    let armed = ARMED.get_or_init(|| {
        let setting = std::env::var("ANNOMESH_FAIL_POINT").ok()?;
        let (name, count) = setting.split_once(':').unwrap_or((&setting, "1"));
        Some((name.to_owned(), AtomicU64::new(count.parse().unwrap_or(1))))
    });
    if let Some((wanted, left)) = armed
        && wanted == name
        && left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        // The standard library cannot send a signal; `kill` can.
        let killed =
            std::process::Command::new("kill").args(["-9", &std::process::id().to_string()]).status();
        tracing::error!("the fail point {name} could not kill the process: {killed:?}");
        std::process::abort();
    }
}

/// A place where a test may kill the process.
#[macro_export]
macro_rules! fail_point {
    ($name:literal) => {
        if cfg!(debug_assertions) {
            $crate::fail::visit($name);
        }
    };
}
