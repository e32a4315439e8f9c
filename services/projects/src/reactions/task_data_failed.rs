//! The import of a task's data failed; media has kept nothing of it.

use contracts::Envelope;
use contracts::media::TaskDataFailed;
use event_store::Unit;
use event_store::inbox::Handled;

use crate::domain::request::{Request, RequestCommand};
use crate::projections::requests;

/// Ends the request with what media says to a person. The task may be given data again.
pub fn handle<'a>(unit: &'a mut Unit, envelope: &'a Envelope, event: TaskDataFailed) -> Handled<'a> {
    Box::pin(async move {
        let Some(id) = requests::stream_of(unit.tx(), &event.request_id).await? else { return Ok(()) };
        let fail = RequestCommand::Fail { message: event.message, at: envelope.time };
        unit.execute::<Request>(id, fail).await?;
        Ok(())
    })
}
