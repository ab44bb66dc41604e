//! Bodies that several routes share, also those of `orders`.

use huika_core::{Bilingual, BusinessDate, Timestamp};
use huika_ledger::{Balance, EntryKind, EntryOutcome, HoldId, LotId, LotView, PostingId};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{Benefits, Metric, PointsOutcome, Requirement, Standing, StatementView, TierProgress};

/// One text in both languages.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(example = json!({"zh": "白银会员", "en": "Silver"}))]
pub struct BilingualBody {
    /// Simplified Chinese.
    pub zh: String,
    /// English.
    pub en: String,
}

impl From<Bilingual> for BilingualBody {
    fn from(text: Bilingual) -> Self {
        Self {
            zh: text.zh,
            en: text.en,
        }
    }
}

/// A points account.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PointsBalanceBody {
    /// Free to spend. Below zero while refunds took back more than there was.
    #[schema(example = 268)]
    pub available: i64,
    /// Not yet available.
    #[schema(example = 0)]
    pub pending: i64,
    /// Set aside for orders that await payment.
    #[schema(example = 0)]
    pub held: i64,
    /// All that ever came in, less what was taken back.
    #[schema(example = 268)]
    pub lifetime_earned: i64,
    /// All that was ever spent, less what was put back.
    #[schema(example = 0)]
    pub lifetime_redeemed: i64,
}

impl From<Balance> for PointsBalanceBody {
    fn from(balance: Balance) -> Self {
        Self {
            available: balance.available,
            pending: balance.pending,
            held: balance.held,
            lifetime_earned: balance.lifetime_in,
            lifetime_redeemed: balance.lifetime_out,
        }
    }
}

/// A tier, what keeps it and the way to the next.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TierProgressBody {
    /// The code of the tier.
    #[schema(example = "bronze")]
    pub tier: String,
    /// Its name.
    pub name: BilingualBody,
    /// Since when. Null: since registration.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// What brought it: reached, retained, grace_began, lowered … Null: the registration.
    #[schema(required, example = "reached")]
    pub reason: Option<String>,
    /// Growth value.
    #[schema(example = 26_800)]
    pub growth: i64,
    /// What the tier brings.
    pub benefits: Benefits,
    /// What keeps the tier. Null: it is not evaluated.
    #[schema(required)]
    pub keep: Option<KeepTierBody>,
    /// The next tier. Null at the top.
    #[schema(required)]
    pub next: Option<NextTierBody>,
}

/// What keeps a tier.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct KeepTierBody {
    /// The last date on which it can still be met.
    #[schema(value_type = String, format = Date)]
    pub by: BusinessDate,
    /// Whether all requirements must be met, or one is enough.
    pub all: bool,
    /// Whether it is met already.
    pub met: bool,
    /// The requirements.
    pub requirements: Vec<RequirementBody>,
}

/// The tier above.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct NextTierBody {
    /// Its code.
    #[schema(example = "silver")]
    pub tier: String,
    /// Its name.
    pub name: BilingualBody,
    /// Whether all requirements must be met, or one is enough.
    pub all: bool,
    /// The requirements.
    pub requirements: Vec<RequirementBody>,
}

/// One metric on the way to something. Spend is in minor units.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RequirementBody {
    /// Which.
    pub metric: Metric,
    /// Where it must be.
    #[schema(example = 100_000)]
    pub threshold: i64,
    /// Where it is.
    #[schema(example = 26_800)]
    pub present: i64,
    /// What is missing.
    #[schema(example = 73_200)]
    pub missing: i64,
}

fn requirement_bodies(requirements: Vec<Requirement>) -> Vec<RequirementBody> {
    let body = |requirement: Requirement| RequirementBody {
        metric: requirement.metric,
        threshold: requirement.threshold,
        present: requirement.present,
        missing: requirement.missing,
    };
    requirements.into_iter().map(body).collect()
}

impl From<TierProgress> for TierProgressBody {
    fn from(progress: TierProgress) -> Self {
        Self {
            tier: progress.tier.code,
            name: progress.tier.name.into(),
            since: progress.span.as_ref().map(|span| span.from),
            reason: progress.span.map(|span| span.reason.name().to_owned()),
            growth: progress.growth,
            benefits: progress.tier.benefits,
            keep: progress.keep.map(|keep| KeepTierBody {
                by: keep.by,
                all: keep.all,
                met: keep.met,
                requirements: requirement_bodies(keep.requirements),
            }),
            next: progress.next.map(|next| NextTierBody {
                tier: next.tier.code,
                name: next.tier.name.into(),
                all: next.all,
                requirements: requirement_bodies(next.requirements),
            }),
        }
    }
}

