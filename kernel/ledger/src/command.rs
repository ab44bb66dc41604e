//! What can be asked of the ledger.

use huika_core::{Id, IdKind, IdempotencyKey, MemberId, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

macro_rules! id_kinds {
    ($($(#[$meta:meta])* $kind:ident $name:ident $prefix:literal;)*) => {$(
        $(#[$meta])*
        #[derive(Debug)]
        pub enum $kind {}
        impl IdKind for $kind {
            const PREFIX: &'static str = $prefix;
        }
        $(#[$meta])*
        pub type $name = Id<$kind>;
    )*};
}
pub use ids::{HoldId, LotId, PostingId};
mod ids {
    use super::*;
    id_kinds! {
        /// A posting.
        PostingKind PostingId "pst";
        /// A lot.
        LotKind LotId "lot";
        /// A hold.
        HoldKind HoldId "hld";
    }
}

/// A kind of value. The code is what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asset {
    /// Points, spendable.
    Points,
    /// Growth value (成长值), which decides the tier and is never spent. In minor units of net spend.
    Growth,
    /// Stored value that the member paid, in minor units.
    Principal,
    /// Stored value that the merchant gave on top, in minor units.
    Bonus,
}

impl Asset {
    /// Every asset.
    pub const ALL: [Self; 4] = [Self::Points, Self::Growth, Self::Principal, Self::Bonus];

    /// The stored code.
    pub fn code(self) -> i64 {
        match self {
            Self::Points => 1,
            Self::Growth => 2,
            Self::Principal => 3,
            Self::Bonus => 4,
        }
    }

    /// The asset of a stored code.
    pub fn from_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|asset| asset.code() == code)
    }

    /// The name on the wire and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Points => "points",
            Self::Growth => "growth",
            Self::Principal => "principal",
            Self::Bonus => "bonus",
        }
    }
}

/// The other side of an entry: where value comes from and goes to. Sums over it give liability and breakage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CounterAccount {
    /// Granted by rules.
    Issuance,
    /// Spent on goods, coupons or money off.
    Redemption,
    /// Lost by time: breakage.
    Expiry,
    /// Corrected by hand or opened by an import.
    Adjustment,
    /// Paid in by the member.
    TopUp,
    /// Paid with by the member.
    Payment,
    /// Moves between the parts of one account.
    Internal,
}

impl CounterAccount {
    /// The stored name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Issuance => "issuance",
            Self::Redemption => "redemption",
            Self::Expiry => "expiry",
            Self::Adjustment => "adjustment",
            Self::TopUp => "top_up",
            Self::Payment => "payment",
            Self::Internal => "internal",
        }
    }
}

/// When earned value can be spent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Availability {
    /// At once.
    Now,
    /// From a moment on.
    At(Timestamp),
    /// After an event such as the receipt of goods, and not before a moment if one is given.
    OnEvent {
        /// The name that [`Operation::Release`] will carry, at most 80 characters.
        event: String,
        /// The earliest moment even when the event comes before it.
        not_before: Option<Timestamp>,
    },
}

/// What happens when more is to be taken back than a member has. Never a silent clamp: the difference is
/// written as the shortfall of the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum NegativePolicy {
    /// Take what exists and forgive the rest.
    TakeExisting,
    /// Let the balance go below zero, down to −limit, and forgive the rest; the next credits repay it.
    GoNegative {
        /// How far below zero.
        limit: i64,
    },
}

/// What happens to value that returns to a lot which has expired meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum LapsedLots {
    /// It returns and expires at once, both visible.
    Lapse,
    /// Its lot lives on until this moment.
    ExtendTo(Timestamp),
}

