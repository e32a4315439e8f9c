//! How a server is closed: at once when nobody is inside, and without breaking anybody off who is.
//!
//! actix waits for requests too, but looks only once a second whether they are over, and those who wait for
//! news here would wait on. So it is told to stop when the last answer has left.
//!
//! Nor does it let go of its listener before that: who came meanwhile would be let into the kernel's queue, and
//! broken off in the end. Here whoever comes too late is refused at once, and goes to another replica.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Extensions, ServerHandle, ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::middleware::Next;
use actix_web::{Error, web};
use bytes::Bytes;
use socket2::Socket;
use tokio::sync::watch;

/// How long connections may take that are half through the door when it closes.
const HALF_THROUGH: Duration = Duration::from_millis(100);

/// How long a thread may take until it has its turn.
const TURN: Duration = Duration::from_millis(10);

/// How long a connection that has asked for nothing yet is waited for. Browsers open some that never will.
const UNDECIDED: Duration = Duration::from_millis(500);

/// Counts who is inside a server.
#[derive(Clone, Default)]
pub(crate) struct Door {
    inside: Count,
    /// Connections without a request so far.
    newcomers: Count,
    closing: Arc<watch::Sender<bool>>,
}

#[derive(Clone, Default)]
struct Count(Arc<watch::Sender<usize>>);

/// One that is counted until it is dropped.
struct Counted(Count);

impl Count {
    fn one(&self) -> Counted {
        self.0.send_modify(|count| *count += 1);
        Counted(self.clone())
    }

    /// Waits until none is left; when the time is over, says how many are.
    async fn none(&self, patience: Duration) -> Result<(), usize> {
        let mut count = self.0.subscribe();
        match tokio::time::timeout(patience, count.wait_for(|count| *count == 0)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(*self.0.borrow()),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}

/// In the data of a connection until its first request comes.
struct Newcomer(Cell<Option<Counted>>);

impl Door {
    /// Notes a new connection, in its data.
    pub fn arrives(&self, connection: &mut Extensions) {
        connection.insert(Newcomer(Cell::new(Some(self.newcomers.one()))));
    }

    /// Completes when the door closes: whoever only waits for news goes home then.
    pub async fn closing(&self) {
        // The sender is at hand, so there is no error.
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }

    /// Lets nobody in any more, waits at most `patience` until everybody is gone, and stops the server.
    /// `listener` is the server's own.
    pub async fn close(&self, server: &ServerHandle, listener: &Socket, patience: Duration) {
        if let Err(error) = hold_off(listener) {
            tracing::warn!(%error, "the listener cannot hold off: a connection may be broken off");
        }
        tokio::time::sleep(HALF_THROUGH).await;
        server.pause().await;
        // It is told at once, and does so when its thread has its turn.
        tokio::time::sleep(TURN).await;
        if let Err(error) = listener.shutdown(std::net::Shutdown::Read) {
            tracing::warn!(%error, "the listener cannot be shut: connections may be broken off");
        }
        // The last ones are on their way to the threads that count them.
        tokio::time::sleep(HALF_THROUGH).await;
        self.closing.send_replace(true);
        // Who still asks for nothing by then has nothing to lose.
        let _ = self.newcomers.none(UNDECIDED).await;
        if let Err(left) = self.inside.none(patience).await {
            tracing::warn!("{left} requests took longer than the stop could wait");
        }
        server.stop(true).await;
    }
}

/// Makes a listener refuse new connections, while those that it has answered already still come through: their
/// number then ends, and none is in its queue when it is shut. It is bound to a network device by which nobody comes
/// (`SO_BINDTODEVICE`, socket(7)): only the machine itself still gets in, when the listener is for others too.
#[cfg(target_os = "linux")]
fn hold_off(listener: &Socket) -> std::io::Result<()> {
    const LOOPBACK: &str = "lo";
    let local = listener.local_addr()?.as_socket();
    if !local.is_some_and(|address| address.ip().is_loopback()) {
        return listener.bind_device(Some(LOOPBACK.as_bytes()));
    }
    let devices = std::fs::read_dir("/sys/class/net")?;
    let other = devices
        .flatten()
        .find(|device| device.file_name() != LOOPBACK && device.path().join("ifindex").exists())
        .map(|device| device.file_name());
    // A machine without a network has no other, and nobody on it is worth more trouble.
    other.map_or(Ok(()), |name| listener.bind_device(Some(name.as_encoded_bytes())))
}

#[cfg(not(target_os = "linux"))]
fn hold_off(_: &Socket) -> std::io::Result<()> {
    Ok(())
}

/// The middleware around everything else of a server; finds the door in the app's data.
pub(crate) async fn attend(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let door = request.app_data::<web::Data<Door>>().map(|door| door.get_ref().clone());
    let guest = door.as_ref().map(|door| door.inside.one());
    if let Some(newcomer) = request.conn_data::<Newcomer>() {
        newcomer.0.take();
    }
    let mut response = next.call(request).await?.map_into_boxed_body();
    if door.is_some_and(|door| *door.closing.borrow()) {
        // The connection is not kept for another request, which nobody would answer.
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    Ok(response.map_body(|_, body| BoxBody::new(Accompanied { body, guest })))
}

/// A body that counts as inside until it has been written.
struct Accompanied {
    body: BoxBody,
    #[expect(dead_code, reason = "leaves when the body is dropped")]
    guest: Option<Counted>,
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
