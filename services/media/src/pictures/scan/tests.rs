use std::io::Cursor;

use image::{DynamicImage, ImageFormat, RgbImage};
use proptest::prelude::*;

use super::*;

/// A picture with something in it, so that its data has some length.
fn drawn(width: u32, height: u32) -> DynamicImage {
    let pixel = |x: u32, y: u32| image::Rgb([(x * 7) as u8, (y * 11) as u8, (x * y) as u8]);
    DynamicImage::ImageRgb8(RgbImage::from_fn(width, height, pixel))
}

fn encoded(format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(vec![]);
    drawn(33, 21).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn scan_in_pieces(bytes: &[u8], piece: usize) -> Result<Picture, Fault> {
    let mut scan = Scan::default();
    bytes.chunks(piece).for_each(|piece| scan.push(piece));
    scan.finish()
}

const FORMATS: [(ImageFormat, Kind); 5] = [
    (ImageFormat::Jpeg, Kind::Jpeg),
    (ImageFormat::Png, Kind::Png),
    (ImageFormat::WebP, Kind::Webp),
    (ImageFormat::Gif, Kind::Gif),
    (ImageFormat::Bmp, Kind::Bmp),
];

#[test]
fn each_kind_is_known_by_its_bytes_however_they_are_cut() {
    for (format, kind) in FORMATS {
        let bytes = encoded(format);
        for piece in [1, 2, 7, 64, bytes.len()] {
            let picture = scan_in_pieces(&bytes, piece).unwrap_or_else(|fault| panic!("{kind:?}: {fault}"));
            assert_eq!((picture.kind, picture.width, picture.height), (kind, 33, 21));
            assert_eq!(picture.orientation, 1);
        }
    }
}

#[test]
fn a_picture_without_its_end_is_found_out() {
    for (format, kind) in FORMATS {
        let bytes = encoded(format);
        for left_out in [2, bytes.len() / 3, bytes.len() - 14] {
            let fault = scan_in_pieces(&bytes[..bytes.len() - left_out], 50).unwrap_err();
            assert_eq!(fault, Fault::Truncated, "{kind:?} without its last {left_out} bytes");
        }
    }
}

#[test]
fn a_header_that_promises_too_many_pixels_is_refused_at_once() {
    let mut png = encoded(ImageFormat::Png);
    png[16..20].copy_from_slice(&40_000u32.to_be_bytes());
    png[20..24].copy_from_slice(&40_000u32.to_be_bytes());
    let mut scan = Scan::default();
    scan.push(&png[..33]);
    assert_eq!(scan.fault(), Some(&Fault::TooLarge(40_000, 40_000)));
}

#[test]
fn an_empty_file_and_a_text_are_no_pictures() {
    assert_eq!(scan_in_pieces(b"", 1).unwrap_err(), Fault::Empty);
    assert_eq!(scan_in_pieces(b"short", 9).unwrap_err(), Fault::NotAPicture);
    assert_eq!(
        scan_in_pieces(b"BMW builds cars, and this is a text about them.", 9).unwrap_err(),
        Fault::NotAPicture
    );
    assert_eq!(scan_in_pieces(b"<html><body>no picture</body></html>", 9).unwrap_err(), Fault::NotAPicture);
}

#[test]
fn a_turned_jpeg_is_shown_upright() {
    let jpeg = encoded(ImageFormat::Jpeg);
    let tiff = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let mut turned = jpeg[..2].to_vec();
    turned.extend([0xFF, 0xE1]);
    turned.extend((tiff.len() as u16 + 8).to_be_bytes());
    turned.extend(b"Exif\0\0");
    turned.extend(tiff);
    turned.extend(&jpeg[2..]);
    let picture = scan_in_pieces(&turned, 13).unwrap();
    assert_eq!(picture.orientation, 6);
    assert_eq!(picture.shown_size(), (21, 33));
    assert!(picture.plain);
}

#[test]
fn what_follows_the_end_of_a_jpeg_does_not_matter() {
    let mut jpeg = encoded(ImageFormat::Jpeg);
    jpeg.extend(b"a camera's own remarks \xFF\xD8\xFF");
    assert_eq!(scan_in_pieces(&jpeg, 11).unwrap().kind, Kind::Jpeg);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn garbage_never_panics_and_cuts_do_not_matter(
        kind in 0..6usize, garbage in proptest::collection::vec(any::<u8>(), 0..400), piece in 1..50usize
    ) {
        let heads: [&[u8]; 6] = [
            &[0xFF, 0xD8, 0xFF, 0xE1], b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", b"RIFF\xff\0\0\0WEBPVP8X", b"GIF89a", b"BM", b""
        ];
        let bytes = [heads[kind], &garbage].concat();
        prop_assert_eq!(scan_in_pieces(&bytes, piece), scan_in_pieces(&bytes, bytes.len().max(1)));
    }

    #[test]
    fn a_damaged_picture_never_panics(
        which in 0..5usize, at in 0..2000usize, byte in any::<u8>(), piece in 1..200usize
    ) {
        let mut bytes = encoded(FORMATS[which].0);
        let at = at % bytes.len();
        bytes[at] = byte;
        prop_assert_eq!(scan_in_pieces(&bytes, piece), scan_in_pieces(&bytes, bytes.len()));
    }
}
