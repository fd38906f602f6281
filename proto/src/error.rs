//! Why bytes were refused.

use basalt_primitives::validators::SetError;

/// Why bytes were not accepted as a message.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    /// Longer than the message can be.
    #[error("{what} of {have} bytes is longer than the limit of {max}")]
    TooLarge {
        /// The message or field.
        what: &'static str,
        /// Its length.
        have: usize,
        /// The longest allowed.
        max: usize,
    },
    /// More items than allowed.
    #[error("more than {max} {what}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// Most allowed.
        max: usize,
    },
    /// Not protobuf of this message.
    #[error("{what} is not valid protobuf: {problem}")]
    Protobuf {
        /// The message.
        what: &'static str,
        /// What the decoder said.
        problem: String,
    },
    /// A field that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A byte string of the wrong length.
    #[error("{what} has {have} bytes instead of {want}")]
    Length {
        /// The field.
        what: &'static str,
        /// Its length.
        have: usize,
        /// The length it must have.
        want: usize,
    },
    /// A value out of its range.
    #[error("{what} {problem}")]
    Value {
        /// The field.
        what: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The bytes are not the one encoding of what they say.
    #[error("{0} is not in its canonical encoding")]
    NotCanonical(&'static str),
    /// A validator set that breaks its rules.
    #[error("validator set: {0}")]
    Set(String),
}

impl From<SetError> for DecodeError {
    fn from(e: SetError) -> Self {
        Self::Set(e.to_string())
    }
}
