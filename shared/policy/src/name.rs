//! Enums that are written as words, in the tables and on the wire.

/// Says that a word names no value of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {kind} `{name}`")]
pub struct UnknownName {
    pub kind: &'static str,
    pub name: String,
}

/// Gives an enum the list of its values and the conversions from and to their words.
macro_rules! named {
    ($type:ident is a $kind:literal { $($value:ident = $name:literal,)+ }) => {
        impl $type {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$value),+];

            /// Returns the word for this value, in lower case.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$value => $name),+ }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $type {
            type Err = crate::name::UnknownName;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                match Self::ALL.iter().find(|value| value.as_str() == name) {
                    Some(value) => Ok(*value),
                    None => Err(crate::name::UnknownName { kind: $kind, name: name.to_owned() }),
                }
            }
        }
    };
}
pub(crate) use named;
