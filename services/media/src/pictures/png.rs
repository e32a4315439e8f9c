//! PNG: chunks from the header to the end.

use super::scan::{SEGMENT_MAX, Step, Walk, be32, checked_size};
use super::{Fault, Kind, Picture, exif};

#[derive(Clone, Copy, Default)]
enum Place {
    #[default]
    Start,
    /// Before a chunk's length and name.
    Chunk,
    Header,
    Exif,
    /// In a chunk that goes by, with its checksum.
    Skipped,
    /// In the checksum of the last one.
    End,
}

#[derive(Default)]
pub struct Png {
    place: Place,
    size: Option<(u32, u32)>,
    orientation: Option<u8>,
    has_data: bool,
}

impl Png {
    fn at(&mut self, place: Place, step: Step) -> Result<Step, Fault> {
        self.place = place;
        Ok(step)
    }

    fn chunk(&mut self, head: &[u8]) -> Result<Step, Fault> {
        let length = be32(head, 0);
        if length > i32::MAX as u32 {
            return Err(Fault::Damaged("a chunk is longer than any may be"));
        }
        match (head.get(4..8).unwrap_or_default(), self.size) {
            (b"IHDR", None) if length == 13 => self.at(Place::Header, Step::Take(13)),
            (_, None) => Err(Fault::Damaged("it does not begin with its header")),
            (b"IEND", _) if self.has_data => self.at(Place::End, Step::Skip(u64::from(length) + 4)),
            (b"IEND", _) => Err(Fault::Damaged("it ends without an image")),
            (b"eXIf", _) if u64::from(length) <= SEGMENT_MAX => {
                self.at(Place::Exif, Step::Take(length as usize))
            }
            (name, _) => {
                self.has_data |= name == b"IDAT";
                self.at(Place::Skipped, Step::Skip(u64::from(length) + 4))
            }
        }
    }
}

impl Walk for Png {
    fn begin(&self) -> Step {
        Step::Take(8)
    }

    fn next(&mut self, bytes: &[u8]) -> Result<Step, Fault> {
        match self.place {
            Place::Start | Place::Skipped => self.at(Place::Chunk, Step::Take(8)),
            Place::Chunk => self.chunk(bytes),
            Place::Header => {
                let (width, height) = (be32(bytes, 0), be32(bytes, 4));
                checked_size(width, height)?;
                self.size = Some((width, height));
                self.at(Place::Skipped, Step::Skip(4))
            }
            Place::Exif => {
                self.orientation = exif::orientation(bytes);
                self.at(Place::Skipped, Step::Skip(4))
            }
            Place::End => Ok(Step::Done),
        }
    }

    fn picture(&self, _total: u64) -> Result<Picture, Fault> {
        let (width, height) = self.size.ok_or(Fault::Truncated)?;
        let orientation = self.orientation.unwrap_or(1);
        Ok(Picture { kind: Kind::Png, width, height, orientation, plain: false })
    }
}
