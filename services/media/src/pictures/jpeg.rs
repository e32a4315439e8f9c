//! JPEG: segments up to the scan, the scan up to its marker, and so on to the end of the image.

use super::scan::{Step, Walk, be16, checked_size};
use super::{Fault, Kind, Picture, exif};

const SOI: u8 = 0xD8;
const EOI: u8 = 0xD9;
const SOS: u8 = 0xDA;
const APP1: u8 = 0xE1;

/// Where in the file it is.
#[derive(Clone, Copy, Default)]
enum Place {
    #[default]
    Start,
    /// Before the two bytes of a marker.
    Marker,
    /// After its first, or after filling.
    Code,
    /// Before the length of a segment.
    Length(u8),
    /// In a segment that is looked at.
    Segment(u8),
    /// In one that goes by.
    Skipped(u8),
    /// In entropy-coded data.
    Data,
}

#[derive(Default)]
pub struct Jpeg {
    place: Place,
    size: Option<(u32, u32)>,
    plain: bool,
    orientation: Option<u8>,
    scans: u32,
}

impl Jpeg {
    fn marker(&mut self, code: u8) -> Result<Step, Fault> {
        match code {
            EOI if self.size.is_some() && self.scans > 0 => Ok(Step::Done),
            EOI => Err(Fault::Damaged("it ends without an image")),
            0x01 | 0xD0..=SOI => Ok(self.at(Place::Marker, Step::Take(2))),
            0x00 => Err(Fault::Damaged("there is no marker where one must be")),
            _ => Ok(self.at(Place::Length(code), Step::Take(2))),
        }
    }

    fn at(&mut self, place: Place, step: Step) -> Step {
        self.place = place;
        step
    }

    fn frame(&mut self, code: u8, segment: &[u8]) -> Result<(), Fault> {
        if segment.len() < 6 {
            return Err(Fault::Damaged("a frame header is too short"));
        }
        match code {
            0xC0..=0xC2 => {}
            0xC3 | 0xC7 | 0xCB | 0xCF => return Err(Fault::Unsupported("lossless JPEG")),
            0xC9.. => return Err(Fault::Unsupported("JPEG with arithmetic coding")),
            _ => return Err(Fault::Unsupported("hierarchical JPEG")),
        }
        let (height, width) = (u32::from(be16(segment, 1)), u32::from(be16(segment, 3)));
        checked_size(width, height)?;
        self.plain = segment[0] == 8 && matches!(segment[5], 1 | 3);
        self.size = Some((width, height));
        Ok(())
    }
}

/// Whether a marker begins a frame; a few of the range mean something else.
fn begins_frame(code: u8) -> bool {
    matches!(code, 0xC0..=0xCF) && !matches!(code, 0xC4 | 0xC8 | 0xCC)
}

impl Walk for Jpeg {
    fn begin(&self) -> Step {
        Step::Take(2)
    }

    fn next(&mut self, bytes: &[u8]) -> Result<Step, Fault> {
        match self.place {
            Place::Start => Ok(self.at(Place::Marker, Step::Take(2))),
            Place::Marker => match bytes {
                [0xFF, 0xFF] => Ok(self.at(Place::Code, Step::Take(1))),
                [0xFF, code] => self.marker(*code),
                _ => Err(Fault::Damaged("there is no marker where one must be")),
            },
            Place::Code => match bytes {
                [0xFF] => Ok(Step::Take(1)),
                [code] => self.marker(*code),
                _ => Err(Fault::Truncated),
            },
            Place::Length(code) => {
                let Some(length) = usize::from(be16(bytes, 0)).checked_sub(2) else {
                    return Err(Fault::Damaged("a segment is shorter than its length"));
                };
                let looked_at = begins_frame(code) || (code == APP1 && self.orientation.is_none());
                match looked_at {
                    true => Ok(self.at(Place::Segment(code), Step::Take(length))),
                    false => Ok(self.at(Place::Skipped(code), Step::Skip(length as u64))),
                }
            }
            Place::Segment(code) => {
                match code {
                    APP1 => self.orientation = exif::orientation_of_app1(bytes),
                    _ => self.frame(code, bytes)?,
                }
                Ok(self.at(Place::Marker, Step::Take(2)))
            }
            Place::Skipped(SOS) => {
                if self.size.is_none() {
                    return Err(Fault::Damaged("its data comes before its size"));
                }
                self.scans += 1;
                Ok(self.at(Place::Data, Step::Marker))
            }
            Place::Skipped(_) => Ok(self.at(Place::Marker, Step::Take(2))),
            Place::Data => match bytes {
                [code] => self.marker(*code),
                _ => Err(Fault::Truncated),
            },
        }
    }

    fn picture(&self, _total: u64) -> Result<Picture, Fault> {
        let (width, height) = self.size.ok_or(Fault::Truncated)?;
        let orientation = self.orientation.unwrap_or(1);
        Ok(Picture { kind: Kind::Jpeg, width, height, orientation, plain: self.plain })
    }
}
