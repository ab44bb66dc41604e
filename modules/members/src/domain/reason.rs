//! Why somebody decided something, in their own words.

use std::{fmt, str::FromStr};

use serde::Serialize;

use super::{phone::mask_phones, profile::mask_id_numbers};
use crate::MembersError;

/// Why an operator or a connected system decided something: 1 to 200 characters. Phone numbers and numbers of identity cards in
/// it are masked, because the audit log and the ledger outlive the member's data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason(String);

impl Reason {
    /// The longest reason.
    pub const MAX_CHARS: usize = 200;
}

impl FromStr for Reason {
    type Err = MembersError;

    fn from_str(text: &str) -> Result<Self, MembersError> {
        let text = text.trim();
        let fits = (1..=Self::MAX_CHARS).contains(&text.chars().count());
        if fits {
            Ok(Self(mask_id_numbers(&mask_phones(text))))
        } else {
            Err(MembersError::ReasonInvalid)
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
