//! The hash chain of an account: whoever alters an entry, the answer that it belongs to or its posting must
//! alter every later entry too, and the hash on the account.
//!
//! What is hashed is fixed for ever. A field may be added to [`EntryOutcome`] only where its default is absent
//! from the JSON; none is renamed, moved or written in another form.

use huika_core::{MemberId, Timestamp};
use sha2::{Digest, Sha256};

use super::{EntryOutcome, Posting};
use crate::{InputHash, PostingId, command::HashWriter};

/// The hash of a posting's own facts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PostingDigest([u8; 32]);

impl PostingDigest {
    pub(crate) fn of(posting: &Posting) -> Self {
        Self::from_parts(
            posting.posting_id,
            &posting.kind,
            &posting.key,
            &posting.input,
            &posting.reference,
            &posting.actor,
            (posting.effective_at, posting.recorded_at),
            posting.trace.as_deref(),
        )
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the columns of a posting, once from memory and once from its row"
    )]
    pub(crate) fn from_parts(
        posting_id: PostingId,
        kind: &str,
        key: &str,
        input: &InputHash,
        reference: &str,
        actor: &str,
        (effective_at, recorded_at): (Timestamp, Timestamp),
        trace: Option<&str>,
    ) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(posting_id.as_i64().to_be_bytes());
        hasher.update(effective_at.as_millis().to_be_bytes());
        hasher.update(recorded_at.as_millis().to_be_bytes());
        hasher.update(input.0);
        for text in [Some(kind), Some(key), Some(reference), Some(actor), trace] {
            // The length in front keeps two texts from passing for one another, and none from an empty one.
            hasher.update(text.map_or(u64::MAX, |text| text.len() as u64).to_be_bytes());
            hasher.update(text.unwrap_or_default());
        }
        Self(hasher.finalize().into())
    }
}

/// The hash after one more entry: over everything that it answered, the terms of its lot or hold included.
pub(crate) fn chain_next(
    before: &[u8; 32],
    member_id: MemberId,
    posting: &PostingDigest,
    sequence: i64,
    outcome: &EntryOutcome,
) -> [u8; 32] {
    let mut hasher = HashWriter(Sha256::new());
    hasher.0.update(before);
    hasher.0.update(posting.0);
    hasher.0.update(member_id.as_i64().to_be_bytes());
    hasher.0.update(sequence.to_be_bytes());
    // A plain struct: writing it as JSON into a hasher cannot fail.
    if let Err(error) = serde_json::to_writer(&mut hasher, outcome) {
        unreachable!("an answer is no JSON: {error}");
    }
    hasher.0.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Asset, CounterAccount, EntryKind, LotId};

    /// What is hashed never changes: every installation holds hashes of this form.
    #[test]
    fn the_hash_of_a_known_entry_is_what_it_was() {
        let posting = PostingDigest::from_parts(
            PostingId::from_i64(7),
            "purchase",
            "key",
            &InputHash([1; 32]),
            "ord_1",
            "opr_1",
            (Timestamp::from_millis(1_000), Timestamp::from_millis(2_000)),
            None,
        );
        let outcome = EntryOutcome {
            asset: Asset::Points,
            kind: EntryKind::Earn,
            counter_account: CounterAccount::Issuance,
            available_change: 0,
            pending_change: 268,
            held_change: 0,
            shortfall: 0,
            source: None,
            reversed: 0,
            available: 0,
            pending: 268,
            held: 0,
            lot_id: Some(LotId::from_i64(8)),
            hold_id: None,
            lots: Vec::new(),
            available_at: Some(Timestamp::from_millis(3_000)),
            event: None,
            expires_at: Some(Timestamp::from_millis(4_000)),
            lapses_at: None,
            limit: 0,
        };
        assert_eq!(
            serde_json::to_string(&outcome).unwrap(),
            "{\"asset\":\"points\",\"kind\":\"earn\",\"counter_account\":\"issuance\",\"available_change\":0,\
             \"pending_change\":268,\"available\":0,\"pending\":268,\"lot_id\":\"lot_0000000000008\",\
             \"available_at\":3000,\"expires_at\":4000}"
        );
        let chain = chain_next(&[2; 32], MemberId::from_i64(9), &posting, 3, &outcome);
        assert_eq!(chain[..4], [166, 139, 17, 138]);
    }
}
