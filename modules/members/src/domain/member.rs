//! A member as stored and as shown.

use std::{fmt, str::FromStr};

use huika_core::{Keyring, MemberId, Timestamp};

use super::personal::MemberKey;
use crate::{CardNumber, Code, MemberState, MembersError, PhoneNumber};

/// What a member wants to be called: 1 to 50 characters without control characters. Personal data.
#[derive(Clone, PartialEq, Eq)]
pub struct Nickname(String);

impl Nickname {
    /// The longest nickname; the column of its encrypted form has room for as many of four bytes.
    pub const MAX_CHARS: usize = 50;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Nickname {
    type Err = MembersError;

    fn from_str(text: &str) -> Result<Self, MembersError> {
        let text = text.trim();
        let fits = (1..=Self::MAX_CHARS).contains(&text.chars().count());
        if fits && !text.chars().any(char::is_control) {
            Ok(Self(text.to_owned()))
        } else {
            Err(MembersError::NicknameInvalid)
        }
    }
}

impl fmt::Debug for Nickname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nickname")
    }
}

/// How a state came about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// Why. None while nobody has changed the state.
    pub reason: Option<String>,
    /// Who decided, as in the audit log. None while nobody has changed the state.
    pub actor: Option<String>,
    /// Since when. None while nobody has changed the state.
    pub since: Option<Timestamp>,
    /// When a freeze ends by itself. None where it does not.
    pub until: Option<Timestamp>,
}

/// A member as operators and tills see one: the phone masked, and nothing in clear that was erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberView {
    /// The member.
    pub id: MemberId,
    /// The number of the card.
    pub card_number: CardNumber,
    /// How the member stands with the shop.
    pub state: MemberState,
    /// Why, by whom and until when.
    pub standing: Standing,
    /// The phone as `138****8000`. None where it is not known or was erased.
    pub phone_masked: Option<String>,
    /// What the member wants to be called. None where it is not known or was erased.
    pub nickname: Option<Nickname>,
    /// Where the member registered.
    pub channel: Code,
    /// The store of the registration, if it took place in one.
    pub store_code: Option<Code>,
    /// When the member registered.
    pub registered_at: Timestamp,
}

/// A member as stored, personal data sealed.
pub(crate) struct MemberRecord {
    pub(crate) id: MemberId,
    pub(crate) card_number: CardNumber,
    /// As of the moment at which it was read.
    pub(crate) state: MemberState,
    pub(crate) standing: Standing,
    pub(crate) phone_sealed: Option<Vec<u8>>,
    pub(crate) nickname_sealed: Option<Vec<u8>>,
    pub(crate) channel: Code,
    pub(crate) store_code: Option<Code>,
    pub(crate) version: i64,
    pub(crate) registered_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    /// None while the member stands alone.
    pub(crate) merged_into: Option<MemberId>,
    /// None after erasure.
    pub(crate) wrapped_key: Option<Vec<u8>>,
}

impl MemberRecord {
    /// The key of the personal data, or None when it was destroyed.
    pub(crate) fn key(&self, keyring: &Keyring) -> Result<Option<MemberKey>, MembersError> {
        self.wrapped_key
            .as_deref()
            .map(|wrapped| MemberKey::open(keyring, self.id, wrapped))
            .transpose()
    }

    /// The clear phone, for those who may see it.
    pub(crate) fn phone(&self, keyring: &Keyring) -> Result<PhoneNumber, MembersError> {
        let key = self.key(keyring)?.ok_or(MembersError::Erased)?;
        let sealed = self.phone_sealed.as_deref().ok_or(MembersError::PhoneUnknown)?;
        key.open_phone(sealed)
    }

    /// The member as shown.
    pub(crate) fn view(&self, keyring: &Keyring) -> Result<MemberView, MembersError> {
        let (mut phone_masked, mut nickname) = (None, None);
        if let Some(key) = self.key(keyring)? {
            phone_masked = match &self.phone_sealed {
                Some(sealed) => Some(key.open_phone(sealed)?.to_string()),
                None => None,
            };
            nickname = self
                .nickname_sealed
                .as_deref()
                .map(|sealed| key.open_nickname(sealed))
                .transpose()?;
        }
        Ok(MemberView {
            id: self.id,
            card_number: self.card_number.clone(),
            state: self.state,
            standing: self.standing.clone(),
            phone_masked,
            nickname,
            channel: self.channel.clone(),
            store_code: self.store_code.clone(),
            registered_at: self.registered_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nicknames_are_short_texts_of_any_script_that_stay_out_of_logs() {
        let name: Nickname = "  小明 🐼 ".parse().unwrap();
        assert_eq!(name.as_str(), "小明 🐼");
        assert!(!format!("{name:?}").contains("小明"));
        for text in ["", "   ", "a\nb", "\u{0}", &"长".repeat(51)] {
            assert!(text.parse::<Nickname>().is_err(), "{text:?}");
        }
    }
}
