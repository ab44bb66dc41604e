//! Stores: where the merchant sells.

use std::{fmt, str::FromStr};

use huika_core::Timestamp;

/// The code of a store, as tills and shops send it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoreCode(String);

impl StoreCode {
    /// The longest code; the columns that store codes have this width.
    pub const MAX_CHARS: usize = 32;

    /// The text of the code.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StoreCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is no code of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to 32 letters, digits, dots, hyphens or underscores")]
pub struct InvalidStoreCode;

impl FromStr for StoreCode {
    type Err = InvalidStoreCode;

    fn from_str(text: &str) -> Result<Self, InvalidStoreCode> {
        let fits = (1..=Self::MAX_CHARS).contains(&text.len());
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if fits && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidStoreCode)
        }
    }
}

/// A store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// The code, for ever.
    pub code: StoreCode,
    /// The Chinese name.
    pub name_zh: String,
    /// The English name, where it has one.
    pub name_en: Option<String>,
    /// Whether it is open.
    pub is_open: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was closed.
    pub closed_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_the_letters_that_tills_send() {
        for good in ["jingan", "SH-01", "a", "9.b_C", &"x".repeat(32)] {
            assert_eq!(good.parse::<StoreCode>().unwrap().as_str(), good);
        }
        for wrong in ["", "jing an", "静安", "a/b", &"x".repeat(33)] {
            assert_eq!(wrong.parse::<StoreCode>(), Err(InvalidStoreCode), "{wrong}");
        }
    }
}
