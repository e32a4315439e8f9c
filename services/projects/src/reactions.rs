//! Answers to what other services publish, one foreign event a file.

use bus::Consumer;

mod organization_deleted;
mod task_data_failed;
mod task_data_prepared;
mod task_data_progressed;
mod task_data_submitted;

/// The service's reactions, all of them.
pub fn consumer() -> Consumer {
    Consumer::new("reactions", 1)
        .on(organization_deleted::handle)
        .on(task_data_submitted::handle)
        .on(task_data_progressed::handle)
        .on(task_data_prepared::handle)
        .on(task_data_failed::handle)
}
