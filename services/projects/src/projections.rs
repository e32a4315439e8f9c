//! The tables that clients read, one a file.

pub mod annotation_documents;
pub mod annotation_jobs;
pub mod annotation_versions;
pub mod annotations;
pub mod job_list;
pub mod jobs;
pub mod labels;
pub mod project_jobs;
pub mod project_tasks;
pub mod projects;
pub mod requests;
pub mod task_jobs;
pub mod task_labels;
pub mod task_list;
pub mod tasks;
