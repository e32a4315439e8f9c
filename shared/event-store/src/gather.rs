//! What the handlers of one batch gather, to be written with a few statements instead of a few for each event.
//!
//! A handler puts its rows into [`Unit::gather`] and returns; the inbox writes the pile when the tenant's events
//! of the batch are through. When one of them fails, the batch is taken anew with care, and then each event's
//! rows are written by themselves: so a pile never has to know which of its rows was at fault.

use std::any::Any;

use crate::inbox::{Handled, HandlerError};
use crate::store::Unit;

/// Rows of several events that are written together, in the tenant that they were gathered in.
pub trait Gathered: Default + Send + Sync + 'static {
    /// Writes all of it.
    fn write(self, unit: &mut Unit) -> Handled<'_>;
}

/// A [`Gathered`] of any type.
pub(crate) trait Pile: Send + Sync {
    fn as_any(&mut self) -> &mut dyn Any;
    fn write<'a>(self: Box<Self>, unit: &'a mut Unit) -> Handled<'a>;
}

impl<G: Gathered> Pile for G {
    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn write<'a>(self: Box<Self>, unit: &'a mut Unit) -> Handled<'a> {
        Gathered::write(*self, unit)
    }
}

impl Unit {
    /// The pile of this type; only inside a consumer's handler, because only the inbox writes it.
    pub fn gather<G: Gathered>(&mut self) -> &mut G {
        let here = self.piles.iter_mut().position(|pile| (**pile).as_any().is::<G>());
        let index = here.unwrap_or_else(|| {
            self.piles.push(Box::<G>::default());
            self.piles.len() - 1
        });
        match (*self.piles[index]).as_any().downcast_mut() {
            Some(pile) => pile,
            None => unreachable!("the pile was chosen by its type"),
        }
    }

    /// Writes what was gathered.
    pub(crate) async fn write_gathered(&mut self) -> Result<(), HandlerError> {
        for pile in std::mem::take(&mut self.piles) {
            pile.write(self).await?;
        }
        Ok(())
    }
}
