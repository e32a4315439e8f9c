//! `GET /media/health/writes` on the mesh port: whether pictures can be taken in. `/health/ready` goes on saying yes
//! on a full disk, because reading goes on.

use actix_web::{HttpResponse, web};
use serde_json::json;
use service_kit::{Answer, Kit};

use crate::media::Media;

/// The endpoints on the mesh port.
pub fn mesh_routes(config: &mut web::ServiceConfig) {
    config.route("/health/writes", web::get().to(writes));
}

async fn writes(kit: web::Data<Kit>) -> Answer {
    Media::of(&kit)?.storage.check_room(0)?;
    Ok(HttpResponse::Ok().json(json!({ "service": kit.service, "writes": true })))
}
