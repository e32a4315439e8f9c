//! Calls to a peer that restarts.

use std::time::Duration;

use bus::Peer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::kafka_world;

fn peer(address: std::net::SocketAddr) -> Peer {
    kafka_world::peer("p", &format!("http://{address}"))
}

/// Serves one connection after the other, and closes the first `broken` when they have asked; returns how many came.
async fn serve(listener: TcpListener, broken: usize) -> usize {
    for count in 1.. {
        let (mut connection, _) = listener.accept().await.unwrap();
        let asked = connection.read(&mut [0; 1024]).await.unwrap();
        assert!(asked > 0);
        if count > broken {
            connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
            return count;
        }
    }
    unreachable!()
}

#[tokio::test]
async fn who_does_not_listen_yet_is_waited_for() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let peer = peer(address);
    let restart = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        serve(TcpListener::bind(address).await.unwrap(), 0).await
    };
    let (answer, _) = tokio::join!(peer.json::<serde_json::Value>(peer.post("/x")), restart);
    assert_eq!(answer.unwrap(), serde_json::json!({}));
}

#[tokio::test]
async fn only_what_changes_nothing_is_asked_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = peer(listener.local_addr().unwrap());
    let (answer, came) = tokio::join!(peer.json::<serde_json::Value>(peer.get("/x")), serve(listener, 1));
    answer.unwrap();
    assert_eq!(came, 2);

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = self::peer(listener.local_addr().unwrap());
    tokio::select! {
        answer = peer.json::<serde_json::Value>(peer.post("/x")) => assert!(answer.is_err()),
        // A second attempt would be served.
        came = serve(listener, 1) => panic!("the change came {came} times"),
    }
}
