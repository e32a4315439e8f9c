//! `/api/requests`: what runs in the background for a person, polled by the id that its service gave out.

use std::collections::HashMap;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, get, post, web};
use chrono::{DateTime, Utc};
use event_store::Tx;
use policy::{LimitInput, Resource};
use serde::Serialize;
use service_kit::auth::url_of;
use service_kit::cvat::date;
use service_kit::list::{ListQuery, Page, Place};
use service_kit::news::News;
use service_kit::organization::{ownership, permit};
use service_kit::{Answer, Caller, Kit, Refusal, Reply, Selection, Write, directory};
use utoipa::ToSchema;

use crate::domain::request::{Request, RequestCommand};
use crate::projections::requests::{self, KEPT, RequestRow};

/// `Request` of CVAT 2.80.
#[derive(Serialize, ToSchema)]
pub struct RequestRead {
    /// `queued`, `started`, `finished` or `failed`.
    status: String,
    /// What went wrong, for a person.
    message: String,
    id: String,
    operation: Operation,
    created_date: String,
    started_date: Option<String>,
    finished_date: Option<String>,
    /// When it will not be known any more.
    expiry_date: Option<String>,
    /// From 0 to 1.
    progress: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<Owner>,
    result_url: Option<String>,
    result_id: Option<i64>,
}

/// What a request does, and to what.
#[derive(Serialize, ToSchema)]
pub struct Operation {
    #[serde(rename = "type")]
    operation: String,
    target: String,
    project_id: Option<i64>,
    task_id: Option<i64>,
    job_id: Option<i64>,
    org_id: Option<i64>,
    format: Option<String>,
    function_id: Option<String>,
    lightweight: Option<bool>,
}

/// Who asked.
#[derive(Serialize, ToSchema)]
pub struct Owner {
    id: i64,
    username: String,
}

impl RequestRead {
    fn new(row: RequestRow, users: &HashMap<i64, directory::User>) -> Self {
        let owner = row.owner_id.and_then(|id| users.get(&id));
        Self {
            status: row.status,
            message: row.message,
            id: row.request_id,
            operation: Operation {
                operation: format!("{}:{}", row.action, row.target),
                target: row.target,
                project_id: row.project_id,
                task_id: row.task_id,
                job_id: None,
                org_id: row.organization_id,
                format: None,
                function_id: None,
                lightweight: None,
            },
            created_date: date(row.created_date),
            started_date: row.started_date.map(date),
            finished_date: row.finished_date.map(date),
            expiry_date: row.finished_date.map(|finished| date(finished + KEPT)),
            progress: row.progress,
            owner: owner.map(|user| Owner { id: user.id, username: user.username.clone() }),
            result_url: None,
            result_id: None,
        }
    }
}

service_kit::list_params!(RequestList, requests::FIELDS, Place::Organization);

/// Lists the requests that the caller may see.
#[utoipa::path(params(RequestList), responses((status = 200, body = Page<RequestRead>)), tag = "requests")]
#[get("/api/requests")]
pub async fn list_requests(
    kit: web::Data<Kit>,
    caller: Caller,
    selection: Selection,
    request: HttpRequest,
) -> Answer {
    let query = ListQuery::from_query_string(request.query_string(), &requests::FIELDS)?;
    let scope = kit.scope(&caller, &selection).await?;
    let visible = policy::table(Resource::Requests).visible(&caller.subject(), &scope.list());
    let now = kit.clock.now();
    let (results, window) = kit
        .read(&caller, async |tx| {
            let (rows, window) = requests::list(tx, &caller, &visible, &query, now).await?;
            let users = directory::users(tx, rows.iter().filter_map(|row| row.owner_id)).await?;
            let read = |row| RequestRead::new(row, &users);
            Ok((rows.into_iter().map(read).collect::<Vec<_>>(), window))
        })
        .await?;
    Ok(HttpResponse::Ok().json(Page::new(results, &window, &url_of(&request))))
}

/// Shows a request.
#[utoipa::path(responses((status = 200, body = RequestRead)), tag = "requests")]
#[get("/api/requests/{id}")]
pub async fn get_request(kit: web::Data<Kit>, caller: Caller, id: web::Path<String>) -> Answer {
    let now = kit.clock.now();
    let read = async |tx: &mut Tx| {
        let row = permitted(tx, &caller, &id, "view", now).await?;
        let users = directory::users(tx, row.owner_id).await?;
        Ok((row, users))
    };
    let (row, users) = kit.read_late(&caller, read).await?;
    Ok(HttpResponse::Ok().json(RequestRead::new(row, &users)))
}

/// Says that a request is not wanted any more. Only one that has not begun; it may run all the same.
#[utoipa::path(responses((status = 200)), tag = "requests")]
#[post("/api/requests/{id}/cancel")]
pub async fn cancel_request(
    kit: web::Data<Kit>,
    caller: Caller,
    id: web::Path<String>,
    request: Write,
) -> Answer {
    let now = kit.clock.now();
    kit.write(&caller, &request, async |unit| {
        let row = permitted(unit.tx(), &caller, &id, "cancel", now).await?;
        unit.execute::<Request>(row.id, RequestCommand::Cancel).await?;
        Reply::ok(&serde_json::json!({}))
    })
    .await
}

/// A request that the caller may do this with; what they may not see is not there for them.
async fn permitted(
    tx: &mut Tx,
    caller: &Caller,
    id: &str,
    scope: &str,
    now: DateTime<Utc>,
) -> Result<RequestRow, Refusal> {
    // PostgreSQL would refuse it as an error of ours.
    if id.contains('\0') {
        return Err(Refusal::not_found());
    }
    let Some(row) = requests::find(tx, id, now).await? else {
        let news = task_of(id).map(|task_id| News::of("media", "task_data", task_id));
        return Err(not_found_unless(news));
    };
    let ownership = ownership(caller.user_id(), row.owner_id, None);
    let (table, subject) = (policy::table(Resource::Requests), caller.subject());
    let decide = |context: &_| table.decide(scope, &subject, context, ownership, &LimitInput::NONE);
    match permit(tx, caller, row.organization_id, decide).await {
        Err(refusal) if refusal.status == StatusCode::FORBIDDEN => {
            let news = row.organization_id.map(|id| News::of_membership(id, caller.user_id()));
            Err(not_found_unless(news))
        }
        other => other.map(|()| row),
    }
}

fn not_found_unless(news: Option<News>) -> Refusal {
    match news {
        Some(news) => Refusal::not_found().unless(news),
        None => Refusal::not_found(),
    }
}

/// The task whose data a request of media's imports: `media.task-data.<task>.<uuid>`.
fn task_of(id: &str) -> Option<i64> {
    id.strip_prefix("media.task-data.")?.split_once('.')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::task_of;

    #[test]
    fn an_id_names_the_stream_that_it_is_about() {
        assert_eq!(task_of("media.task-data.21.0198c0de-0000-7000-8000-000000000000"), Some(21));
        for other in ["", "media.task-data.", "media.task-data.x.y", "media.export.1.x", "media.task-data.1"]
        {
            assert_eq!(task_of(other), None, "{other}");
        }
    }
}
