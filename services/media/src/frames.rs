//! The frames of a task: one compact piece of bytes in `frame_index`, read once and kept in memory, because it never
//! changes once it is there.
//!
//! Fixed records first, then the names, so that reading takes one pass and no parsing to speak of.

use diesel::sql_types::{BigInt, Binary};
use diesel_async::RunQueryDsl;
use event_store::{Sql, StoreError, Tx};

use crate::blobs::Blob;
use crate::pictures::{Kind, Picture};

/// The layout's number, the first byte.
const LAYOUT: u8 = 1;
/// Bytes of a record.
const RECORD: usize = 32 + 8 + 8 + 4 + 4 + 4 + 1 + 1 + 1 + 2;

/// One frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    pub name: String,
    pub blob_id: i64,
    pub blob: Blob,
}

/// All frames of a task, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frames(pub Vec<Frame>);

impl Frames {
    /// Memory that they take, roughly.
    pub fn weight(&self) -> usize {
        self.0.iter().map(|frame| size_of::<Frame>() + frame.name.len()).sum()
    }

    fn encode(&self) -> Vec<u8> {
        let names: usize = self.0.iter().map(|frame| frame.name.len()).sum();
        let mut bytes = Vec::with_capacity(1 + self.0.len() * RECORD + names);
        bytes.push(LAYOUT);
        for Frame { name, blob_id, blob } in &self.0 {
            bytes.extend(blob.digest);
            bytes.extend(blob_id.to_le_bytes());
            bytes.extend(blob.size.to_le_bytes());
            bytes.extend(blob.crc32.to_le_bytes());
            bytes.extend(blob.picture.width.to_le_bytes());
            bytes.extend(blob.picture.height.to_le_bytes());
            bytes.extend([blob.picture.kind as u8, blob.picture.orientation, u8::from(blob.picture.plain)]);
            bytes.extend(u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes());
        }
        for frame in &self.0 {
            let length = frame.name.len().min(usize::from(u16::MAX));
            bytes.extend(&frame.name.as_bytes()[..length]);
        }
        bytes
    }

    fn decode(bytes: &[u8], count: usize) -> Option<Self> {
        let (layout, rest) = bytes.split_first()?;
        if *layout != LAYOUT {
            return None;
        }
        let (records, mut names) = rest.split_at_checked(count.checked_mul(RECORD)?)?;
        let frames = records.chunks_exact(RECORD).map(|record| {
            let (blob_id, blob, length) = decode_record(record)?;
            let (name, after) = names.split_at_checked(length)?;
            names = after;
            Some(Frame { name: std::str::from_utf8(name).ok()?.to_owned(), blob_id, blob })
        });
        frames.collect::<Option<_>>().map(Self)
    }
}

fn decode_record(record: &[u8]) -> Option<(i64, Blob, usize)> {
    let mut rest = record;
    let mut take = |count: usize| -> Option<&[u8]> {
        let (part, after) = rest.split_at_checked(count)?;
        rest = after;
        Some(part)
    };
    let digest = take(32)?.try_into().ok()?;
    let blob_id = i64::from_le_bytes(take(8)?.try_into().ok()?);
    let size = u64::from_le_bytes(take(8)?.try_into().ok()?);
    let crc32 = u32::from_le_bytes(take(4)?.try_into().ok()?);
    let width = u32::from_le_bytes(take(4)?.try_into().ok()?);
    let height = u32::from_le_bytes(take(4)?.try_into().ok()?);
    let [kind, orientation, plain] = take(3)?.try_into().ok()?;
    let length = u16::from_le_bytes(take(2)?.try_into().ok()?);
    let picture = Picture { kind: Kind::of(kind)?, width, height, orientation, plain: plain == 1 };
    Some((blob_id, Blob { digest, size, crc32, picture }, usize::from(length)))
}

/// Stores the frames of a task.
pub async fn put(tx: &mut Tx, task_id: i64, frames: &Frames) -> Result<(), StoreError> {
    let mut bytes = i64::try_from(frames.0.len()).unwrap_or(0).to_le_bytes().to_vec();
    bytes.extend(frames.encode());
    Sql::fixed("INSERT INTO frame_index (tenant_id, task_id, frames) VALUES (es_tenant(), $1, $2)")
        .bind::<BigInt>(task_id)
        .bind::<Binary>(bytes)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = Binary)]
    frames: Vec<u8>,
}

/// The frames of a task; none when they were removed.
pub async fn find(tx: &mut Tx, task_id: i64) -> Result<Option<Frames>, StoreError> {
    let rows: Vec<Row> =
        Sql::fixed("SELECT frames FROM frame_index WHERE tenant_id = es_tenant() AND task_id = $1")
            .bind::<BigInt>(task_id)
            .load(&mut **tx)
            .await?;
    rows.into_iter().next().map(|row| read(&row.frames)).transpose()
}

/// Forgets the frames of a task and returns them.
pub async fn take(tx: &mut Tx, task_id: i64) -> Result<Frames, StoreError> {
    let rows: Vec<Row> =
        Sql::fixed("DELETE FROM frame_index WHERE tenant_id = es_tenant() AND task_id = $1 RETURNING frames")
            .bind::<BigInt>(task_id)
            .load(&mut **tx)
            .await?;
    rows.into_iter().next().map(|row| read(&row.frames)).transpose().map(Option::unwrap_or_default)
}

fn read(bytes: &[u8]) -> Result<Frames, StoreError> {
    let frames = bytes.split_at_checked(8).and_then(|(count, rest)| {
        let count = usize::try_from(i64::from_le_bytes(count.try_into().ok()?)).ok()?;
        Frames::decode(rest, count)
    });
    frames.ok_or_else(|| StoreError::Corrupt("a task's frames cannot be read".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(name: &str, number: u8) -> Frame {
        let picture = Picture {
            kind: Kind::Webp,
            width: 640,
            height: 480,
            orientation: number % 8 + 1,
            plain: number == 1,
        };
        let blob = Blob { digest: [number; 32], size: 5_000_000_000, crc32: u32::MAX, picture };
        Frame { name: name.to_owned(), blob_id: i64::from(number), blob }
    }

    #[test]
    fn frames_survive_being_stored() {
        let frames = Frames(vec![frame("a.webp", 1), frame("Ünïcode/ß.webp", 2), frame("c", 3)]);
        assert_eq!(Frames::decode(&frames.encode(), 3), Some(frames.clone()));
        assert_eq!(Frames::decode(&Frames::default().encode(), 0), Some(Frames::default()));
    }

    #[test]
    fn what_is_cut_off_is_not_read() {
        let bytes = Frames(vec![frame("a.webp", 1)]).encode();
        for length in 0..bytes.len() {
            assert_eq!(Frames::decode(&bytes[..length], 1), None, "{length}");
        }
        assert!(read(&[1, 2, 3]).is_err());
    }
}
