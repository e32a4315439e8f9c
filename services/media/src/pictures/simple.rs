//! BMP: a header that says where the pixels are.

use super::scan::{Step, Walk, checked_size, le16, le32};
use super::{Fault, Kind, Picture};

#[derive(Default)]
pub struct Bmp {
    size: (u32, u32),
    /// Bytes that the file must have.
    needed: u64,
}

impl Walk for Bmp {
    fn begin(&self) -> Step {
        Step::Take(34)
    }

    fn next(&mut self, bytes: &[u8]) -> Result<Step, Fault> {
        // `BM` alone is how many a text begins.
        let known = matches!(le32(bytes, 14), 40 | 52 | 56 | 64 | 108 | 124);
        if !known || le16(bytes, 26) != 1 {
            return Err(Fault::NotAPicture);
        }
        let (width, height) = (le32(bytes, 18).cast_signed(), le32(bytes, 22).cast_signed());
        let (width, height) = (width.unsigned_abs(), height.unsigned_abs());
        checked_size(width, height)?;
        let (bits, compression) = (u64::from(le16(bytes, 28)), le32(bytes, 30));
        if !matches!(bits, 1 | 2 | 4 | 8 | 16 | 24 | 32) {
            return Err(Fault::NotAPicture);
        }
        let row = (u64::from(width) * bits).div_ceil(32) * 4;
        let offset = u64::from(le32(bytes, 10));
        // Only rows that are not compressed have a known length.
        let rows = if matches!(compression, 0 | 3 | 6) { row * u64::from(height) } else { 0 };
        self.size = (width, height);
        self.needed = offset + rows;
        Ok(Step::Done)
    }

    fn picture(&self, total: u64) -> Result<Picture, Fault> {
        if total < self.needed {
            return Err(Fault::Truncated);
        }
        let (width, height) = self.size;
        Ok(Picture { kind: Kind::Bmp, width, height, orientation: 1, plain: false })
    }
}
