//! Background work: started here, named, stopped together.

use std::future::Future;
use std::sync::{Arc, Mutex};

use tokio::task::JoinSet;

/// The background tasks of a process. Dropping the last handle stops them.
#[derive(Clone, Default)]
pub struct Tasks {
    set: Arc<Mutex<JoinSet<()>>>,
}

impl Tasks {
    /// Starts a task that is meant to run for ever; its end is logged.
    pub fn start(&self, name: String, work: impl Future<Output = ()> + Send + 'static) {
        if let Ok(mut set) = self.set.lock() {
            set.spawn(async move {
                work.await;
                tracing::error!("the background task {name} has ended");
            });
        }
    }

    /// Stops all tasks and waits until they are gone.
    pub async fn stop(&self) {
        // Not the guard: it may not be held while waiting.
        let taken = self.set.lock().map(|mut set| std::mem::take(&mut *set)).ok();
        if let Some(mut set) = taken {
            set.abort_all();
            while set.join_next().await.is_some() {}
        }
    }
}
