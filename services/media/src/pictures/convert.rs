//! Pictures out of pictures: the compressed frame and the preview. One decode each; slow, so it belongs on
//! threads of its own.

use std::io::Cursor;

use fast_image_resize::images::Image;
use fast_image_resize::{PixelType, ResizeOptions, Resizer};
use image::metadata::Orientation;
use image::{DynamicImage, ImageFormat, ImageReader, RgbImage};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use super::scan::PIXELS_MAX;
use super::{Kind, Picture};

/// Memory that one decode may take besides the pixels it gives.
const SCRATCH: u64 = 64 * 1024 * 1024;
/// The longest side of a JPEG.
pub const JPEG_SIDE_MAX: u32 = 65_535;
/// Above this quality colours keep their full resolution.
const FULL_COLOUR: u8 = 90;

/// Why a picture cannot be turned into another.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    #[error("it cannot be decoded")]
    Decode(#[from] image::ImageError),
    #[error("it cannot be resized")]
    Resize(#[from] fast_image_resize::ResizeError),
    #[error("its pixels do not fit its size")]
    Buffer(#[from] fast_image_resize::ImageBufferError),
    #[error("it cannot be encoded")]
    Encode(#[from] jpeg_encoder::EncodingError),
    #[error("it is too large to be a JPEG")]
    TooLarge,
}

/// An upright JPEG of the whole picture.
///
/// # Errors
/// When the bytes are no such picture, or too large for a JPEG.
pub fn compressed(bytes: &[u8], picture: &Picture, quality: u8) -> Result<Vec<u8>, ConvertError> {
    encode(&decode(bytes, picture)?, quality)
}

/// An upright JPEG that fits into a square of `side` pixels.
///
/// # Errors
/// When the bytes are no such picture.
pub fn preview(bytes: &[u8], picture: &Picture, side: u32, quality: u8) -> Result<Vec<u8>, ConvertError> {
    let picture = decode(bytes, picture)?;
    let (width, height) = picture.dimensions();
    if width <= side && height <= side {
        return encode(&picture, quality);
    }
    let scale = f64::from(side) / f64::from(width.max(height));
    let scaled = |length: u32| ((f64::from(length) * scale).round() as u32).clamp(1, side);
    let (new_width, new_height) = (scaled(width), scaled(height));
    let source = Image::from_vec_u8(width, height, picture.into_raw(), PixelType::U8x3)?;
    let mut target = Image::new(new_width, new_height, PixelType::U8x3);
    Resizer::new().resize(&source, &mut target, &ResizeOptions::default())?;
    let target =
        RgbImage::from_raw(new_width, new_height, target.into_vec()).ok_or(ConvertError::TooLarge)?;
    encode(&target, quality)
}

/// Bytes of memory that it takes, at the most, to turn a picture of so many bytes into another.
pub fn memory(picture: &Picture, size: u64) -> u64 {
    let a_pixel = match picture.plain {
        // Coefficients of three colours, two bytes each, of one that comes in several scans; and the colours themselves.
        true => 9,
        // Four channels of two bytes, and four of one that are made of them.
        false => 12,
    };
    // The decoder for JPEG copies the file.
    u64::from(picture.width) * u64::from(picture.height) * a_pixel + size * 2
}

fn decode(bytes: &[u8], picture: &Picture) -> Result<RgbImage, ConvertError> {
    let format = match picture.kind {
        Kind::Jpeg => ImageFormat::Jpeg,
        Kind::Png => ImageFormat::Png,
        Kind::Webp => ImageFormat::WebP,
        Kind::Gif => ImageFormat::Gif,
        Kind::Bmp => ImageFormat::Bmp,
    };
    let mut limits = image::Limits::default();
    // Eight bytes a pixel are the most that a decoder gives.
    limits.max_alloc = Some(u64::from(picture.width) * u64::from(picture.height) * 8 + SCRATCH);
    limits.max_image_width = u32::try_from(PIXELS_MAX).ok();
    limits.max_image_height = u32::try_from(PIXELS_MAX).ok();
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let mut image = on_white(reader.decode()?);
    if let Some(orientation) = Orientation::from_exif(picture.orientation) {
        image.apply_orientation(orientation);
    }
    Ok(image.into_rgb8())
}

/// A JPEG has no transparency; what shows through is white, as in a browser.
fn on_white(image: DynamicImage) -> DynamicImage {
    if !image.color().has_alpha() {
        return image;
    }
    let mut image = image.into_rgba8();
    for pixel in image.pixels_mut() {
        let alpha = u32::from(pixel.0[3]);
        for channel in &mut pixel.0[..3] {
            let mixed = (u32::from(*channel) * alpha + 255 * (255 - alpha) + 127) / 255;
            *channel = u8::try_from(mixed).unwrap_or(255);
        }
        pixel.0[3] = 255;
    }
    DynamicImage::ImageRgba8(image)
}

fn encode(picture: &RgbImage, quality: u8) -> Result<Vec<u8>, ConvertError> {
    let side = |length: u32| u16::try_from(length).map_err(|_| ConvertError::TooLarge);
    let (width, height) = (side(picture.width())?, side(picture.height())?);
    let mut bytes = Vec::with_capacity(picture.len() / 8);
    let mut encoder = Encoder::new(&mut bytes, quality.clamp(1, 100));
    if quality < FULL_COLOUR {
        encoder.set_sampling_factor(SamplingFactor::F_2_2);
    }
    encoder.encode(picture, width, height, ColorType::Rgb)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pictures::scan::Scan;

    fn scan(bytes: &[u8]) -> Picture {
        let mut scan = Scan::default();
        scan.push(bytes);
        scan.finish().unwrap()
    }

    fn png(image: &DynamicImage) -> Vec<u8> {
        let mut bytes = Cursor::new(vec![]);
        image.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn a_preview_fits_its_square_and_keeps_its_shape() {
        let wide = DynamicImage::ImageRgb8(RgbImage::from_pixel(800, 200, image::Rgb([10, 200, 30])));
        let bytes = png(&wide);
        let preview = preview(&bytes, &scan(&bytes), 256, 80).unwrap();
        let picture = scan(&preview);
        assert_eq!((picture.kind, picture.width, picture.height), (Kind::Jpeg, 256, 64));
        assert!(picture.plain);
    }

    #[test]
    fn a_turned_picture_becomes_an_upright_one() {
        let tall = DynamicImage::ImageRgb8(RgbImage::from_pixel(40, 20, image::Rgb([1, 2, 3])));
        let bytes = png(&tall);
        let turned = Picture { orientation: 6, ..scan(&bytes) };
        let picture = scan(&compressed(&bytes, &turned, 70).unwrap());
        assert_eq!((picture.width, picture.height, picture.orientation), (20, 40, 1));
    }

    #[test]
    fn what_is_transparent_becomes_white() {
        let clear = DynamicImage::ImageRgba8(image::RgbaImage::from_pixel(16, 16, image::Rgba([9, 9, 9, 0])));
        let bytes = png(&clear);
        let jpeg = compressed(&bytes, &scan(&bytes), 95).unwrap();
        let shown = image::load_from_memory(&jpeg).unwrap().into_rgb8();
        assert!(shown.pixels().all(|pixel| pixel.0.iter().all(|channel| *channel > 250)));
    }

    #[test]
    fn bytes_that_are_no_picture_are_refused() {
        let picture = Picture { kind: Kind::Png, width: 8, height: 8, orientation: 1, plain: false };
        assert!(compressed(b"\x89PNG\r\n\x1a\n and no more", &picture, 70).is_err());
    }
}
