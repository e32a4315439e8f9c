//! Answers to what other services publish.

use bus::Consumer;

mod task_deleted;

/// The consumer of all reactions.
pub fn consumer() -> Consumer {
    Consumer::new("reactions", 1).on(task_deleted::handle)
}
