//! Where the services stand in the picture of the mesh, and how the arrows run.
//!
//! Services stand on an ellipse, from the one that reads nobody to the one that reads everybody: an arrow
//! between two points of an ellipse never crosses a third.

/// A picture's measures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    pub name: &'static str,
    pub width: f64,
    pub height: f64,
    /// A service's card.
    pub card: (f64, f64),
    /// Whether events flow down instead of to the right.
    pub upright: bool,
}

/// For wide screens.
pub const WIDE: Shape =
    Shape { name: "wide", width: 760.0, height: 430.0, card: (176.0, 84.0), upright: false };
/// For phones.
pub const TALL: Shape =
    Shape { name: "tall", width: 360.0, height: 520.0, card: (142.0, 84.0), upright: true };

/// The point of an arrow's line that carries its label.
const LABEL_AT: f64 = 0.5;
/// The same for a line along the picture's middle, where others cross it.
const LABEL_OFF_MIDDLE: f64 = 0.27;
/// Room between an arrow's head and the card.
const GAP: f64 = 7.0;

/// Centres of `count` cards, in the order of the flow.
pub fn places(shape: &Shape, count: usize) -> Vec<(f64, f64)> {
    let (long, short) = if shape.upright { (shape.height, shape.width) } else { (shape.width, shape.height) };
    let (card_long, card_short) = if shape.upright { (shape.card.1, shape.card.0) } else { shape.card };
    let (near, far) = (card_long / 2.0 + 2.0, long - card_long / 2.0 - 2.0);
    let (low, high) = (card_short / 2.0 + 2.0, short - card_short / 2.0 - 2.0);
    let between = count.saturating_sub(2);
    let rows = [between.div_ceil(2), between / 2];
    let along = |part: f64| near + (far - near) * part;
    (0..count)
        .map(|index| {
            let (x, y) = match index {
                0 if count == 1 => (along(0.5), short / 2.0),
                0 => (along(0.0), short / 2.0),
                last if last + 1 == count => (along(1.0), short / 2.0),
                middle => {
                    let (row, nth) = ((middle - 1) % 2, (middle - 1) / 2);
                    let part = (nth + 1) as f64 / (rows[row] + 1) as f64;
                    // Further apart than evenly: there must be room for an arrow between neighbours.
                    let part = if shape.upright { part } else { 0.5 + (part - 0.5) * 1.25 };
                    // Side by side on a phone there is no room for an arrow with a label.
                    let part = if shape.upright { part + [-0.11, 0.11][row] } else { part };
                    (along(part), if row == 0 { low } else { high })
                }
            };
            if shape.upright { (y, x) } else { (x, y) }
        })
        .collect()
}

/// An arrow between two cards.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// SVG path data.
    pub path: String,
    pub label: (f64, f64),
}

/// The arrow from one card to another. It bends a little, so that the one the other way round is another line.
pub fn line(shape: &Shape, from: (f64, f64), to: (f64, f64)) -> Line {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let bend = 0.09;
    let control = ((from.0 + to.0) / 2.0 + dy * bend, (from.1 + to.1) / 2.0 - dx * bend);
    let start = edge(shape.card, from, control, 0.0);
    let end = edge(shape.card, to, control, GAP);
    let middle = ((from.0 + to.0 - shape.width) / 2.0).hypot((from.1 + to.1 - shape.height) / 2.0);
    let along = if shape.upright { dy.abs() > shape.height / 2.0 } else { dx.abs() > shape.width / 2.0 };
    let crossed = along && middle < shape.width.min(shape.height) / 8.0;
    let at = |a: f64, b: f64, c: f64| {
        let t = if crossed { LABEL_OFF_MIDDLE } else { LABEL_AT };
        (1.0 - t) * (1.0 - t) * a + 2.0 * t * (1.0 - t) * b + t * t * c
    };
    Line {
        path: format!(
            "M{:.1} {:.1}Q{:.1} {:.1} {:.1} {:.1}",
            start.0, start.1, control.0, control.1, end.0, end.1
        ),
        label: (at(start.0, control.0, end.0), at(start.1, control.1, end.1)),
    }
}

/// Where the line from a card's centre towards a point leaves the card, and `gap` further.
fn edge(card: (f64, f64), centre: (f64, f64), towards: (f64, f64), gap: f64) -> (f64, f64) {
    let (dx, dy) = (towards.0 - centre.0, towards.1 - centre.1);
    let length = dx.hypot(dy).max(1.0);
    let (ux, uy) = (dx / length, dy / length);
    let reach = (card.0 / 2.0 / ux.abs().max(1e-6)).min(card.1 / 2.0 / uy.abs().max(1e-6)) + gap;
    (centre.0 + ux * reach, centre.1 + uy * reach)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_stay_inside_the_picture_and_apart() {
        for shape in [WIDE, TALL] {
            for count in 1..=6 {
                let places = places(&shape, count);
                assert_eq!(places.len(), count);
                for (index, a) in places.iter().enumerate() {
                    assert!(a.0 >= shape.card.0 / 2.0 && a.0 <= shape.width - shape.card.0 / 2.0);
                    assert!(a.1 >= shape.card.1 / 2.0 && a.1 <= shape.height - shape.card.1 / 2.0);
                    for b in &places[index + 1..] {
                        let apart = (a.0 - b.0).abs() >= shape.card.0 || (a.1 - b.1).abs() >= shape.card.1;
                        assert!(apart, "{} cards on {}: {a:?} and {b:?}", count, shape.name);
                    }
                }
            }
        }
    }

    #[test]
    fn an_arrow_begins_and_ends_outside_the_cards_and_differs_from_the_one_back() {
        let places = places(&WIDE, 4);
        let there = line(&WIDE, places[0], places[3]);
        let back = line(&WIDE, places[3], places[0]);
        assert_ne!(there.path, back.path);
        assert_ne!(there.label, back.label);
        let start = edge(WIDE.card, places[0], places[3], 0.0);
        assert!((start.0 - places[0].0 - WIDE.card.0 / 2.0).abs() < 0.01);
    }
}
