//! Exif, as far as one needs it to see which way is up.

/// The tag that says how a picture is turned.
const ORIENTATION: u16 = 0x0112;
/// The type of a 16-bit number.
const SHORT: u16 = 3;

/// The orientation in an APP1 segment of JPEG; none when the segment is about something else.
pub fn orientation_of_app1(segment: &[u8]) -> Option<u8> {
    orientation(segment.strip_prefix(b"Exif\0\0")?)
}

/// The orientation in a block of Exif, which is a TIFF file.
pub fn orientation(tiff: &[u8]) -> Option<u8> {
    let little = match tiff.get(..4)? {
        [b'I', b'I', 42, 0] => true,
        [b'M', b'M', 0, 42] => false,
        _ => return None,
    };
    let short = |at: usize| -> Option<u16> {
        let bytes: [u8; 2] = tiff.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let long = |at: usize| -> Option<u32> {
        let bytes: [u8; 4] = tiff.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    };
    let directory = usize::try_from(long(4)?).ok()?;
    let count = usize::from(short(directory)?);
    (0..count).find_map(|index| {
        let entry = directory.checked_add(2)?.checked_add(index * 12)?;
        if short(entry)? != ORIENTATION || short(entry + 2)? != SHORT {
            return None;
        }
        let value = short(entry + 8)?;
        u8::try_from(value).ok().filter(|value| (1..=8).contains(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_byte_orders_are_read() {
        let little = b"II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        let big = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        assert_eq!(orientation(little), Some(6));
        assert_eq!(orientation(big), Some(6));
        assert_eq!(orientation_of_app1(&[b"Exif\0\0".as_slice(), big].concat()), Some(6));
        assert_eq!(orientation_of_app1(b"http://ns.adobe.com/xap/1.0/\0"), None);
    }

    #[test]
    fn a_block_that_points_beyond_itself_says_nothing() {
        assert_eq!(orientation(b"II\x2a\0\xff\xff\xff\xff"), None);
        assert_eq!(orientation(b"II\x2a\0\x08\0\0\0\xff\xff"), None);
        assert_eq!(orientation(b"II"), None);
    }
}
