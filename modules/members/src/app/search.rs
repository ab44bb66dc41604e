//! Searching members by what people say at the counter. Found by blind indexes: whole values, the first character of a
//! name, the last digits of a phone. A search by any part is not possible, because nothing is stored in clear.

use huika_core::{Actor, MemberId};

use crate::{
    MemberView, Members, MembersError,
    domain::lookup::{Lookup, LookupKind, TAIL_DIGITS, normal_name},
    permission, store,
};

/// What is searched for.
#[derive(Clone, PartialEq, Eq)]
pub enum Search {
    /// The last four digits of the phone.
    PhoneTail(String),
    /// The whole name or nickname, in any case and spacing.
    Name(String),
    /// The first character of the name or nickname.
    NameBegins(String),
    /// The number of the identity card.
    IdNumber(String),
}

impl Members {
    /// A page of members who are found by something, after one of them, in the order of their ids.
    ///
    /// # Errors
    /// [`MembersError::SearchInvalid`].
    pub async fn search(
        &self,
        actor: &Actor,
        search: &Search,
        after: Option<MemberId>,
        limit: u32,
    ) -> Result<Vec<MemberView>, MembersError> {
        actor.authorize(&permission::READ)?;
        let mut db = &self.db;
        let mut ids = Vec::new();
        for lookup in search.lookups()? {
            ids.extend(store::lookup_members(&mut db, &self.keyring, &lookup, after, limit).await?);
        }
        ids.sort_unstable();
        ids.dedup();
        ids.truncate(limit as usize);
        let mut members = store::member_list(&mut db, &ids, self.now()).await?;
        members.sort_unstable_by_key(|member| member.id);
        members.iter().map(|member| member.view(&self.keyring)).collect()
    }
}

impl Search {
    fn lookups(&self) -> Result<Vec<Lookup>, MembersError> {
        let (kinds, text): (&[LookupKind], String) = match self {
            Self::PhoneTail(digits) => {
                let valid = digits.len() == TAIL_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
                (
                    &[LookupKind::PhoneTail],
                    if valid { digits.clone() } else { String::new() },
                )
            }
            Self::Name(name) => (&[LookupKind::RealName, LookupKind::Nickname], normal_name(name)),
            Self::NameBegins(first) => {
                let kinds = &[LookupKind::RealNameFirst, LookupKind::NicknameFirst];
                (kinds, normal_name(first).chars().take(1).collect())
            }
            Self::IdNumber(number) => (&[LookupKind::IdNumber], number.trim().to_ascii_uppercase()),
        };
        if text.is_empty() {
            return Err(MembersError::SearchInvalid);
        }
        let lookup = |kind: &LookupKind| Lookup {
            kind: *kind,
            text: text.clone(),
        };
        Ok(kinds.iter().map(lookup).collect())
    }
}
