//! A task's data has been sent: whoever sent it polls a request from now on.

use contracts::Envelope;
use contracts::media::TaskDataSubmitted;
use event_store::Unit;
use event_store::inbox::Handled;

use crate::domain::request::{Request, RequestCommand, Submitted};
use crate::domain::task::Task;

/// Opens the request.
pub fn handle<'a>(unit: &'a mut Unit, envelope: &'a Envelope, event: TaskDataSubmitted) -> Handled<'a> {
    Box::pin(async move {
        let task = unit.load::<Task>(event.task_id).await?.unwrap_or_default();
        let submitted = Submitted {
            request_id: event.request_id,
            action: "create".to_owned(),
            target: "task".to_owned(),
            project_id: task.current.as_ref().and_then(|fact| fact.project_id),
            task_id: Some(event.task_id),
            owner_id: envelope.actorid,
            at: envelope.time,
        };
        let id = unit.new_ids_of("request", 1).await?[0];
        unit.execute::<Request>(id, RequestCommand::Submit(submitted)).await?;
        if task.alive().is_err() {
            let fail =
                RequestCommand::Fail { message: "The task was deleted.".to_owned(), at: envelope.time };
            unit.execute::<Request>(id, fail).await?;
        }
        Ok(())
    })
}
