//! Merging: who stays, who may be merged, and what a merge changed, so that it can be taken back.

use data_encoding::BASE64;
use huika_core::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::member::MemberRecord;
use crate::{MemberState, MembersError};

/// The winner and the loser: whoever registered first stays.
///
/// # Errors
/// [`MembersError::MergeSelf`]; [`MembersError::Merged`] where one of them is a redirect, so that redirects never form
/// a circle; [`MembersError::MergeState`]; [`MembersError::Erased`].
pub(crate) fn sides(
    one: MemberRecord,
    other: MemberRecord,
) -> Result<(MemberRecord, MemberRecord), MembersError> {
    if one.id == other.id {
        return Err(MembersError::MergeSelf);
    }
    for member in [&one, &other] {
        if let Some(winner) = member.merged_into {
            return Err(MembersError::Merged { winner });
        }
        if member.state != MemberState::Normal {
            return Err(MembersError::MergeState {
                member: member.id,
                state: member.state,
            });
        }
        if member.wrapped_key.is_none() {
            return Err(MembersError::Erased);
        }
    }
    let age = |member: &MemberRecord| (member.registered_at, member.id);
    Ok(if age(&one) <= age(&other) {
        (one, other)
    } else {
        (other, one)
    })
}

/// Sealed bytes as Base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sealed(pub(crate) Vec<u8>);

impl Serialize for Sealed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Sealed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64
            .decode(text.as_bytes())
            .map(Self)
            .map_err(de::Error::custom)
    }
}

/// A name that moved, by its key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct MovedName {
    pub(crate) kind: String,
    pub(crate) issuer: String,
    pub(crate) subject: String,
}

/// What a merge changed. What is not named here it left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Changes {
    /// How the loser stood.
    pub(crate) loser_state: String,
    pub(crate) loser_version: i64,
    pub(crate) loser_updated_at: Timestamp,
    /// The version before; the merge raised it by one.
    pub(crate) winner_version: i64,
    pub(crate) winner_updated_at: Timestamp,
    /// The names that lead to the winner now.
    pub(crate) names: Vec<MovedName>,
    /// The phone that the winner gained, as it was stored.
    pub(crate) phone: Option<Sealed>,
    /// The nickname that the winner gained, as it was stored.
    pub(crate) nickname: Option<Sealed>,
    /// The personal fields that the winner gained, as they were stored.
    pub(crate) fields: Vec<(String, Sealed)>,
}

impl Changes {
    /// Forgets what tells who the members are, once one of them was erased: such a merge cannot be taken back.
    pub(crate) fn forget(&mut self) {
        self.names.clear();
        self.phone = None;
        self.nickname = None;
        self.fields.clear();
    }
}

#[cfg(test)]
mod tests {
    use huika_core::{MemberId, Refusal as _};

    use super::*;

    fn member(id: i64, registered: i64, state: MemberState) -> MemberRecord {
        MemberRecord {
            id: MemberId::from_i64(id),
            card_number: "8800000000000013".parse().unwrap(),
            state,
            standing: Default::default(),
            phone_sealed: None,
            nickname_sealed: None,
            channel: "pos".parse().unwrap(),
            store_code: None,
            version: 1,
            registered_at: Timestamp::from_millis(registered),
            updated_at: Timestamp::from_millis(registered),
            merged_into: (state == MemberState::Merged).then(|| MemberId::from_i64(99)),
            wrapped_key: Some(Vec::new()),
        }
    }

    #[test]
    fn who_registered_first_stays_and_only_normal_members_are_merged() {
        use MemberState::{Blacklisted, Closed, Frozen, Merged, Normal};
        let table = [
            ((1, 10, Normal), (2, 20, Normal), "1 stays"),
            ((1, 20, Normal), (2, 10, Normal), "2 stays"),
            ((2, 10, Normal), (1, 10, Normal), "1 stays"),
            ((1, 10, Normal), (1, 10, Normal), "members.merge_self"),
            ((1, 10, Normal), (2, 20, Frozen), "members.merge_state"),
            ((1, 10, Blacklisted), (2, 20, Normal), "members.merge_state"),
            ((1, 10, Normal), (2, 20, Closed), "members.merge_state"),
            ((1, 10, Merged), (2, 20, Normal), "members.merged"),
            ((1, 10, Normal), (2, 20, Merged), "members.merged"),
        ];
        for (one, other, expected) in table {
            let outcome = sides(member(one.0, one.1, one.2), member(other.0, other.1, other.2));
            let text = match outcome {
                Ok((winner, _)) => format!("{} stays", winner.id.as_i64()),
                Err(error) => error.problem().code.to_owned(),
            };
            assert_eq!(text, expected, "{one:?} {other:?}");
        }
        let mut erased = member(1, 10, Normal);
        erased.wrapped_key = None;
        let refused = sides(erased, member(2, 20, Normal));
        assert!(matches!(refused, Err(MembersError::Erased)));
    }
}
