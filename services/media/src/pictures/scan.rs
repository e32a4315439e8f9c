//! Looks at a picture while it goes by, in pieces of any size: what it is, how large, how it is turned, and
//! whether it is all there. Nothing is decoded, and never more than one segment is kept.

use memchr::memchr;

use super::gif::Gif;
use super::jpeg::Jpeg;
use super::png::Png;
use super::simple::Bmp;
use super::webp::Webp;
use super::{Fault, Kind, Picture};

/// The most pixels that a picture may have: 16,384 × 16,384.
pub const PIXELS_MAX: u64 = 16_384 * 16_384;
/// The longest segment that is looked at.
pub const SEGMENT_MAX: u64 = 65_536;
/// Bytes of a file for each pixel: no format that is known needs more for one picture.
const BYTES_A_PIXEL: u64 = 8;
/// Bytes that a file may have besides: colour profiles, thumbnails, further frames, what a camera appends.
const BESIDES: u64 = 64 * 1024 * 1024;
/// Bytes that tell the kinds apart.
const SNIFFED: usize = 12;

/// What a format wants of the bytes that come next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// So many of them, to look at.
    Take(usize),
    /// So many of them to go by.
    Skip(u64),
    /// All up to a JPEG marker.
    Marker,
    /// None: the picture is complete.
    Done,
}

/// One kind of picture, walked through from its first byte.
pub trait Walk {
    /// What it wants first.
    fn begin(&self) -> Step;
    /// Looks at the bytes that it wanted; after [`Step::Skip`] there are none, after [`Step::Marker`] one: the
    /// marker's code.
    fn next(&mut self, bytes: &[u8]) -> Result<Step, Fault>;
    /// What it found out, `total` bytes having gone by.
    fn picture(&self, total: u64) -> Result<Picture, Fault>;
}

/// A scan of one file.
#[derive(Default)]
pub struct Scan {
    walk: Option<(Box<dyn Walk + Send>, Step)>,
    /// What was taken so far.
    taken: Vec<u8>,
    /// Whether the last byte of the piece before may begin a marker.
    half_marker: bool,
    total: u64,
    fault: Option<Fault>,
}

impl Scan {
    /// Lets a piece of the file go by.
    pub fn push(&mut self, piece: &[u8]) {
        self.total += piece.len() as u64;
        if self.fault.is_some() {
            return;
        }
        let outcome = match self.walk.is_some() {
            true => self.walk_on(piece),
            false => self.sniff(piece),
        };
        if let Err(fault) = outcome.and_then(|()| self.check_tail()) {
            self.fault = Some(fault);
        }
    }

