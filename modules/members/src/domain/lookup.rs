//! By what operators search for members: blind indexes of whole values and of their beginnings or ends. A search by
//! any part is not possible, because nothing of a value is stored in clear.

use huika_core::{BlindIndex, Keyring};

use super::{
    member::Nickname,
    profile::{BirthDay, PersonalField, PersonalValue},
};
use crate::PhoneNumber;

/// Digits of a phone that people say to be found.
pub(crate) const TAIL_DIGITS: usize = 4;

/// What is indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LookupKind {
    /// Month and day.
    Birthday,
    IdNumber,
    RealName,
    RealNameFirst,
    Nickname,
    NicknameFirst,
    PhoneTail,
}

impl LookupKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Birthday => "birthday",
            Self::IdNumber => "id_number",
            Self::RealName => "real_name",
            Self::RealNameFirst => "real_name_first",
            Self::Nickname => "nickname",
            Self::NicknameFirst => "nickname_first",
            Self::PhoneTail => "phone_tail",
        }
    }

    /// What a field is found by.
    pub(crate) fn of(field: PersonalField) -> &'static [Self] {
        match field {
            PersonalField::Birthday => &[Self::Birthday],
            PersonalField::IdNumber => &[Self::IdNumber],
            PersonalField::RealName => &[Self::RealName, Self::RealNameFirst],
            PersonalField::Gender | PersonalField::Address | PersonalField::Email | PersonalField::Avatar => {
                &[]
            }
        }
    }

    /// What a nickname is found by.
    pub(crate) const OF_NICKNAME: [Self; 2] = [Self::Nickname, Self::NicknameFirst];

    /// The indexes of a text under every key.
    pub(crate) fn indexes(self, keyring: &Keyring, text: &str) -> Vec<BlindIndex> {
        keyring.blind_indexes(&format!("members_lookup/{}", self.name()), text)
    }
}

/// One thing by which a member is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lookup {
    pub(crate) kind: LookupKind,
    pub(crate) text: String,
}

impl Lookup {
    fn new(kind: LookupKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
        }
    }

    pub(crate) fn of_birth_day(day: BirthDay) -> Self {
        Self::new(LookupKind::Birthday, day.text())
    }

    /// What a value is found by.
    pub(crate) fn of_value(value: &PersonalValue) -> Vec<Self> {
        match value.field() {
            PersonalField::Birthday => value.birth_day().map(Self::of_birth_day).into_iter().collect(),
            PersonalField::IdNumber => vec![Self::new(LookupKind::IdNumber, value.reveal())],
            PersonalField::RealName => {
                of_name(LookupKind::RealName, LookupKind::RealNameFirst, value.reveal())
            }
            PersonalField::Gender | PersonalField::Address | PersonalField::Email | PersonalField::Avatar => {
                Vec::new()
            }
        }
    }

    pub(crate) fn of_nickname(nickname: &Nickname) -> Vec<Self> {
        of_name(LookupKind::Nickname, LookupKind::NicknameFirst, nickname.as_str())
    }

    pub(crate) fn of_phone(phone: &PhoneNumber) -> Self {
        let digits = phone.reveal();
        Self::new(
            LookupKind::PhoneTail,
            &digits[digits.len().saturating_sub(TAIL_DIGITS)..],
        )
    }
}

fn of_name(whole: LookupKind, first: LookupKind, name: &str) -> Vec<Lookup> {
    let name = normal_name(name);
    let begins = name.chars().next().map(String::from).unwrap_or_default();
    vec![Lookup::new(whole, name), Lookup::new(first, begins)]
}

/// A name as it is compared: without spaces, letters small.
pub(crate) fn normal_name(name: &str) -> String {
    let letters = name.chars().filter(|letter| !letter.is_whitespace());
    letters.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_however_they_are_written_and_phones_by_their_last_digits() {
        let texts = |lookups: Vec<Lookup>| lookups.into_iter().map(|one| one.text).collect::<Vec<_>>();
        let nickname = |text: &str| Lookup::of_nickname(&text.parse().unwrap());
        assert_eq!(texts(nickname("Anna Bell")), ["annabell", "a"]);
        assert_eq!(nickname("小 明"), nickname("小明"));
        assert_eq!(Lookup::of_phone(&"13800138000".parse().unwrap()).text, "8000");
    }
}
