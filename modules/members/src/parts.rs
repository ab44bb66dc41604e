//! What other modules keep of a member: points, purchases, coupons. This module knows none of them; they join it when
//! the program is composed, and are asked when members are merged, exported, closed or erased.

use std::{error::Error, fmt, sync::Arc};

use async_trait::async_trait;
use huika_core::{Bilingual, Id, IdKind, MemberId, Problem, Refusal, Timestamp};
use huika_db::Tx;

use crate::Members;

/// The kind of a merge's id.
#[derive(Debug)]
pub enum MergeKind {}
impl IdKind for MergeKind {
    const PREFIX: &'static str = "mrg";
}
/// The id of a merge.
pub type MergeId = Id<MergeKind>;

/// Two members who are one person. The loser's rows stay where they are; what the person owns moves to the winner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merge {
    /// The merge: what parts make of it is idempotent by this id.
    pub id: MergeId,
    /// The member who stays.
    pub winner: MemberId,
    /// The member who becomes a redirect.
    pub loser: MemberId,
    /// When the merge takes or took place.
    pub merged_at: Timestamp,
    /// Who decided, as in the audit log.
    pub actor: String,
}

/// What a merge will do in one part, in words for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeEffect {
    /// [`MemberPart::name`] of the part.
    pub part: &'static str,
    /// The words.
    pub text: Bilingual,
    /// Whether this stands in the way of the merge.
    pub blocks: bool,
}

/// A part refuses or fails. The problem outside is that of the part.
pub struct PartError(Box<dyn Refusal>);

impl PartError {
    /// Wraps the error of a module; a collision inside it still makes the transaction run again.
    pub fn new(error: impl Refusal) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Debug for PartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for PartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Error for PartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let error: &(dyn Error + 'static) = &*self.0;
        Some(error)
    }
}

impl Refusal for PartError {
    fn problem(&self) -> Problem {
        self.0.problem()
    }
}

/// What another module keeps of a member. Everything runs in a transaction of this module, which may run twice.
#[async_trait]
pub trait MemberPart: Send + Sync {
    /// The stable name, such as `loyalty`: the key of the part in exports.
    fn name(&self) -> &'static str;

    /// What a merge would do here. Changes nothing.
    ///
    /// # Errors
    /// When the part fails.
    async fn preview_merge(&self, tx: &mut Tx<'_>, merge: &Merge) -> Result<Vec<MergeEffect>, PartError>;

    /// Moves what the loser owns to the winner, and remembers what is needed to move it back.
    ///
    /// # Errors
    /// When something stands in the way, such as an open hold: the merge does not take place.
    async fn merge_in_tx(&self, tx: &mut Tx<'_>, merge: &Merge) -> Result<(), PartError>;

    /// Moves back what [`MemberPart::merge_in_tx`] moved, as far as it is still there.
    ///
    /// # Errors
    /// When it cannot be undone: the merge stays.
    async fn unmerge_in_tx(&self, tx: &mut Tx<'_>, merge: &Merge) -> Result<(), PartError>;

    /// Everything that is kept of the member, for the member.
    ///
    /// # Errors
    /// When the part fails.
    async fn export(&self, tx: &mut Tx<'_>, member_id: MemberId) -> Result<serde_json::Value, PartError>;

    /// Lets the member leave.
    ///
    /// # Errors
    /// When something must be settled first, such as stored value that is to be refunded.
    async fn may_close_in_tx(&self, tx: &mut Tx<'_>, member_id: MemberId) -> Result<(), PartError>;

    /// Removes what tells who the member is. Entries of the ledger stay.
    ///
    /// # Errors
    /// When the part fails.
    async fn erase_in_tx(&self, tx: &mut Tx<'_>, member_id: MemberId) -> Result<(), PartError>;
}

impl Members {
    /// Joins the parts of other modules, in the order in which they are asked. Those modules hold this service, so
    /// they can join only after it was made; clones share the parts. A second call is ignored.
    pub fn join_parts(&self, parts: Vec<Arc<dyn MemberPart>>) {
        if self.parts.set(parts).is_err() {
            tracing::warn!("the parts of members were joined before");
        }
    }

    pub(crate) fn parts(&self) -> &[Arc<dyn MemberPart>] {
        self.parts.get().map_or(&[], Vec::as_slice)
    }
}
