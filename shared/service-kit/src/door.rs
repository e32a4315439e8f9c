//! How a server is closed: at once when nobody is inside, and without breaking anybody off who is.
//!
//! actix waits for requests too, but looks only once a second whether they are over, and those who wait for
//! news here would wait on. So it is told to stop when the last answer has left.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServerHandle, ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::middleware::Next;
use actix_web::{Error, web};
use bytes::Bytes;
use tokio::sync::watch;

/// Counts the requests that are inside a server.
#[derive(Clone, Default)]
pub(crate) struct Door {
    inside: Arc<watch::Sender<usize>>,
    closing: Arc<watch::Sender<bool>>,
}

/// A request from its arrival until the last byte of its answer is written, or it is broken off.
struct Guest {
    inside: Arc<watch::Sender<usize>>,
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.inside.send_modify(|count| *count -= 1);
    }
}

impl Door {
    fn enter(&self) -> Guest {
        self.inside.send_modify(|count| *count += 1);
        Guest { inside: self.inside.clone() }
    }

    /// Completes when the door closes: whoever only waits for news goes home then.
    pub async fn closing(&self) {
        // The sender is at hand, so there is no error.
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }

    /// Lets nobody in any more, waits at most `patience` until everybody is gone, and stops the server.
    pub async fn close(&self, server: &ServerHandle, patience: Duration) {
        server.pause().await;
        self.closing.send_replace(true);
        let mut inside = self.inside.subscribe();
        if tokio::time::timeout(patience, inside.wait_for(|count| *count == 0)).await.is_err() {
            tracing::warn!("{} requests took longer than the stop could wait", *self.inside.borrow());
        }
        server.stop(true).await;
    }
}

/// The middleware around everything else of a server; finds the door in the app's data.
pub(crate) async fn attend(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let door = request.app_data::<web::Data<Door>>().map(|door| door.get_ref().clone());
    let guest = door.as_ref().map(Door::enter);
    let mut response = next.call(request).await?.map_into_boxed_body();
    if door.is_some_and(|door| *door.closing.borrow()) {
        // The connection is not kept for another request, which nobody would answer.
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    Ok(response.map_body(|_, body| BoxBody::new(Accompanied { body, guest })))
}

/// A body that says when it has been written.
struct Accompanied {
    body: BoxBody,
    #[expect(dead_code, reason = "leaves when the body is dropped")]
    guest: Option<Guest>,
}

impl MessageBody for Accompanied {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_next(cx)
    }
}
