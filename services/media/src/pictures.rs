//! Pictures: what they are by their own bytes, and how others are made of them.

pub mod convert;
mod exif;
mod gif;
mod jpeg;
mod png;
pub mod scan;
mod simple;
mod webp;

use serde::{Deserialize, Serialize};

/// The kinds of picture that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Kind {
    Jpeg = 1,
    Png = 2,
    Webp = 3,
    Gif = 4,
    Bmp = 5,
}

impl Kind {
    /// The kind with this number.
    pub fn of(number: u8) -> Option<Self> {
        [Self::Jpeg, Self::Png, Self::Webp, Self::Gif, Self::Bmp]
            .into_iter()
            .find(|kind| *kind as u8 == number)
    }

    /// The media type.
    pub fn mime(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Webp => "image/webp",
            Self::Gif => "image/gif",
            Self::Bmp => "image/bmp",
        }
    }

    /// The usual extension.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::Webp => "webp",
            Self::Gif => "gif",
            Self::Bmp => "bmp",
        }
    }
}

/// What a picture's own bytes say about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    pub kind: Kind,
    /// As stored, before it is turned.
    pub width: u32,
    pub height: u32,
    /// How to turn it, by Exif: 1 is upright.
    pub orientation: u8,
    /// Whether every viewer shows it as it is: 8 bits, grey or three colours.
    pub plain: bool,
}

impl Picture {
    /// Width and height as people see it.
    pub fn shown_size(&self) -> (u32, u32) {
        match self.orientation {
            5..=8 => (self.height, self.width),
            _ => (self.width, self.height),
        }
    }
}

/// What is wrong with a file that should be a picture; reads on after the file's name and a colon.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("the file is empty")]
    Empty,
    #[error("it is not a picture of a known kind (JPEG, PNG, WebP, GIF, BMP)")]
    NotAPicture,
    #[error("the picture ends before its data does")]
    Truncated,
    #[error("the picture is damaged: {0}")]
    Damaged(&'static str),
    #[error("the picture is of a kind that cannot be shown: {0}")]
    Unsupported(&'static str),
    #[error(
        "a picture of {0}×{1} pixels is too large; at most {max} pixels are allowed",
        max = scan::PIXELS_MAX
    )]
    TooLarge(u32, u32),
    #[error("the file is far larger than its picture of {0}×{1} pixels can be")]
    TooLong(u32, u32),
}
