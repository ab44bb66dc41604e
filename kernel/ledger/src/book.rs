//! The working set of a transaction: load and lock, decide in memory, write in bulk.

use std::collections::{BTreeMap, BTreeSet};

use huika_core::{IdGenerator, IdempotencyKey, MemberId, Timestamp};
use huika_db::Tx;

use crate::{
    Asset, Command, HoldId, LedgerError, Operation, Outcome, PostingId,
    domain::{Deciding, MemberState, Posting, Source, StoredAnswer, settle},
    store,
};

/// Rows that one transaction of the tidying job writes, about (ADR 7, rule 11).
pub(crate) const SETTLED_ROWS: usize = 500;

/// What a book must load before commands can be decided.
#[derive(Debug, Clone)]
pub struct Need {
    pub(crate) member_id: MemberId,
    pub(crate) key: Option<IdempotencyKey>,
    pub(crate) sources: Vec<PostingId>,
    pub(crate) holds: Vec<HoldId>,
    /// Of which all open lots and holds are needed, beside what turns out when sources and holds are loaded.
    pub(crate) assets: BTreeSet<Asset>,
}

impl Need {
    /// For a command that only earns.
    pub fn to_earn(member_id: MemberId, key: &IdempotencyKey) -> Self {
        Self {
            member_id,
            key: Some(key.clone()),
            sources: Vec::new(),
            holds: Vec::new(),
            assets: BTreeSet::new(),
        }
    }

    /// For a command that spends, holds or takes back some assets.
    pub fn to_spend(
        member_id: MemberId,
        key: &IdempotencyKey,
        assets: impl IntoIterator<Item = Asset>,
    ) -> Self {
        Self {
            assets: assets.into_iter().collect(),
            ..Self::to_earn(member_id, key)
        }
    }

    /// For a command that reverses postings, of whatever assets they are.
    pub fn to_reverse(member_id: MemberId, key: &IdempotencyKey, sources: Vec<PostingId>) -> Self {
        Self {
            sources,
            ..Self::to_earn(member_id, key)
        }
    }

    /// For settling what time has changed, whatever that is.
    pub(crate) fn to_settle(member_id: MemberId) -> Self {
        Self {
            member_id,
            key: None,
            sources: Vec::new(),
            holds: Vec::new(),
            assets: BTreeSet::new(),
        }
    }

    /// For a command that is known already.
    pub fn of(command: &Command) -> Self {
        let sources: Vec<PostingId> = command
            .operations
            .iter()
            .filter_map(|operation| operation.source())
            .collect();
        let holds: Vec<HoldId> = command
            .operations
            .iter()
            .filter_map(|operation| operation.hold())
            .collect();
        let assets = command
            .operations
            .iter()
            .flat_map(|operation| operation.assets_of_lots())
            .copied()
            .collect();
        Self {
            member_id: command.member_id,
            key: Some(command.key.clone()),
            sources,
            holds,
            assets,
        }
    }
}

/// The accounts of one or many members, loaded and locked by one transaction.
pub struct Book {
    now: Timestamp,
    ids: IdGenerator,
    members: BTreeMap<MemberId, MemberState>,
    postings: Vec<Posting>,
}

