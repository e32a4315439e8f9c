//! `GET /media/health/writes` on the mesh port: whether pictures can be taken in: 200, 507 on a disk that is nearly
//! full, 503 for a bucket that is away. `/health/ready` goes on saying yes, because reading goes on: who takes a
//! replica out of service by this answer takes away its frames too.

use actix_web::{HttpResponse, web};
use serde_json::json;
use service_kit::{Answer, Kit};

use crate::media::Media;

/// The endpoints on the mesh port.
pub fn mesh_routes(config: &mut web::ServiceConfig) {
    config.route("/health/writes", web::get().to(writes));
}

async fn writes(kit: web::Data<Kit>) -> Answer {
    Media::of(&kit)?.storage.check_writes().await?;
    Ok(HttpResponse::Ok().json(json!({ "service": kit.service, "writes": true })))
}
