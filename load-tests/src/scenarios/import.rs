//! From 2,000 small JPEGs in a folder to a task with its job, beside copying them and reading their headers.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, ensure};

use super::Run;
use crate::http::Connection;
use crate::measure::{Row, Target, alternate, fsync};
use crate::mesh::Mesh;
use crate::world::World;
use crate::{pictures, upload};

const PICTURES: usize = 2_000;
/// Bytes of each.
const PICTURE_BYTES: usize = 20_000;
/// Pictures that are drawn; the others are these with a mark.
const DRAWN: usize = 50;

pub async fn run(run: &Run) -> anyhow::Result<Vec<Row>> {
    let world = World::start("import").await?;
    let (mesh, user) = Mesh::with_pictures(&world).await?;
    let drawn = (0..DRAWN as u64).map(|seed| pictures::jpeg_of(PICTURE_BYTES, seed));
    let drawn = drawn.collect::<anyhow::Result<Vec<_>>>()?;
    let mut connection = Connection::open(mesh.address)?.with_token(&user.token);
    // The first one finds nothing warm: connections, plans, folders.
    let first = fill(&world.folder.join("first"), &drawn, 1000)?;
    let task = upload::create(&mut connection)?;
    import(&mut connection, task, &first)?;
    // New ones each time: the same bytes would not be stored again.
    let round = Cell::new(0);
    let next = |what: &str| {
        round.set(round.get() + 1);
        fill(&world.folder.join(format!("{what}-{}", round.get())), &drawn, round.get())
    };
    let ours = async || {
        let folder = next("ours")?;
        // A new one each time: the server closes those that were quiet while it was the other's turn.
        let mut connection = Connection::open(mesh.address)?.with_token(&user.token);
        let task = upload::create(&mut connection)?;
        let began = Instant::now();
        import(&mut connection, task, &folder)?;
        Ok(began.elapsed().as_secs_f64() * 1e3)
    };
    let raw = async |durable: bool| {
        let folder = next("raw")?;
        let copied = folder.with_extension("copy");
        let began = Instant::now();
        copy(&folder, &copied)?;
        if durable {
            sync(&copied)?;
        }
        Ok(began.elapsed().as_secs_f64() * 1e3)
    };
    let (values, baselines) = alternate(run.rounds, async || ours().await, async || raw(false).await).await?;
    let (same, durable) = alternate(run.rounds, async || ours().await, async || raw(true).await).await?;
    mesh.running.stop().await;
    let row = |name: String, values, baselines, target| Row { name, unit: "ms", values, baselines, target };
    let name = format!("a task of {PICTURES} JPEGs of {} kB, to its job", PICTURE_BYTES / 1000);
    let rows = vec![
        row(name, values, baselines, Some(Target::RatioAtMost(4.0))),
        row("the same, beside a copy that is on the disk, too".to_owned(), same, durable, None),
        fsync(world.disk())?,
    ];
    world.stop().await?;
    Ok(rows)
}

/// A new folder of pictures, in the cache of the disk and on the disk: neither side is to wait until they are written.
fn fill(folder: &Path, drawn: &[Vec<u8>], round: u64) -> anyhow::Result<PathBuf> {
    std::fs::create_dir(folder)?;
    for (index, picture) in drawn.iter().cycle().take(PICTURES).enumerate() {
        let mark = round * PICTURES as u64 + index as u64;
        std::fs::write(folder.join(format!("{index:06}.jpg")), pictures::marked(picture, mark)?)?;
    }
    sync(folder)?;
    Ok(folder.to_owned())
}

/// Waits until the file system of a folder is on the disk.
fn sync(folder: &Path) -> anyhow::Result<()> {
    let status = Command::new("sync").arg("-f").arg(folder).status().context("cannot run sync")?;
    ensure!(status.success(), "sync failed");
    Ok(())
}

/// As the SDK does: read, sent in one form because they are less than 100 MiB, and waited for.
fn import(connection: &mut Connection, task: i64, folder: &Path) -> anyhow::Result<()> {
    let name = |index: usize| format!("{index:06}.jpg");
    let files = (0..PICTURES).map(|index| std::fs::read(folder.join(name(index))));
    let files = files.collect::<std::io::Result<Vec<_>>>()?;
    let form = upload::form(files.iter().enumerate().map(|(index, bytes)| (name(index), bytes)));
    upload::send(connection, task, &form)?;
    Ok(())
}

/// `cp`, and then what each file's header says.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let status = Command::new("cp").arg("-r").arg(from).arg(to).status().context("cannot run cp")?;
    ensure!(status.success(), "cp failed");
    let mut count = 0;
    for entry in std::fs::read_dir(to)? {
        let mut head = [0; 4096];
        let read = std::io::Read::read(&mut std::fs::File::open(entry?.path())?, &mut head)?;
        pictures::size(&head[..read]).context("no JPEG")?;
        count += 1;
    }
    ensure!(count == PICTURES, "{count} files were copied");
    Ok(())
}