impl Book {
    /// Loads what is needed and locks the accounts in the order of their keys.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn load_in_tx(
        tx: &mut Tx<'_>,
        ids: &IdGenerator,
        now: Timestamp,
        needs: &[Need],
    ) -> Result<Self, LedgerError> {
        let mut members: BTreeMap<MemberId, MemberState> = needs
            .iter()
            .map(|need| (need.member_id, MemberState::default()))
            .collect();
        store::account_load_and_lock_in_tx(tx, &mut members).await?;

        let keys: BTreeSet<(i64, String)> = needs
            .iter()
            .filter_map(|need| {
                need.key
                    .as_ref()
                    .map(|key| (need.member_id.as_i64(), key.as_str().to_owned()))
            })
            .collect();
        store::answer_load_in_tx(tx, &mut members, keys.into_iter().collect()).await?;

        let mut wanted: BTreeSet<(MemberId, Asset)> = needs
            .iter()
            .flat_map(|need| need.assets.iter().map(|asset| (need.member_id, *asset)))
            .collect();
        // What is due must be settled first, and settling needs the lots.
        for (member_id, state) in &members {
            wanted.extend(state.due(now).map(|asset| (*member_id, asset)));
        }
        let holds: BTreeSet<(MemberId, HoldId)> = needs
            .iter()
            .flat_map(|need| need.holds.iter().map(|hold_id| (need.member_id, *hold_id)))
            .collect();
        for (member_id, hold_id) in holds {
            let asset = store::hold_load_in_tx(tx, &mut members, member_id, hold_id).await?;
            wanted.extend(asset.map(|asset| (member_id, asset)));
        }
        let sources: BTreeSet<(MemberId, PostingId)> = needs
            .iter()
            .flat_map(|need| need.sources.iter().map(|source| (need.member_id, *source)))
            .collect();
        if !sources.is_empty() {
            let sources = sources.into_iter().collect();
            wanted.extend(store::source_load_in_tx(tx, &mut members, sources).await?);
        }
        if !wanted.is_empty() {
            store::lot_load_open(tx, &mut members, &wanted).await?;
            store::hold_load_open(tx, &mut members, &wanted).await?;
        }
        Ok(Self {
            now,
            ids: ids.clone(),
            members,
            postings: Vec::new(),
        })
    }

    /// The answer that a key already has, if its command was carried out.
    ///
    /// # Errors
    /// [`LedgerError::IdempotencyConflict`] when the key was used with another input.
    pub fn answered(&self, command: &Command) -> Result<Option<Outcome>, LedgerError> {
        let Some(answer) = self
            .members
            .get(&command.member_id)
            .and_then(|state| state.answers.get(command.key.as_str()))
        else {
            return Ok(None);
        };
        if answer.input != command.input {
            return Err(LedgerError::IdempotencyConflict {
                key: command.key.to_string(),
            });
        }
        Ok(Some(Outcome {
            posting_id: answer.posting_id,
            replayed: true,
            entries: answer.entries.clone(),
        }))
    }

    /// Decides a command on what is loaded. Nothing is written before [`Book::save_in_tx`].
    ///
    /// # Errors
    /// What the ledger refuses; the book is then as it was before, and other commands go on.
    ///
    /// # Panics
    /// When the member, or the lots that the command needs, were not among the needs that the book was loaded with.
    pub fn apply(&mut self, command: &Command) -> Result<Outcome, LedgerError> {
        if let Some(outcome) = self.answered(command)? {
            return Ok(outcome);
        }
        let Some(state) = self.members.get_mut(&command.member_id) else {
            panic!("the book was loaded without {}", command.member_id);
        };
        for operation in &command.operations {
            let held = operation.hold().and_then(|hold_id| state.holds.get(&hold_id));
            let uncovered = match operation {
                Operation::ReverseEarn { source, asset, .. } if !state.covers(*source, *asset) => Some(asset),
                _ => None,
            };
            let needed = operation.assets_of_lots().iter();
            let mut needed = needed.chain(held.map(|hold| &hold.asset)).chain(uncovered);
            assert!(
                needed.all(|asset| state.complete.contains(asset)),
                "the book was loaded without the lots of {}",
                command.member_id
            );
        }
        settle_member(state, &self.ids, self.now, command.member_id, &mut self.postings);

        let mut deciding = Deciding::command(state, &self.ids, self.now, command);
        let decided = command
            .operations
            .iter()
            .try_for_each(|operation| deciding.operate(operation));
        let posting = deciding.posting;
        if let Err(refusal) = decided {
            state.undo();
            return Err(refusal);
        }
        state.keep();
        let outcome = Outcome {
            posting_id: posting.posting_id,
            replayed: false,
            entries: posting.outcomes.clone(),
        };
        let answer = StoredAnswer {
            input: posting.input,
            posting_id: posting.posting_id,
            entries: posting.outcomes.clone(),
        };
        state.answers.insert(posting.key.clone(), answer);
        let source = Source {
            entries: posting.outcomes.clone(),
            ..Source::default()
        };
        state.sources.insert(posting.posting_id, source);
        self.postings.push(posting);
        Ok(outcome)
    }

    /// What is free to spend now, for decisions that depend on it.
    pub fn available(&mut self, member_id: MemberId, asset: Asset) -> i64 {
        let Some(state) = self.members.get_mut(&member_id) else {
            return 0;
        };
        settle_member(state, &self.ids, self.now, member_id, &mut self.postings);
        state.available(asset)
    }

    /// Settles what time has changed, member after member in their order, until that is as much as a transaction of
    /// the job should write. Says how many members it came through and the rows they write: the others are still
    /// due. A member is never settled in part, and the first always is.
    pub(crate) fn settle_all(&mut self) -> (usize, usize) {
        let (mut settled, mut rows, mut counted) = (0, 0, 0);
        for (member_id, state) in &mut self.members {
            if rows >= SETTLED_ROWS {
                break;
            }
            settle_member(state, &self.ids, self.now, *member_id, &mut self.postings);
            rows += self.postings[counted..].iter().map(Posting::rows).sum::<usize>();
            counted = self.postings.len();
            settled += 1;
        }
        (settled, rows)
    }

    /// Writes everything that was decided, in a few statements.
    ///
    /// # Errors
    /// [`huika_db::DbError::Stale`] when an account changed since it was loaded: the transaction runs again.
    pub async fn save_in_tx(self, tx: &mut Tx<'_>) -> Result<(), LedgerError> {
        store::book_save_in_tx(tx, &self.members, self.postings).await
    }
}

/// Locks the accounts of some members in the order of their keys, for callers whose decision about a member must come
/// before or after the commands of others, and that write no entry themselves.
///
/// # Errors
/// When the database fails.
pub async fn lock_accounts_in_tx(tx: &mut Tx<'_>, members: &[MemberId]) -> Result<(), LedgerError> {
    let mut states = members
        .iter()
        .map(|member_id| (*member_id, MemberState::default()))
        .collect();
    Ok(store::account_load_and_lock_in_tx(tx, &mut states).await?)
}

/// Settles the accounts that are due. What is due has been loaded with all its lots.
fn settle_member(
    state: &mut MemberState,
    ids: &IdGenerator,
    now: Timestamp,
    member_id: MemberId,
    postings: &mut Vec<Posting>,
) {
    let due: Vec<Asset> = state.due(now).collect();
    for asset in due {
        postings.extend(settle(state, ids, now, member_id, asset));
    }
    state.keep();
}
