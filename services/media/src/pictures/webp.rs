//! WebP: RIFF chunks up to the size that the file says it has.

use super::scan::{SEGMENT_MAX, Step, Walk, checked_size, le16, le32};
use super::{Fault, Kind, Picture, exif};

#[derive(Clone, Copy, Default)]
enum Place {
    #[default]
    Start,
    Chunk,
    /// In the head of a chunk with so many bytes after it.
    Extended(u64),
    Lossy(u64),
    Lossless(u64),
    Exif(u64),
    Skipped,
}

#[derive(Default)]
pub struct Webp {
    place: Place,
    /// Bytes of the file that have not been asked for.
    left: u64,
    canvas: Option<(u32, u32)>,
    size: Option<(u32, u32)>,
    orientation: Option<u8>,
}

impl Webp {
    /// Asks for so many bytes of those that the file says it has.
    fn at(&mut self, place: Place, step: Step) -> Result<Step, Fault> {
        let count = match step {
            Step::Take(count) => count as u64,
            Step::Skip(count) => count,
            Step::Marker | Step::Done => 0,
        };
        self.left = self.left.checked_sub(count).ok_or(Fault::Damaged("a chunk is larger than the file"))?;
        self.place = place;
        Ok(step)
    }

    fn next_chunk(&mut self) -> Result<Step, Fault> {
        // A byte or two of filling may be left.
        if self.left < 8 {
            return match self.size.or(self.canvas) {
                Some(_) => Ok(Step::Done),
                None => Err(Fault::Damaged("it ends without an image")),
            };
        }
        self.at(Place::Chunk, Step::Take(8))
    }

    fn chunk(&mut self, head: &[u8]) -> Result<Step, Fault> {
        let length = u64::from(le32(head, 4));
        let padded = length + length % 2;
        let after =
            |looked_at: u64| padded.checked_sub(looked_at).ok_or(Fault::Damaged("a chunk is too short"));
        match head.get(..4).unwrap_or_default() {
            b"VP8X" => {
                let rest = after(10)?;
                self.at(Place::Extended(rest), Step::Take(10))
            }
            b"VP8 " => {
                let rest = after(10)?;
                self.at(Place::Lossy(rest), Step::Take(10))
            }
            b"VP8L" => {
                let rest = after(5)?;
                self.at(Place::Lossless(rest), Step::Take(5))
            }
            b"EXIF" if length <= SEGMENT_MAX => {
                let size = usize::try_from(length).unwrap_or(0);
                self.at(Place::Exif(padded - length), Step::Take(size))
            }
            // The last chunk's filling is left out by some.
            _ => self.at(Place::Skipped, Step::Skip(padded.min(self.left))),
        }
    }

    fn rest(&mut self, count: u64) -> Result<Step, Fault> {
        let count = count.min(self.left);
        self.at(Place::Skipped, Step::Skip(count))
    }
}

impl Walk for Webp {
    fn begin(&self) -> Step {
        Step::Take(12)
    }

    fn next(&mut self, bytes: &[u8]) -> Result<Step, Fault> {
        match self.place {
            Place::Start => {
                self.left = u64::from(le32(bytes, 4)).saturating_sub(4);
                self.next_chunk()
            }
            Place::Chunk => self.chunk(bytes),
            Place::Extended(rest) => {
                let dimension = |at: usize| (le32(bytes, at) & 0x00FF_FFFF) + 1;
                // The last of the ten bytes is only reached by reading from the one before.
                let height = (le32(bytes, 6) >> 8) + 1;
                let width = dimension(4);
                checked_size(width, height)?;
                self.canvas = Some((width, height));
                self.rest(rest)
            }
            Place::Lossy(rest) => {
                if bytes.get(3..6) != Some(&[0x9D, 0x01, 0x2A]) {
                    return Err(Fault::Damaged("its image does not begin as one"));
                }
                let size = (u32::from(le16(bytes, 6) & 0x3FFF), u32::from(le16(bytes, 8) & 0x3FFF));
                checked_size(size.0, size.1)?;
                self.size = Some(size);
                self.rest(rest)
            }
            Place::Lossless(rest) => {
                if bytes.first() != Some(&0x2F) {
                    return Err(Fault::Damaged("its image does not begin as one"));
                }
                let bits = le32(bytes, 1);
                let size = ((bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1);
                checked_size(size.0, size.1)?;
                self.size = Some(size);
                self.rest(rest)
            }
            Place::Exif(rest) => {
                // Some write it as JPEG does.
                self.orientation = exif::orientation_of_app1(bytes).or_else(|| exif::orientation(bytes));
                self.rest(rest)
            }
            Place::Skipped => self.next_chunk(),
        }
    }

    fn picture(&self, _total: u64) -> Result<Picture, Fault> {
        let (width, height) = self.canvas.or(self.size).ok_or(Fault::Truncated)?;
        let orientation = self.orientation.unwrap_or(1);
        Ok(Picture { kind: Kind::Webp, width, height, orientation, plain: false })
    }
}
