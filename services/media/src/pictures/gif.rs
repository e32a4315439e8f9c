//! GIF: blocks up to the trailer.

use super::scan::{Step, Walk, checked_size, le16};
use super::{Fault, Kind, Picture};

#[derive(Clone, Copy, Default)]
enum Place {
    #[default]
    Header,
    /// Before a block's first byte.
    Block,
    /// Before an extension's label.
    Label,
    Descriptor,
    /// Before the code size of an image.
    CodeSize,
    /// Before a sub-block's length.
    SubLength,
    /// In a sub-block.
    SubBlock,
    /// In a colour table that something follows.
    Colours {
        image: bool,
    },
}

#[derive(Default)]
pub struct Gif {
    place: Place,
    size: (u32, u32),
    images: u32,
}

/// Bytes of the colour table that a flag byte announces.
fn colours(flags: u8) -> u64 {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}

impl Gif {
    fn at(&mut self, place: Place, step: Step) -> Result<Step, Fault> {
        self.place = place;
        Ok(step)
    }
}

impl Walk for Gif {
    fn begin(&self) -> Step {
        Step::Take(13)
    }

    fn next(&mut self, bytes: &[u8]) -> Result<Step, Fault> {
        match self.place {
            Place::Header => {
                self.size = (u32::from(le16(bytes, 6)), u32::from(le16(bytes, 8)));
                checked_size(self.size.0, self.size.1)?;
                let table = colours(bytes.get(10).copied().unwrap_or(0));
                self.at(Place::Colours { image: false }, Step::Skip(table))
            }
            Place::Colours { image: false } => self.at(Place::Block, Step::Take(1)),
            Place::Colours { image: true } => self.at(Place::CodeSize, Step::Take(1)),
            Place::Block => match bytes {
                [0x21] => self.at(Place::Label, Step::Take(1)),
                [0x2C] => self.at(Place::Descriptor, Step::Take(9)),
                [0x3B] if self.images > 0 => Ok(Step::Done),
                [0x3B] => Err(Fault::Damaged("it ends without an image")),
                // Filling between blocks, which some writers leave.
                [0x00] => Ok(Step::Take(1)),
                _ => Err(Fault::Damaged("a block is of no known kind")),
            },
            Place::Label | Place::CodeSize => self.at(Place::SubLength, Step::Take(1)),
            Place::Descriptor => {
                self.images += 1;
                let table = colours(bytes.get(8).copied().unwrap_or(0));
                self.at(Place::Colours { image: true }, Step::Skip(table))
            }
            Place::SubLength => match bytes {
                [0] => self.at(Place::Block, Step::Take(1)),
                [length] => self.at(Place::SubBlock, Step::Skip(u64::from(*length))),
                _ => Err(Fault::Truncated),
            },
            Place::SubBlock => self.at(Place::SubLength, Step::Take(1)),
        }
    }

    fn picture(&self, _total: u64) -> Result<Picture, Fault> {
        let (width, height) = self.size;
        Ok(Picture { kind: Kind::Gif, width, height, orientation: 1, plain: false })
    }
}
