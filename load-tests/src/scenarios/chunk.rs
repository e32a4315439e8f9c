//! A chunk of 36 JPEGs that are passed through, beside a bare handler that sends the same bytes.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::SizedStream;
use actix_web::{App, HttpResponse, HttpServer, web};
use futures::{StreamExt, stream};
use tokio::task::JoinSet;

use super::Run;
use crate::http::{Connection, rate};
use crate::measure::{Row, Target, alternate};
use crate::mesh::Mesh;
use crate::world::World;
use crate::{pictures, upload};

const FRAMES: usize = 36;
/// As in `frame`.
const FRAME_BYTES: usize = 243_000;
const CLIENTS: usize = 4;

pub async fn run(run: &Run) -> anyhow::Result<Vec<Row>> {
    let world = World::start("chunk").await?;
    let (mesh, user) = Mesh::with_pictures(&world).await?;
    let pictures = (0..FRAMES as u64).map(|seed| pictures::jpeg_of(FRAME_BYTES, seed));
    let pictures = pictures.collect::<anyhow::Result<Vec<_>>>()?;
    let mut connection = Connection::open(mesh.address)?.with_token(&user.token);
    let task = upload::task(&mut connection, &pictures)?;
    let path = format!("/api/tasks/{}/data?number=0&quality=compressed&type=chunk", task.id);
    // What is sent beside the pictures is sent there too.
    let length = connection.drain(connection.request("GET", &path, "").as_bytes(), &mut vec![0; 1 << 18])?;
    let around = length - pictures.iter().map(Vec::len).sum::<usize>();
    let mut files = vec![];
    for (index, bytes) in pictures.iter().chain([&vec![0; around]]).enumerate() {
        files.push(world.folder.join(format!("chunk-{index}")));
        std::fs::write(&files[index], bytes)?;
    }
    let mut serving = JoinSet::new();
    let bare = serve(files, length as u64, &mut serving)?;
    let time = |seconds| Duration::from_secs(seconds);
    let ours = |seconds| rate(CLIENTS, (mesh.address, Some(&user.token)), &path, time(seconds));
    let raw = |seconds| rate(CLIENTS, (bare, None), "/chunk", time(seconds));
    let _warm = (ours(1)?, raw(1)?);
    let (values, baselines) =
        alternate(run.rounds, async || ours(run.seconds), async || raw(run.seconds)).await?;
    serving.shutdown().await;
    mesh.running.stop().await;
    world.stop().await?;
    Ok(vec![Row {
        name: format!("a chunk of {FRAMES} JPEGs, {} kB, {CLIENTS} connections", length / 1000),
        unit: "chunks/s",
        values,
        baselines,
        target: Some(Target::RatioAtLeast(0.5)),
    }])
}

/// Sends files one after another; as many workers as the front door has.
fn serve(files: Vec<PathBuf>, length: u64, serving: &mut JoinSet<()>) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let files: Arc<[PathBuf]> = files.into();
    let server = HttpServer::new(move || {
        let files = files.clone();
        let cat = move || {
            let files = files.clone();
            async move {
                let pieces = (0..files.len()).map(move |index| tokio::fs::read(files[index].clone()));
                let pieces =
                    stream::iter(pieces).then(|piece| async move { piece.await.map(web::Bytes::from) });
                HttpResponse::Ok().content_type("application/zip").body(SizedStream::new(length, pieces))
            }
        };
        App::new().route("/chunk", web::get().to(cat))
    });
    let server = server.listen(listener)?.workers(2).disable_signals().shutdown_timeout(0).run();
    serving.spawn(async move {
        // It ends when the task does.
        let _ = server.await;
    });
    Ok(address)
}
