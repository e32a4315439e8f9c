//! JPEGs of about a wanted size, each different from all others.

use anyhow::Context as _;
use jpeg_encoder::{ColorType, Encoder};

const QUALITY: u8 = 70;

/// A picture with as much detail as a photograph has: slopes with noise.
pub fn jpeg(width: u16, height: u16, seed: u64) -> anyhow::Result<Vec<u8>> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut pixels = Vec::with_capacity(usize::from(width) * usize::from(height) * 3);
    for y in 0..height {
        for x in 0..width {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let noise = state.to_le_bytes()[0] / 8;
            let slope = |value: u16| (value / 4).to_le_bytes()[0] / 2;
            pixels.extend([slope(x) + noise, slope(y) + noise, slope(x + y) + noise]);
        }
    }
    let mut bytes = vec![];
    Encoder::new(&mut bytes, QUALITY).encode(&pixels, width, height, ColorType::Rgb)?;
    Ok(bytes)
}

/// A picture of about so many bytes.
pub fn jpeg_of(bytes: usize, seed: u64) -> anyhow::Result<Vec<u8>> {
    let probe = jpeg(640, 480, seed)?.len();
    // Four to three, like the probe.
    let scale = (bytes as f64 / probe as f64).sqrt();
    let side = |of: f64| (of * scale).round() as u16;
    jpeg(side(640.0), side(480.0), seed)
}

/// The same picture with a comment, so that it is another file.
pub fn marked(jpeg: &[u8], mark: u64) -> anyhow::Result<Vec<u8>> {
    let rest = jpeg.strip_prefix(&[0xff, 0xd8]).context("no JPEG")?;
    let mut bytes = vec![0xff, 0xd8, 0xff, 0xfe, 0, 10];
    bytes.extend(mark.to_be_bytes());
    bytes.extend(rest);
    Ok(bytes)
}

/// Width and height as the header says them: what anybody must read of a file to know its frame.
pub fn size(jpeg: &[u8]) -> Option<(u16, u16)> {
    let mut rest = jpeg.strip_prefix(&[0xff, 0xd8])?;
    loop {
        let (&[0xff, marker, high, low], after) = rest.split_first_chunk()? else { return None };
        if matches!(marker, 0xc0..=0xc2) {
            let &[_, h1, h2, w1, w2] = after.first_chunk()?;
            return Some((u16::from_be_bytes([w1, w2]), u16::from_be_bytes([h1, h2])));
        }
        rest = rest.get(2 + usize::from(u16::from_be_bytes([high, low]))..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_about_the_wanted_size_and_says_its_own() {
        let picture = jpeg_of(50_000, 7).unwrap();
        assert!((45_000..55_000).contains(&picture.len()), "{}", picture.len());
        let (width, height) = size(&picture).unwrap();
        assert!((u32::from(width) * 3).abs_diff(u32::from(height) * 4) <= 4, "{width} x {height}");
        let other = marked(&picture, 3).unwrap();
        assert_eq!((size(&other), other.len()), (size(&picture), picture.len() + 12));
        assert_eq!(size(b"no picture"), None);
    }
}
