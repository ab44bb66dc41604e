//! What time does by itself: pending lots open, lots expire, holds lapse.

use huika_core::{IdGenerator, MemberId, Timestamp};

use super::{Deciding, HoldState, LotState, MemberState, Posting};
use crate::{Asset, HoldId, LotId};

/// Carries out everything that was due on an account by `now`, in the order of its moments, one posting per
/// moment. Needs the lots and holds in memory.
pub(crate) fn settle(
    state: &mut MemberState,
    ids: &IdGenerator,
    now: Timestamp,
    member_id: MemberId,
    asset: Asset,
) -> Vec<Posting> {
    let mut postings = Vec::new();
    let mut effective_at = Timestamp::MIN;
    while let Some(at) = first_due(state, asset, now) {
        // A lot whose date passed while it was held expires when the hold ends, not before.
        effective_at = effective_at.max(at);
        let mut deciding = Deciding::by_time(state, ids, now, member_id, asset, effective_at);
        deciding.settle_at(asset, at);
        postings.push(deciding.posting);
    }
    let next = state.next_change_at(asset);
    state.account_mut(asset).next_change_at = next;
    postings
}

impl Deciding<'_> {
    /// Carries out within the posting what its last operation made or brought back too late: a lot that is
    /// over already must not be spent by the next operation, and the answer must show that it is gone.
    /// Where not all lots are in memory, the others change the account at `floor` and no earlier.
    pub(super) fn settle_over(&mut self, asset: Asset, floor: Timestamp) {
        if self.state.known_next_change_at(asset) > self.now {
            return;
        }
        while let Some(at) = first_due(self.state, asset, self.now) {
            self.settle_at(asset, at);
        }
        let next = self.state.next_change_at(asset);
        let next = if self.state.complete.contains(&asset) {
            next
        } else {
            next.min(floor)
        };
        self.state.account_mut(asset).next_change_at = next;
    }

    fn settle_at(&mut self, asset: Asset, at: Timestamp) {
        let due = due_at(self.state, asset, at);
        for hold_id in due.lapsing {
            self.lapse_hold(hold_id);
        }
        for lot_id in due.opening {
            self.release_lot(lot_id);
        }
        for lot_id in due.expiring {
            self.expire_lot(lot_id);
        }
    }
}

struct Due {
    lapsing: Vec<HoldId>,
    opening: Vec<LotId>,
    expiring: Vec<LotId>,
}

fn first_due(state: &MemberState, asset: Asset, now: Timestamp) -> Option<Timestamp> {
    let next = state.next_change_at(asset);
    (next <= now && next < Timestamp::MAX).then_some(next)
}

/// What is due at one moment. A lot that opens and expires at the same moment expires in the next round.
fn due_at(state: &MemberState, asset: Asset, at: Timestamp) -> Due {
    let lots = || {
        state
            .lots
            .values()
            .filter(move |lot| lot.asset == asset && lot.next_change_at() == Some(at))
    };
    Due {
        lapsing: state
            .holds
            .values()
            .filter(|hold| hold.asset == asset && hold.state == HoldState::Open && hold.lapses_at == at)
            .map(|hold| hold.hold_id)
            .collect(),
        opening: lots()
            .filter(|lot| {
                lot.state == LotState::Pending && lot.release_event.is_none() && lot.available_at == Some(at)
            })
            .map(|lot| lot.lot_id)
            .collect(),
        expiring: lots()
            .filter(|lot| lot.expires_at == Some(at))
            .filter(|lot| {
                lot.state == LotState::Open || lot.available_at != Some(at) || lot.release_event.is_some()
            })
            .map(|lot| lot.lot_id)
            .collect(),
    }
}
