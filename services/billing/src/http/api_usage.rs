//! Calls of the API, as the services count them.

use actix_web::{HttpResponse, web};
use event_store::Key;
use event_store::store::Context;
use service_kit::api_calls::Report;
use service_kit::mesh::PeerCaller;
use service_kit::{Answer, Kit, Refusal};

use crate::domain::api_usage::{ApiUsage, ApiUsageCommand, Calls, STREAM};

/// Takes a report in: each tenant's calls once, however often the report is sent.
pub async fn report(peer: PeerCaller, kit: web::Data<Kit>, report: web::Json<Report>) -> Answer {
    for (index, counted) in report.calls.iter().enumerate() {
        let calls = Calls {
            service: peer.service.clone(),
            quarter: counted.quarter,
            reads: counted.reads,
            writes: counted.writes,
        };
        let key = Key { key: format!("api-usage/{}/{index}", report.id), request_hash: vec![] };
        kit.store
            .transact_once(&Context::mesh(counted.tenant), &key, async |unit| {
                unit.execute::<ApiUsage>(STREAM, ApiUsageCommand::Count(calls.clone())).await?;
                Ok::<(), Refusal>(())
            })
            .await?;
    }
    Ok(HttpResponse::NoContent().finish())
}
