//! The hash chain of an account: whoever alters an entry or the posting behind it must alter every later
//! entry too, and the hash on the account.

use huika_core::{MemberId, Timestamp};
use sha2::{Digest, Sha256};

use super::{Entry, Posting};
use crate::{InputHash, PostingId};

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
        for text in [kind, key, reference, actor, trace.unwrap_or_default()] {
            // The length in front keeps two texts from passing for one another.
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text);
        }
        Self(hasher.finalize().into())
    }
}

/// The hash after one more entry.
pub(crate) fn chain_next(
    before: &[u8; 32],
    member_id: MemberId,
    posting: &PostingDigest,
    entry: &Entry,
) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(before);
    hasher.update(posting.0);
    for number in [
        member_id.as_i64(),
        entry.asset.code(),
        entry.sequence,
        entry.available_change,
        entry.pending_change,
        entry.held_change,
        entry.shortfall,
    ] {
        hasher.update(number.to_be_bytes());
    }
    hasher.update(entry.kind.name());
    hasher.update(entry.counter_account.name());
    hasher.finalize().into()
}
