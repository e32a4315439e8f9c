//! Answers to what other services publish.

use bus::Consumer;

mod request_cancelled;
mod task_deleted;

/// The consumer of all reactions.
pub fn consumer() -> Consumer {
    Consumer::new("reactions", 1).on(request_cancelled::handle).on(task_deleted::handle)
}