/// One movement of one asset. Amounts are positive. What a command earns, or spends, of one asset has one
/// counter-account, to which its reversals go back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Operation {
    /// Makes a lot.
    Earn {
        /// Of what.
        asset: Asset,
        /// How much.
        amount: i64,
        /// From where.
        counter_account: CounterAccount,
        /// From when on it can be spent.
        availability: Availability,
        /// When it is lost. `None`: never.
        expires_at: Option<Timestamp>,
    },
    /// Takes value from open lots, earliest expiry first, never-expiring last. Refused when not covered.
    Spend {
        /// Of what.
        asset: Asset,
        /// How much.
        amount: i64,
        /// To where.
        counter_account: CounterAccount,
    },
    /// Takes back value that no posting of ours is known for.
    ClawBack {
        /// Of what.
        asset: Asset,
        /// How much.
        amount: i64,
        /// To where.
        counter_account: CounterAccount,
        /// When the member has less.
        policy: NegativePolicy,
    },
    /// Sets value aside for an order that awaits payment.
    Hold {
        /// Of what.
        asset: Asset,
        /// How much.
        amount: i64,
        /// When it returns by itself.
        lapses_at: Timestamp,
    },
    /// Spends from a hold; what is not spent returns.
    PostHold {
        /// Which.
        hold_id: HoldId,
        /// How much, at most what is held.
        amount: i64,
        /// To where.
        counter_account: CounterAccount,
    },
    /// Returns a hold.
    VoidHold {
        /// Which.
        hold_id: HoldId,
    },
    /// Says that an event has happened which pending lots wait for.
    Release {
        /// The name of the event.
        event: String,
    },
    /// Takes back part or all of what a posting earned: from its own lot first, then from others.
    ReverseEarn {
        /// The posting that earned.
        source: PostingId,
        /// Of what.
        asset: Asset,
        /// How much, at most what is not yet reversed.
        amount: i64,
        /// When the member has less.
        policy: NegativePolicy,
    },
    /// Puts back part or all of what a posting spent, into the lots it came from.
    ReverseSpend {
        /// The posting that spent.
        source: PostingId,
        /// Of what.
        asset: Asset,
        /// How much, at most what is not yet reversed.
        amount: i64,
        /// What happens to lots that expired meanwhile.
        lapsed: LapsedLots,
    },
}

impl Operation {
    /// The posting that is reversed.
    pub fn source(&self) -> Option<PostingId> {
        match self {
            Self::ReverseEarn { source, .. } | Self::ReverseSpend { source, .. } => Some(*source),
            _ => None,
        }
    }

    /// The hold that is posted or voided.
    pub(crate) fn hold(&self) -> Option<HoldId> {
        match self {
            Self::PostHold { hold_id, .. } | Self::VoidHold { hold_id } => Some(*hold_id),
            _ => None,
        }
    }

    /// The assets of which deciding needs all open lots, as far as the operation names them. Earning needs none,
    /// which keeps it cheap: the new lot alone repays a deficit. A reversal has its source's lots, and needs others
    /// only where those do not cover it; of what a hold is, is known when it is loaded.
    pub(crate) fn assets_of_lots(&self) -> &[Asset] {
        match self {
            Self::Spend { asset, .. } | Self::ClawBack { asset, .. } | Self::Hold { asset, .. } => {
                std::slice::from_ref(asset)
            }
            // Lots of any asset may wait for an event.
            Self::Release { .. } => &Asset::ALL,
            Self::Earn { .. }
            | Self::PostHold { .. }
            | Self::VoidHold { .. }
            | Self::ReverseEarn { .. }
            | Self::ReverseSpend { .. } => &[],
        }
    }
}

/// The hash of what the first caller sent, by which a repeated command is told from a changed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputHash(pub [u8; 32]);

impl InputHash {
    /// Hashes an input. Only what the caller sent belongs into it: no times or ids made on the way.
    pub fn of(input: &impl Serialize) -> Self {
        let mut hasher = HashWriter(Sha256::new());
        // Inputs are plain structs with text keys: writing them as JSON into a hasher cannot fail.
        if let Err(error) = serde_json::to_writer(&mut hasher, input) {
            unreachable!("an input of a command is no JSON: {error}");
        }
        Self(hasher.0.finalize().into())
    }
}

/// Hashes what is written to it.
pub(crate) struct HashWriter(pub(crate) Sha256);
impl std::io::Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A command: all its operations happen in one posting, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Whose value.
    pub member_id: MemberId,
    /// Made by the first caller; unique per member.
    pub key: IdempotencyKey,
    /// The hash of what the caller sent.
    pub input: InputHash,
    /// The kind of the posting, at most 32 characters: the module of this name explains its trace.
    pub kind: &'static str,
    /// What it is about: an id with its prefix, at most 80 characters.
    pub reference: String,
    /// Who asked, from [`huika_core::Actor::id`].
    pub actor: String,
    /// When it counts, which may lie before now.
    pub effective_at: Timestamp,
    /// Why, as JSON that the module renders.
    pub trace: Option<String>,
    /// What happens.
    pub operations: Vec<Operation>,
}
