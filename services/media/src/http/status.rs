//! `GET /api/tasks/{id}/status`: how clients of 2024 followed an import.

use actix_web::{HttpResponse, get, web};
use serde::Serialize;
use service_kit::{Answer, Caller, Kit};
use utoipa::ToSchema;

use super::access;
use crate::domain::task_data::{Stage, TaskData};

/// CVAT's RqStatus.
#[derive(Serialize, ToSchema)]
pub struct RqStatus {
    /// `Queued`, `Started`, `Finished` or `Failed`.
    state: &'static str,
    message: String,
    /// From 0 to 1.
    progress: f64,
}

/// Says how far the import of a task's data is.
#[utoipa::path(responses((status = 200, body = RqStatus)), tag = "tasks")]
#[get("/api/tasks/{id}/status")]
pub async fn get_task_status(kit: web::Data<Kit>, caller: Caller, id: web::Path<i64>) -> Answer {
    access::task(&kit, &caller, *id, "view").await?;
    let state = kit.store.load::<TaskData>(caller.tenant(), *id).await?.unwrap_or_default();
    Ok(HttpResponse::Ok().json(status(&state)))
}

fn status(data: &TaskData) -> RqStatus {
    let (done, total) = data.progress;
    let (state, progress) = match data.stage {
        Stage::Submitted if total == 0 => ("Queued", 0.0),
        Stage::Submitted => ("Started", done as f64 / total as f64),
        Stage::Failed => ("Failed", 0.0),
        // CVAT's word also for a task that nothing was sent to.
        Stage::None | Stage::Receiving | Stage::Prepared | Stage::Removed => ("Finished", 1.0),
    };
    RqStatus { state, message: data.failure.clone().unwrap_or_default(), progress }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_is_followed_from_queue_to_end() {
        let of = |stage, progress| status(&TaskData { stage, progress, ..TaskData::default() }).state;
        assert_eq!(of(Stage::Submitted, (0, 0)), "Queued");
        assert_eq!(of(Stage::Submitted, (1, 2)), "Started");
        assert_eq!(of(Stage::Failed, (1, 2)), "Failed");
        assert_eq!(of(Stage::Prepared, (0, 0)), "Finished");
    }
}