/// Where a member stands.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StandingBody {
    points: PointsBalanceBody,
    tier: TierProgressBody,
    /// The points that expire first. Null when none expire.
    #[schema(required)]
    expiring_next: Option<ExpiringBody>,
}

/// Points that expire together.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ExpiringBody {
    /// How many.
    #[schema(example = 268)]
    points: i64,
    /// The moment after their last.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

impl From<Standing> for StandingBody {
    fn from(standing: Standing) -> Self {
        Self {
            points: standing.points.into(),
            tier: standing.tier.into(),
            expiring_next: standing
                .expiring_next
                .map(|(points, expires_at)| ExpiringBody { points, expires_at }),
        }
    }
}

/// An entry of a points account with its why.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PointsEntryBody {
    /// The number of the entry in its account.
    sequence: i64,
    /// The posting.
    #[schema(value_type = String, example = "pst_01hpw4v5z6k8f")]
    posting_id: PostingId,
    /// The kind of the posting: purchase, refund, earn, redeem, hold, …
    #[schema(example = "purchase")]
    posting_kind: String,
    /// What the entry did: earn, spend, expire, …
    #[schema(example = "earn")]
    entry_kind: String,
    /// What the posting is about; empty where it is about nothing else.
    reference: String,
    /// Change of what is free to spend.
    #[schema(example = 268)]
    available_change: i64,
    /// Change of what is pending.
    pending_change: i64,
    /// Change of what is held.
    held_change: i64,
    /// What should have been taken back and was forgiven.
    shortfall: i64,
    /// When it counts.
    #[schema(value_type = String, format = DateTime)]
    effective_at: Timestamp,
    /// When it was written.
    #[schema(value_type = String, format = DateTime)]
    recorded_at: Timestamp,
    /// Why. Null where the kind says it all.
    #[schema(required)]
    why: Option<BilingualBody>,
}

impl From<StatementView> for PointsEntryBody {
    fn from(view: StatementView) -> Self {
        let line = view.line;
        Self {
            sequence: line.sequence,
            posting_id: line.posting_id,
            posting_kind: line.posting_kind,
            entry_kind: line.entry_kind,
            reference: line.reference,
            available_change: line.available_change,
            pending_change: line.pending_change,
            held_change: line.held_change,
            shortfall: line.shortfall,
            effective_at: line.effective_at,
            recorded_at: line.recorded_at,
            why: view.why.map(BilingualBody::from),
        }
    }
}

/// A lot of points: earned together, lost together.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PointsLotBody {
    /// The lot.
    #[schema(value_type = String, example = "lot_01hpw4v5z6k8f")]
    lot_id: LotId,
    /// The posting that made it.
    #[schema(value_type = String, example = "pst_01hpw4v5z6k8f")]
    posting_id: PostingId,
    /// How many it began with.
    #[schema(example = 268)]
    amount: i64,
    /// How many are left, held ones included.
    #[schema(example = 268)]
    remaining: i64,
    /// How many of these are held.
    held: i64,
    /// Whether it waits for its date or event.
    pending: bool,
    /// From when on it can be spent. Null: at once.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    available_at: Option<Timestamp>,
    /// When it is lost. Null: never.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

impl From<LotView> for PointsLotBody {
    fn from(lot: LotView) -> Self {
        Self {
            lot_id: lot.lot_id,
            posting_id: lot.posting_id,
            amount: lot.amount,
            remaining: lot.remaining,
            held: lot.held,
            pending: lot.pending,
            available_at: lot.available_at,
            expires_at: lot.expires_at,
        }
    }
}

/// The answer to a points command.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PointsOutcomeBody {
    /// The posting: name it to return points later.
    #[schema(value_type = String, example = "pst_01hpw4v5z6k8f")]
    posting_id: PostingId,
    /// Whether this key was answered before and this is the first answer again.
    replayed: bool,
    /// The hold that was made. Null for other commands.
    #[schema(required, value_type = Option<String>, example = "hld_01hpw4v5z6k8f")]
    hold_id: Option<HoldId>,
    /// Free to spend after the command.
    #[schema(example = 268)]
    available: i64,
    /// Pending after the command.
    pending: i64,
    /// Held after the command.
    held: i64,
}

impl From<PointsOutcome> for PointsOutcomeBody {
    fn from(points: PointsOutcome) -> Self {
        let outcome = points.outcome;
        let last: Option<&EntryOutcome> = outcome.entries.last();
        Self {
            posting_id: outcome.posting_id,
            replayed: outcome.replayed,
            hold_id: last
                .filter(|entry| entry.kind == EntryKind::Hold)
                .and_then(|entry| entry.hold_id),
            available: last.map_or(0, |entry| entry.available),
            pending: last.map_or(0, |entry| entry.pending),
            held: last.map_or(0, |entry| entry.held),
        }
    }
}
