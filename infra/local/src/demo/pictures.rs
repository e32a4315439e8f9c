//! The demo's pictures: street scenes, each with a car, a sun and a road sign, and where in them these are.

use std::io::Cursor;

use anyhow::Context;
use image::codecs::jpeg::JpegEncoder;
use image::{ImageFormat, Rgb, RgbImage};

const WIDTH: u32 = 480;
const HEIGHT: u32 = 320;
/// Where the road begins.
const ROAD: f64 = 220.0;

/// A drawn picture.
pub struct Picture {
    pub name: String,
    pub bytes: Vec<u8>,
    pub shapes: Vec<Shape>,
}

/// Something in a picture, as CVAT marks it.
pub struct Shape {
    pub label: &'static str,
    /// CVAT's type of shape.
    pub kind: &'static str,
    pub points: Vec<f64>,
}

/// Draws pictures, no two alike; by turns as JPEG and PNG.
///
/// # Errors
/// When they cannot be encoded.
pub fn draw(count: usize) -> anyhow::Result<Vec<Picture>> {
    (0..count).map(picture).collect()
}

fn picture(index: usize) -> anyhow::Result<Picture> {
    let scene = Scene::of(index);
    let pixels = RgbImage::from_fn(WIDTH, HEIGHT, |x, y| Rgb(scene.colour(f64::from(x), f64::from(y))));
    let mut bytes = vec![];
    let suffix = match index % 2 {
        0 => {
            JpegEncoder::new_with_quality(&mut bytes, 90).encode_image(&pixels).context("as JPEG")?;
            "jpg"
        }
        _ => {
            pixels.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).context("as PNG")?;
            "png"
        }
    };
    Ok(Picture { name: format!("street-{:02}.{suffix}", index + 1), bytes, shapes: scene.shapes() })
}

/// What is where: the car drives to the right, the sun sets, the sign comes nearer.
struct Scene {
    /// Left and top edge of the car.
    car: (f64, f64),
    /// Centre and radius of the sun.
    sun: (f64, f64, f64),
    /// The sign's corners.
    sign: [(f64, f64); 3],
}

const CAR: (f64, f64) = (120.0, 48.0);

impl Scene {
    fn of(index: usize) -> Self {
        let step = index as f64;
        let (middle, top, size) = (400.0 - 6.0 * step, 130.0 - 3.0 * step, 22.0 + 2.0 * step);
        Self {
            car: (16.0 + 22.0 * step, 214.0 + 3.0 * (step % 3.0)),
            sun: (70.0 + 10.0 * step, 52.0 + 7.0 * step, 26.0),
            sign: [(middle, top), (middle + size, top + 1.7 * size), (middle - size, top + 1.7 * size)],
        }
    }

    fn shapes(&self) -> Vec<Shape> {
        let (left, top) = self.car;
        let (x, y, radius) = self.sun;
        vec![
            Shape { label: "car", kind: "rectangle", points: vec![left, top, left + CAR.0, top + CAR.1] },
            // CVAT's way to say it: centre, right edge, upper edge.
            Shape { label: "sun", kind: "ellipse", points: vec![x, y, x + radius, y - radius] },
            Shape {
                label: "sign",
                kind: "polygon",
                points: self.sign.iter().flat_map(|corner| [corner.0, corner.1]).collect(),
            },
        ]
    }

    fn colour(&self, x: f64, y: f64) -> [u8; 3] {
        let (left, top) = (x - self.car.0, y - self.car.1);
        let near = |(a, b): (f64, f64), radius: f64| (a - left).hypot(b - top) < radius;
        match () {
            () if near((26.0, 40.0), 8.0) || near((94.0, 40.0), 8.0) => [34, 36, 40],
            () if (24.0..96.0).contains(&left) && (4.0..20.0).contains(&top) => [176, 214, 236],
            () if (18.0..102.0).contains(&left) && (0.0..22.0).contains(&top) => [196, 46, 52],
            () if (0.0..CAR.0).contains(&left) && (22.0..42.0).contains(&top) => [196, 46, 52],
            () if self.is_in_sign(x, y) => [246, 190, 40],
            () if (x - self.sign[0].0).abs() < 3.0 && y > self.sign[1].1 && y < ROAD + 8.0 => [110, 110, 116],
            () if (x - self.sun.0).hypot(y - self.sun.1) < self.sun.2 => [255, 224, 120],
            () if y < ROAD => {
                let height = y / ROAD;
                [(120.0 + 110.0 * height) as u8, (170.0 + 50.0 * height) as u8, 232]
            }
            () if (y - 276.0).abs() < 3.0 && x % 60.0 < 34.0 => [240, 240, 236],
            () => [88, 92, 98],
        }
    }

    /// On the same side of all three edges.
    fn is_in_sign(&self, x: f64, y: f64) -> bool {
        let [a, b, c] = self.sign;
        let side = |p: (f64, f64), q: (f64, f64)| (q.0 - p.0) * (y - p.1) - (q.1 - p.1) * (x - p.0) >= 0.0;
        side(a, b) && side(b, c) && side(c, a)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_what_their_names_say_and_their_shapes_are_inside() {
        let pictures = draw(12).unwrap();
        for (index, picture) in pictures.iter().enumerate() {
            let format = image::guess_format(&picture.bytes).unwrap();
            assert!(format.extensions_str().contains(&picture.name.rsplit('.').next().unwrap()));
            let pixels = image::load_from_memory(&picture.bytes).unwrap().to_rgb8();
            assert_eq!(pixels.dimensions(), (WIDTH, HEIGHT));
            for shape in &picture.shapes {
                for point in shape.points.chunks(2) {
                    let inside = (0.0..f64::from(WIDTH)).contains(&point[0]) && point[1] >= 0.0;
                    assert!(inside && point[1] < f64::from(HEIGHT), "{} of {index}: {point:?}", shape.label);
                }
            }
            // The sun is where its ellipse says, and yellow.
            let sun = &picture.shapes[1].points;
            let Rgb([red, green, blue]) = *pixels.get_pixel(sun[0] as u32, sun[1] as u32);
            assert!(red > 240 && green > 200 && blue < 150, "{index}: {red} {green} {blue}");
            assert!(pictures[..index].iter().all(|other| other.bytes != picture.bytes));
        }
    }
}
