//! Annotations as they are stored: a few columns to find them by, and the JSON that clients get.
//!
//! The JSON is made once, when an annotation is written, and never taken apart again: reading a job is
//! joining texts.

use contracts::projects::AnnotationCounts;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use super::annotation_data::{LabeledData, Shape, Tag, Track};

/// The three kinds of annotations; each has ids of its own in requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Tag,
    Shape,
    Track,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Tag, Self::Shape, Self::Track];

    /// As tables know it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tag => "tag",
            Self::Shape => "shape",
            Self::Track => "track",
        }
    }

    /// As documents call several of it.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Tag => "tags",
            Self::Shape => "shapes",
            Self::Track => "tracks",
        }
    }
}

/// Things of each kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ByKind<T> {
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<T>,
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub shapes: Vec<T>,
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub tracks: Vec<T>,
}

/// Whole annotations.
pub type Items = ByKind<Item>;
/// Which annotations.
pub type Ids = ByKind<i64>;

impl<T> Default for ByKind<T> {
    fn default() -> Self {
        Self { tags: vec![], shapes: vec![], tracks: vec![] }
    }
}

impl<T> ByKind<T> {
    pub fn of(&self, kind: Kind) -> &Vec<T> {
        match kind {
            Kind::Tag => &self.tags,
            Kind::Shape => &self.shapes,
            Kind::Track => &self.tracks,
        }
    }

    pub fn of_mut(&mut self, kind: Kind) -> &mut Vec<T> {
        match kind {
            Kind::Tag => &mut self.tags,
            Kind::Shape => &mut self.shapes,
            Kind::Track => &mut self.tracks,
        }
    }

    pub fn is_empty(&self) -> bool {
        Kind::ALL.into_iter().all(|kind| self.of(kind).is_empty())
    }

    pub fn counts(&self) -> AnnotationCounts {
        let count = |kind| self.of(kind).len() as i64;
        AnnotationCounts { tags: count(Kind::Tag), shapes: count(Kind::Shape), tracks: count(Kind::Track) }
    }

    /// Cuts into pieces whose sizes add up to at most `max`, or hold one thing only; keeps the order.
    pub fn chunks(mut self, max: usize, size: impl Fn(&T) -> usize) -> Vec<Self> {
        let (mut chunks, mut chunk, mut filled) = (vec![], Self::default(), 0);
        for kind in Kind::ALL {
            for thing in std::mem::take(self.of_mut(kind)) {
                let size = size(&thing);
                if filled > 0 && filled + size > max {
                    chunks.push(std::mem::take(&mut chunk));
                    filled = 0;
                }
                filled += size;
                chunk.of_mut(kind).push(thing);
            }
        }
        if filled > 0 {
            chunks.push(chunk);
        }
        chunks
    }
}

/// One annotation.
#[derive(Clone, Debug)]
pub struct Item {
    pub id: i64,
    /// Its frame; of a track, the first.
    pub frame: i64,
    pub label_id: i64,
    /// What clients get.
    pub body: Box<RawValue>,
}

impl Serialize for Item {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.body.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Head {
            id: i64,
            frame: i64,
            label_id: i64,
        }
        let body = Box::<RawValue>::deserialize(deserializer)?;
        let Head { id, frame, label_id } =
            serde_json::from_str(body.get()).map_err(serde::de::Error::custom)?;
        Ok(Self { id, frame, label_id, body })
    }
}

/// What can be stored as an [`Item`].
trait Storable: Serialize {
    fn head(&self) -> (Option<i64>, i64, i64);
}

impl Storable for Tag {
    fn head(&self) -> (Option<i64>, i64, i64) {
        (self.id, self.frame, self.label_id)
    }
}

impl Storable for Shape {
    fn head(&self) -> (Option<i64>, i64, i64) {
        (self.id, self.frame, self.label_id)
    }
}

impl Storable for Track {
    fn head(&self) -> (Option<i64>, i64, i64) {
        (self.id, self.frame, self.label_id)
    }
}

impl Items {
    /// Renders annotations, which have their ids already.
    ///
    /// # Errors
    /// When one cannot be JSON, which no checked one can be.
    pub fn render(data: &LabeledData) -> serde_json::Result<Self> {
        Ok(Self {
            tags: rendered(&data.tags)?,
            shapes: rendered(&data.shapes)?,
            tracks: rendered(&data.tracks)?,
        })
    }
}

fn rendered(things: &[impl Storable]) -> serde_json::Result<Vec<Item>> {
    things
        .iter()
        .map(|thing| {
            let (id, frame, label_id) = thing.head();
            Ok(Item { id: id.unwrap_or_default(), frame, label_id, body: to_raw_value(thing)? })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_keep_the_order_and_the_bound() {
        let all = ByKind { tags: vec![3, 3], shapes: vec![9, 1, 1], tracks: vec![4, 4, 4] };
        let chunks = all.chunks(8, |size| *size);
        let sizes: Vec<_> = chunks.iter().map(|c| [c.tags.len(), c.shapes.len(), c.tracks.len()]).collect();
        assert_eq!(sizes, [[2, 0, 0], [0, 1, 0], [0, 2, 1], [0, 0, 2]]);
        assert!(ByKind::<usize>::default().chunks(8, |size| *size).is_empty());
    }

    #[test]
    fn an_item_is_its_body_byte_for_byte() {
        let text = r#"{"z":1.50,"id":7,"frame":3,"label_id":2,"points":[1e3]}"#;
        let item: Item = serde_json::from_str(text).unwrap();
        assert_eq!((item.id, item.frame, item.label_id), (7, 3, 2));
        assert_eq!(serde_json::to_string(&item).unwrap(), text);
        assert!(serde_json::from_str::<Item>(r#"{"id":7}"#).is_err());
    }
}
