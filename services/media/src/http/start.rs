//! An upload begins: what was sent before and not used is forgotten.

use event_store::Unit;
use service_kit::Refusal;

use super::send::Sending;
use crate::domain::task_data::{Action, TaskData, TaskDataCommand};
use crate::jobs::expire;
use crate::uploads;

impl Sending {
    /// A command about this task's data.
    pub fn command(&self, action: Action) -> TaskDataCommand {
        let at = self.kit.clock.now();
        TaskDataCommand { organization_id: self.task.organization_id, at, action }
    }

    /// Notes that something arrives; refuses where nothing may. Locks the task's data until the end of the unit.
    ///
    /// # Errors
    /// 400 when the task has its data, 409 while it is being imported.
    pub async fn touch(&self, unit: &mut Unit) -> Result<(), Refusal> {
        let before = unit.load::<TaskData>(self.task.id).await?.unwrap_or_default().stage;
        let done = unit.execute::<TaskData>(self.task.id, self.command(Action::Receive)).await?;
        if done.state.stage != before {
            expire::watch(unit, self.task.id).await?;
        }
        Ok(())
    }
}

/// Begins an upload, perhaps not for the first time.
///
/// # Errors
/// As [`Sending::touch`].
pub async fn begin(sending: &Sending) -> Result<(), Refusal> {
    sending
        .kit
        .store
        .transact(&sending.caller.context(), async |unit| {
            unit.execute::<TaskData>(sending.task.id, sending.command(Action::Begin)).await?;
            expire::watch(unit, sending.task.id).await?;
            let less = uploads::discard(unit, sending.task.id, None).await?;
            Ok::<_, Refusal>(uploads::change_storage(unit, -less, None).await?)
        })
        .await
}
