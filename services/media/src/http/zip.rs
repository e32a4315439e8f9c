//! A zip archive that is never built: its layout follows from the sizes and checksums of what is in it, so its length
//! is known before a byte of it is read, and any range of it can be had. Nothing is compressed: pictures are already.

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;

use super::serve::{Part, Whole};
use crate::storage::Key;

/// What goes into an archive.
pub struct Entry {
    /// ASCII.
    pub name: String,
    pub key: Key,
    pub size: u64,
    pub crc32: u32,
    /// Its bytes, when they could not be stored.
    pub held: Option<Bytes>,
}

const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const END_64: u32 = 0x0606_4b50;
const LOCATOR_64: u32 = 0x0706_4b50;
/// Says that the number is in the 64-bit part.
const ELSEWHERE: u32 = u32::MAX;
/// Midnight of 1 January 1980: no clock has a say in the bytes.
const DATE: u16 = 0x0021;
const PLAIN: u16 = 20;
const WITH_64: u16 = 45;

/// The archive of these entries, in order.
pub fn archive(entries: Vec<Entry>) -> Whole {
    let mut hash = Context::new(&SHA256);
    let mut parts = Vec::with_capacity(entries.len() * 2 + 1);
    let mut central = Vec::new();
    let mut offset = 0_u64;
    let count = entries.len() as u64;
    for entry in entries {
        let (digest, form) = entry.key.content();
        for part in [entry.name.as_bytes(), digest, form.as_bytes(), &entry.size.to_le_bytes()] {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let header = local_header(&entry);
        add_central(&mut central, &entry, offset);
        offset += header.len() as u64 + entry.size;
        parts.push(Part::Memory(header.into()));
        parts.push(Part::of(entry.key, entry.size, entry.held));
    }
    add_end(&mut central, count, offset);
    parts.push(Part::Memory(Bytes::from(central)));
    let digest = hash.finish();
    let etag = hex::encode(digest.as_ref().get(..16).unwrap_or_default());
    Whole { etag, mime: "application/zip", parts }
}

/// A number as the 32-bit field has it.
fn short(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(ELSEWHERE)
}

fn local_header(entry: &Entry) -> Vec<u8> {
    let large = entry.size >= u64::from(ELSEWHERE);
    let mut header = Vec::with_capacity(64);
    header.extend(LOCAL.to_le_bytes());
    common(&mut header, entry, large);
    header.extend((if large { 20_u16 } else { 0 }).to_le_bytes());
    header.extend(entry.name.as_bytes());
    if large {
        header.extend([1, 0, 16, 0]);
        header.extend(entry.size.to_le_bytes());
        header.extend(entry.size.to_le_bytes());
    }
    header
}

/// From the version that is needed to the length of the name: the same in both headers.
fn common(header: &mut Vec<u8>, entry: &Entry, needs_64: bool) {
    header.extend((if needs_64 { WITH_64 } else { PLAIN }).to_le_bytes());
    // No flags, stored, midnight.
    header.extend([0; 6]);
    header.extend(DATE.to_le_bytes());
    header.extend(entry.crc32.to_le_bytes());
    let size = short(entry.size).to_le_bytes();
    header.extend(size);
    header.extend(size);
    header.extend(u16::try_from(entry.name.len()).unwrap_or(u16::MAX).to_le_bytes());
}

fn add_central(central: &mut Vec<u8>, entry: &Entry, offset: u64) {
    let mut extra = Vec::new();
    if entry.size >= u64::from(ELSEWHERE) {
        extra.extend(entry.size.to_le_bytes());
        extra.extend(entry.size.to_le_bytes());
    }
    if offset >= u64::from(ELSEWHERE) {
        extra.extend(offset.to_le_bytes());
    }
    let needs_64 = !extra.is_empty();
    central.extend(CENTRAL.to_le_bytes());
    central.extend(WITH_64.to_le_bytes());
    common(central, entry, needs_64);
    let extra_length = if needs_64 { extra.len() + 4 } else { 0 };
    central.extend(u16::try_from(extra_length).unwrap_or(0).to_le_bytes());
    // No comment, one disk, no attributes.
    central.extend([0; 10]);
    central.extend(short(offset).to_le_bytes());
    central.extend(entry.name.as_bytes());
    if needs_64 {
        central.extend(1_u16.to_le_bytes());
        central.extend(u16::try_from(extra.len()).unwrap_or(0).to_le_bytes());
        central.extend(extra);
    }
}

fn add_end(central: &mut Vec<u8>, count: u64, offset: u64) {
    let size = central.len() as u64;
    let needs_64 =
        count >= u64::from(u16::MAX) || size >= u64::from(ELSEWHERE) || offset >= u64::from(ELSEWHERE);
    if needs_64 {
        central.extend(END_64.to_le_bytes());
        central.extend(44_u64.to_le_bytes());
        central.extend(WITH_64.to_le_bytes());
        central.extend(WITH_64.to_le_bytes());
        central.extend([0; 8]);
        for number in [count, count, size, offset] {
            central.extend(number.to_le_bytes());
        }
        central.extend(LOCATOR_64.to_le_bytes());
        central.extend([0; 4]);
        central.extend((offset + size).to_le_bytes());
        central.extend(1_u32.to_le_bytes());
    }
    let entries = u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes();
    central.extend(END.to_le_bytes());
    central.extend([0; 4]);
    central.extend(entries);
    central.extend(entries);
    central.extend(short(size).to_le_bytes());
    central.extend(short(offset).to_le_bytes());
    central.extend([0; 2]);
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use contracts::TenantId;

    use super::*;

    fn entry(index: usize, content: &[u8]) -> Entry {
        Entry {
            name: format!("{index:06}.jpeg"),
            key: Key::Blob(TenantId::DEPLOYMENT, [u8::try_from(index % 200).unwrap(); 32]),
            size: content.len() as u64,
            crc32: crc32fast::hash(content),
            held: None,
        }
    }

    /// The bytes of an archive whose stored parts are these.
    fn bytes(whole: &Whole, contents: &[&[u8]]) -> Vec<u8> {
        let mut contents = contents.iter();
        let part = |part: &Part| match part {
            Part::Memory(bytes) => bytes.to_vec(),
            Part::Stored { .. } => contents.next().unwrap().to_vec(),
        };
        whole.parts.iter().flat_map(part).collect()
    }

    #[test]
    fn another_reader_finds_what_was_put_in() {
        let contents: [&[u8]; 3] = [b"first", b"", b"the third and longest"];
        let whole =
            archive(contents.iter().enumerate().map(|(index, content)| entry(index, content)).collect());
        let bytes = bytes(&whole, &contents);
        assert_eq!(bytes.len() as u64, whole.parts.iter().map(Part::size).sum::<u64>());
        let mut zip = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
        assert_eq!(zip.len(), 3);
        for (index, content) in contents.iter().enumerate() {
            let mut found = zip.by_name(&format!("{index:06}.jpeg")).unwrap();
            let mut read = vec![];
            found.read_to_end(&mut read).unwrap();
            assert_eq!(read, *content);
        }
    }

    #[test]
    fn more_entries_than_sixteen_bits_can_count_are_found() {
        let contents = vec![b"x".as_slice(); 70_000];
        let whole =
            archive(contents.iter().enumerate().map(|(index, content)| entry(index, content)).collect());
        let zip = zip::ZipArchive::new(std::io::Cursor::new(bytes(&whole, &contents))).unwrap();
        assert_eq!(zip.len(), 70_000);
    }

    #[test]
    fn large_entries_have_their_numbers_in_64_bits() {
        let large = |index| Entry { size: 5_000_000_000, ..entry(index, b"") };
        let whole = archive(vec![large(0), large(1)]);
        let headers: Vec<&Bytes> = whole
            .parts
            .iter()
            .filter_map(|part| match part {
                Part::Memory(bytes) => Some(bytes),
                Part::Stored { .. } => None,
            })
            .collect();
        assert_eq!(headers[0].len(), 30 + 11 + 20);
        let end = headers[2];
        let at = |needle: [u8; 4]| end.windows(4).position(|window| window == needle).unwrap();
        let record = at(END_64.to_le_bytes());
        let offset = u64::from_le_bytes(end[record + 48..record + 56].try_into().unwrap());
        assert_eq!(offset, 2 * (30 + 11 + 20 + 5_000_000_000));
        assert!(at(LOCATOR_64.to_le_bytes()) > record);
    }

    #[test]
    fn the_tag_changes_with_what_is_in_it() {
        let one = archive(vec![entry(0, b"a"), entry(1, b"b")]).etag;
        assert_eq!(one, archive(vec![entry(0, b"a"), entry(1, b"b")]).etag);
        assert_ne!(one, archive(vec![entry(1, b"a"), entry(0, b"b")]).etag);
        assert_ne!(one, archive(vec![entry(0, b"a")]).etag);
        let other = |key| Entry { key, ..entry(0, b"a") };
        let made = Key::Derived(TenantId::DEPLOYMENT, [0; 32], "q70.jpeg".to_owned());
        let of_one = archive(vec![entry(0, b"a")]).etag;
        assert_ne!(of_one, archive(vec![other(made)]).etag);
        assert_ne!(of_one, archive(vec![other(Key::Blob(TenantId::DEPLOYMENT, [1; 32]))]).etag);
    }
}
