//! The key that the first caller makes for a command, so that repeating the command changes nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A key of 1 to 64 visible ASCII characters. It is unique per member, not globally.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IdempotencyKey(String);

/// The text cannot serve as an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "an idempotency key has 1 to {} visible ASCII characters",
    IdempotencyKey::MAX_LENGTH
)]
pub struct InvalidIdempotencyKey;

impl IdempotencyKey {
    /// The longest key in characters; the column that stores it has this width.
    pub const MAX_LENGTH: usize = 64;

    /// Checks and takes a key.
    ///
    /// # Errors
    /// When the text is empty, too long or holds anything but visible ASCII.
    pub fn try_new(text: impl Into<String>) -> Result<Self, InvalidIdempotencyKey> {
        let text = text.into();
        let fits = (1..=Self::MAX_LENGTH).contains(&text.len());
        if fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text))
        } else {
            Err(InvalidIdempotencyKey)
        }
    }

    /// A key that Huika derives for its own follow-up command, for example `expire/…`.
    ///
    /// # Panics
    /// When the result is too long: parts are ids and fixed words of known length.
    pub fn derived(purpose: &str, of: impl fmt::Display) -> Self {
        let text = format!("{purpose}/{of}");
        assert!(
            text.len() <= Self::MAX_LENGTH && text.is_ascii(),
            "derived key too long: {text}"
        );
        Self(text)
    }

    /// The text of the key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for IdempotencyKey {
    type Error = InvalidIdempotencyKey;
    fn try_from(text: String) -> Result<Self, InvalidIdempotencyKey> {
        Self::try_new(text)
    }
}
impl From<IdempotencyKey> for String {
    fn from(key: IdempotencyKey) -> Self {
        key.0
    }
}
impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
