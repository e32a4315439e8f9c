//! The import of a task's data goes on.

use contracts::Envelope;
use contracts::media::TaskDataProgressed;
use event_store::Unit;
use event_store::inbox::Handled;

use crate::domain::request::{Request, RequestCommand};
use crate::projections::requests;

/// Moves the request on.
pub fn handle<'a>(unit: &'a mut Unit, envelope: &'a Envelope, event: TaskDataProgressed) -> Handled<'a> {
    Box::pin(async move {
        let Some(id) = requests::stream_of(unit.tx(), &event.request_id).await? else { return Ok(()) };
        let progress = event.done as f64 / event.total.max(1) as f64;
        unit.execute::<Request>(id, RequestCommand::Progress { progress, at: envelope.time }).await?;
        Ok(())
    })
}
