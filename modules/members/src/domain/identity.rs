//! Identities: the names under which one person is known, each the name of one member at most.

use std::{fmt, str::FromStr};

use huika_core::{BlindIndex, Keyring};
use serde::Serialize;

use crate::{CardNumber, MembersError, PhoneNumber};

const PHONE: &str = "phone";
const CARD: &str = "card";
const EXTERNAL: &str = "external";
/// Kinds of our own have no issuer. An empty text instead of NULL, because it is part of the key.
const OURSELVES: &str = "";
/// The generation of names that no key hides. They were 1 before generations were told apart.
const CLEAR: u32 = 1;

/// A short code that a shop gives: a channel, a store, a source of data.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Code(String);

impl Code {
    /// The longest code; the columns that store codes have this width.
    pub const MAX_CHARS: usize = 32;

    /// The text of the code.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Code {
    type Err = MembersError;

    fn from_str(text: &str) -> Result<Self, MembersError> {
        let fits = (1..=Self::MAX_CHARS).contains(&text.len());
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if fits && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(MembersError::CodeInvalid)
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number of a person in another system, such as the customer number of a web shop.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExternalIdentity {
    issuer: Code,
    subject: String,
}

impl ExternalIdentity {
    /// The longest customer number; the column of subjects has this width.
    pub const MAX_SUBJECT_CHARS: usize = 64;

    /// Takes the code of the system and the number there: 1 to 64 visible ASCII characters.
    ///
    /// # Errors
    /// [`MembersError::CodeInvalid`] for the system, [`MembersError::ExternalInvalid`] for the number.
    pub fn try_new(issuer: &str, subject: &str) -> Result<Self, MembersError> {
        let fits = (1..=Self::MAX_SUBJECT_CHARS).contains(&subject.len());
        if !fits || !subject.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(MembersError::ExternalInvalid);
        }
        Ok(Self {
            issuer: issuer.parse()?,
            subject: subject.to_owned(),
        })
    }

    /// The system that gave the number.
    pub fn issuer(&self) -> &Code {
        &self.issuer
    }
}

impl fmt::Debug for ExternalIdentity {
    /// Without the number, which in many systems is the customer's phone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/…", self.issuer)
    }
}

/// A name under which a member can be found.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identity {
    /// The member's phone.
    Phone(PhoneNumber),
    /// The number of the member's card.
    Card(CardNumber),
    /// The member's number in another system.
    External(ExternalIdentity),
}

/// An identity as the name table holds it: under each generation of index keys, so that processes with and without
/// a new key never give one name to two members.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct IdentityName {
    pub(crate) kind: &'static str,
    pub(crate) issuer: String,
    /// Newest first, never empty.
    pub(crate) subjects: Vec<BlindIndex>,
}

impl Identity {
    /// The row's key. Phones and numbers in other systems become blind indexes, because many systems use the
    /// phone or the identity card as customer number: the table holds none of them in clear.
    pub(crate) fn name(&self, keyring: &Keyring) -> IdentityName {
        let hidden =
            |issuer: &str, text: &str| keyring.blind_indexes(&format!("members_identity/{issuer}"), text);
        let (kind, issuer, subjects) = match self {
            Self::Phone(phone) => (PHONE, OURSELVES, hidden(OURSELVES, phone.reveal())),
            Self::Card(card) => {
                let clear = BlindIndex {
                    text: card.as_str().to_owned(),
                    generation: CLEAR,
                };
                (CARD, OURSELVES, vec![clear])
            }
            Self::External(ExternalIdentity { issuer, subject }) => {
                (EXTERNAL, issuer.as_str(), hidden(issuer.as_str(), subject))
            }
        };
        IdentityName {
            kind,
            issuer: issuer.to_owned(),
            subjects,
        }
    }
}

#[cfg(test)]
mod tests {
    use huika_core::Rng;

    use super::*;

    fn keyring() -> Keyring {
        Keyring::parse(&Keyring::generate(&Rng::seeded(1))).unwrap()
    }

    #[test]
    fn the_name_of_a_phone_tells_nothing_and_is_the_same_for_every_way_to_write_it() {
        let keys = keyring();
        let name = |text: &str| Identity::Phone(text.parse().unwrap()).name(&keys);
        assert_eq!(name("13800138000"), name("+86 138-0013-8000"));
        assert_ne!(name("13800138000"), name("13800138001"));
        assert!(!format!("{:?}", name("13800138000")).contains("13800138000"));
    }

    #[test]
    fn no_customer_number_is_readable() {
        let keys = keyring();
        let name = |issuer: &str, subject: &str| {
            Identity::External(ExternalIdentity::try_new(issuer, subject).unwrap()).name(&keys)
        };
        for subject in ["12345", "13800138000", "13800138000_wx", "110101199003078515"] {
            assert!(
                !name("youzan", subject).subjects[0].text.contains(&subject[..5]),
                "{subject}"
            );
        }
        assert_eq!(name("youzan", "12345"), name("youzan", "12345"));
        assert_ne!(name("youzan", "12345").subjects, name("weimob", "12345").subjects);
    }

    #[test]
    fn codes_and_customer_numbers_have_limits() {
        for text in ["", "a b", "门店", "a/b", &"a".repeat(33)] {
            assert!(text.parse::<Code>().is_err(), "{text}");
        }
        for subject in ["", "a b", "客户", &"a".repeat(65)] {
            assert!(ExternalIdentity::try_new("shop", subject).is_err(), "{subject}");
        }
        assert!(ExternalIdentity::try_new("", "1").is_err());
        assert!(ExternalIdentity::try_new("a.b_c-1", &"9".repeat(64)).is_ok());
    }
}
