//! What a batch of events says, written with a few statements.

use contracts::Envelope;
use event_store::inbox::{Handled, HandlerError};
use event_store::{Gathered, Unit};

use super::reading::{self, KeyChange, UsageFact};
use super::{facts, levels};

/// Facts and changes of one tenant, in the order of their events.
#[derive(Default)]
pub struct UsageBatch {
    facts: Vec<UsageFact>,
    changes: Vec<KeyChange>,
}

/// Takes one event in.
///
/// # Errors
/// When it does not hold what the tables of meters say.
pub fn take(unit: &mut Unit, envelope: &Envelope) -> Result<(), HandlerError> {
    let said = reading::read(envelope)?;
    let batch = unit.gather::<UsageBatch>();
    batch.facts.extend(said.facts);
    batch.changes.extend(said.changes);
    Ok(())
}

impl Gathered for UsageBatch {
    fn write(self, unit: &mut Unit) -> Handled<'_> {
        Box::pin(async move {
            facts::write(unit.tx(), self.facts).await?;
            levels::write(unit.tx(), self.changes).await?;
            Ok(())
        })
    }
}
