//! What media publishes: what becomes of a task's data, and how much a tenant stores.
//!
//! Frames never travel in events: a task may have more of them than an event may have bytes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::event::{Example, events};

/// A task's data when it is ready: what jobs are cut from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskData {
    pub task_id: i64,
    /// Frames after start, stop and step were taken into account.
    pub size: i64,
    /// First picture that is used, counted in all that were uploaded.
    pub start_frame: i64,
    /// Last picture that is used, included.
    pub stop_frame: i64,
    /// `step=N`, or empty.
    pub frame_filter: String,
    /// Frames in one chunk.
    pub chunk_size: i64,
    /// JPEG quality of compressed frames, 0 to 100.
    pub image_quality: i64,
    /// `annotation` for pictures, `interpolation` for video.
    pub mode: String,
    /// `2d`.
    pub dimension: String,
    /// Bytes of the pictures, before what the tenant stores already was left out.
    pub bytes: i64,
}

impl Example for TaskData {
    fn example() -> Self {
        Self {
            task_id: 21,
            size: 250,
            start_frame: 0,
            stop_frame: 249,
            frame_filter: String::new(),
            chunk_size: 36,
            image_quality: 70,
            mode: "annotation".into(),
            dimension: "2d".into(),
            bytes: 61_000_000,
        }
    }
}

const REQUEST: &str = "media.task-data.21.0198c0de-0000-7000-8000-000000000000";

events! { "media";
    /// A client has sent all of a task's data; the import begins.
    TaskDataSubmitted on "task_data" as "task_data_submitted" {
        task_id: i64 = 21,
        /// What the client polls.
        request_id: String = REQUEST.into(),
    }
    /// An import goes on.
    TaskDataProgressed on "task_data" as "task_data_progressed" {
        task_id: i64 = 21,
        request_id: String = REQUEST.into(),
        /// Pictures that were looked at.
        done: i64 = 100,
        total: i64 = 250,
    }
    /// A task's data is ready.
    TaskDataPrepared on "task_data" as "task_data_prepared" {
        request_id: String = REQUEST.into(),
        data: TaskData = TaskData::example(),
    }
    /// An import failed; nothing of it was kept.
    TaskDataFailed on "task_data" as "task_data_failed" {
        task_id: i64 = 21,
        request_id: String = REQUEST.into(),
        /// For a person; names the file that is at fault.
        message: String = "cat.jpg is not a picture: it ends before its image data does.".into(),
    }
    /// A task's data is gone, because the task is.
    TaskDataRemoved on "task_data" as "task_data_removed" { task_id: i64 = 21 }
    /// Frames were marked as deleted, or taken back.
    TaskDataFramesDeleted on "task_data" as "task_data_frames_deleted" {
        task_id: i64 = 21,
        /// How many are marked now.
        deleted: i64 = 3,
    }
    /// A tenant stores more or less. There is one such stream in each tenant.
    StorageChanged on "storage" as "storage_changed" {
        /// Bytes from now on; the same bytes are stored once.
        bytes: i64 = 61_000_000,
        /// The place under a hard cap that this takes.
        reservation_id: Option<Uuid> = None,
    }
}