    /// Whether what follows a complete picture goes on for too long.
    fn check_tail(&self) -> Result<(), Fault> {
        match &self.walk {
            // One that needs more bytes than there are yet has no tail.
            Some((walk, Step::Done)) => match walk.picture(self.total) {
                Ok(picture) => checked_length(&picture, self.total),
                Err(_) => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// What is known to be wrong already.
    pub fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// What the file is, now that all of it has gone by.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn finish(self) -> Result<Picture, Fault> {
        if self.total == 0 {
            return Err(Fault::Empty);
        }
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        match self.walk {
            Some((walk, Step::Done)) => checked(walk.picture(self.total)?, self.total),
            Some(_) => Err(Fault::Truncated),
            None => Err(Fault::NotAPicture),
        }
    }

    fn sniff(&mut self, piece: &[u8]) -> Result<(), Fault> {
        self.taken.extend_from_slice(piece);
        if self.taken.len() < SNIFFED {
            return Ok(());
        }
        let walk: Box<dyn Walk + Send> = match kind(&self.taken) {
            Some(Kind::Jpeg) => Box::new(Jpeg::default()),
            Some(Kind::Png) => Box::new(Png::default()),
            Some(Kind::Webp) => Box::new(Webp::default()),
            Some(Kind::Gif) => Box::new(Gif::default()),
            Some(Kind::Bmp) => Box::new(Bmp::default()),
            None => return Err(Fault::NotAPicture),
        };
        let first = walk.begin();
        self.walk = Some((walk, first));
        let sniffed = std::mem::take(&mut self.taken);
        self.walk_on(&sniffed)
    }

    fn walk_on(&mut self, mut rest: &[u8]) -> Result<(), Fault> {
        let Some((walk, step)) = &mut self.walk else { return Ok(()) };
        loop {
            *step = match *step {
                Step::Done => return Ok(()),
                Step::Take(count) => {
                    let missing = count - self.taken.len().min(count);
                    if self.taken.is_empty() && rest.len() >= count {
                        let (wanted, after) = rest.split_at(count);
                        rest = after;
                        walk.next(wanted)?
                    } else {
                        let (part, after) = rest.split_at(missing.min(rest.len()));
                        rest = after;
                        self.taken.extend_from_slice(part);
                        if self.taken.len() < count {
                            return Ok(());
                        }
                        let wanted = std::mem::take(&mut self.taken);
                        walk.next(&wanted)?
                    }
                }
                Step::Skip(count) => {
                    let here = (rest.len() as u64).min(count);
                    rest = &rest[usize::try_from(here).unwrap_or(rest.len())..];
                    match count - here {
                        0 => walk.next(&[])?,
                        left if rest.is_empty() => {
                            *step = Step::Skip(left);
                            return Ok(());
                        }
                        left => Step::Skip(left),
                    }
                }
                Step::Marker => match marker(&mut self.half_marker, &mut rest) {
                    Some(code) => walk.next(&[code])?,
                    None => return Ok(()),
                },
            };
        }
    }
}

/// Goes through entropy-coded data to a marker that ends it.
fn marker(half: &mut bool, rest: &mut &[u8]) -> Option<u8> {
    loop {
        if !*half {
            let Some(at) = memchr(0xFF, rest) else {
                *rest = &[];
                return None;
            };
            *rest = &rest[at + 1..];
            *half = true;
        }
        let (code, after) = rest.split_first()?;
        *rest = after;
        match code {
            // Filling: the next byte may still be the code.
            0xFF => {}
            // A byte of data, or a restart.
            0x00 | 0xD0..=0xD7 => *half = false,
            code => {
                *half = false;
                return Some(*code);
            }
        }
    }
}

fn kind(head: &[u8]) -> Option<Kind> {
    match head {
        [0xFF, 0xD8, 0xFF, ..] => Some(Kind::Jpeg),
        [0x89, b'P', b'N', b'G', 0x0D, 0x0A, 0x1A, 0x0A, ..] => Some(Kind::Png),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Kind::Webp),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Kind::Gif),
        [b'B', b'M', ..] => Some(Kind::Bmp),
        _ => None,
    }
}

/// A size that is allowed.
///
/// # Errors
/// [`Fault::TooLarge`], or [`Fault::Damaged`] for one without pixels.
pub fn checked_size(width: u32, height: u32) -> Result<(), Fault> {
    if width == 0 || height == 0 {
        return Err(Fault::Damaged("it has no pixels"));
    }
    match u64::from(width) * u64::from(height) > PIXELS_MAX {
        true => Err(Fault::TooLarge(width, height)),
        false => Ok(()),
    }
}

fn checked(picture: Picture, total: u64) -> Result<Picture, Fault> {
    checked_size(picture.width, picture.height)?;
    checked_length(&picture, total).map(|()| picture)
}

/// Whether a file is about as long as its picture may need: who shows it reads all of it.
fn checked_length(picture: &Picture, total: u64) -> Result<(), Fault> {
    let (width, height) = (picture.width, picture.height);
    match total > u64::from(width) * u64::from(height) * BYTES_A_PIXEL + BESIDES {
        true => Err(Fault::TooLong(width, height)),
        false => Ok(()),
    }
}

/// A number in big-endian order; 0 where the bytes end.
pub fn be32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |part| u32::from_be_bytes([part[0], part[1], part[2], part[3]]))
}

/// A number in little-endian order; 0 where the bytes end.
pub fn le32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |part| u32::from_le_bytes([part[0], part[1], part[2], part[3]]))
}

/// A number in big-endian order; 0 where the bytes end.
pub fn be16(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |part| u16::from_be_bytes([part[0], part[1]]))
}

/// A number in little-endian order; 0 where the bytes end.
pub fn le16(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |part| u16::from_le_bytes([part[0], part[1]]))
}

#[cfg(test)]
mod tests;
