//! Consents: what for, to which text, and what counts when there are several.

use std::{collections::BTreeMap, str::FromStr};

use huika_core::{Id, IdKind, MemberId, Timestamp};
use serde::Serialize;

use crate::{Code, MembersError, PersonalValue, PhoneNumber, RegisterMember};

/// The kind of a consent's id.
#[derive(Debug)]
pub enum ConsentKind {}
impl IdKind for ConsentKind {
    const PREFIX: &'static str = "cns";
}
/// The id of a consent.
pub type ConsentId = Id<ConsentKind>;

/// What personal data is used for. Each purpose is consented to by itself (PIPL article 14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// The membership itself.
    Service,
    /// Messages that advertise.
    Marketing,
    /// Drawing conclusions from behaviour.
    Profiling,
    /// Sensitive personal data.
    Sensitive,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 4] = [Self::Service, Self::Marketing, Self::Profiling, Self::Sensitive];

    /// The name in the database and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Marketing => "marketing",
            Self::Profiling => "profiling",
            Self::Sensitive => "sensitive",
        }
    }
}

/// The text names no purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a purpose is one of service, marketing, profiling, sensitive")]
pub struct UnknownPurpose;

impl FromStr for Purpose {
    type Err = UnknownPurpose;

    fn from_str(name: &str) -> Result<Self, UnknownPurpose> {
        let mut all = Self::ALL.into_iter();
        all.find(|purpose| purpose.name() == name).ok_or(UnknownPurpose)
    }
}

/// One version of a text that members agree to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct AgreementVersion {
    /// Which text.
    pub code: Code,
    /// Which version, from 1.
    pub version: i64,
}

/// A decision about one purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentDecision {
    /// What for.
    pub purpose: Purpose,
    /// Given or withdrawn.
    pub granted: bool,
    /// The text that was shown.
    pub agreement: Option<AgreementVersion>,
}

/// A decision as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentRecord {
    /// The consent.
    pub id: ConsentId,
    /// What was decided.
    pub decision: ConsentDecision,
    /// Who entered it.
    pub actor: String,
    /// When.
    pub decided_at: Timestamp,
}

/// What counts now: the latest decision of each purpose. Of two decisions in one millisecond a withdrawal counts.
pub(crate) fn current(records: &[ConsentRecord]) -> BTreeMap<Purpose, &ConsentRecord> {
    let mut current: BTreeMap<Purpose, &ConsentRecord> = BTreeMap::new();
    let rank = |one: &ConsentRecord| (one.decided_at, !one.decision.granted, one.id);
    for record in records {
        let entry = current.entry(record.decision.purpose).or_insert(record);
        if rank(record) > rank(entry) {
            *entry = record;
        }
    }
    current
}

/// What a merge adds to the winner's decisions: the stricter one of two wins, and what only the loser has decided
/// counts for both.
pub(crate) fn gained(winner: &[ConsentRecord], loser: &[ConsentRecord]) -> Vec<ConsentDecision> {
    let own = current(winner);
    let others = current(loser);
    let adds = |record: &&&ConsentRecord| match own.get(&record.decision.purpose) {
        None => true,
        Some(own) => own.decision.granted && !record.decision.granted,
    };
    others
        .values()
        .filter(adds)
        .map(|record| record.decision.clone())
        .collect()
}

/// How a person came to be a member, beside the channel and the store. Kept for life.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attribution {
    /// The occasion, such as a poster or a campaign.
    pub scene: Option<Code>,
    /// The operator or adviser who won the member.
    pub staff_code: Option<Code>,
    /// The member who invited.
    pub inviter: Option<MemberId>,
}

/// A registration with everything that may come along. It counts for a new member alone: whoever is a member already
/// keeps what is known.
#[derive(Debug, Clone)]
pub struct Enrolment {
    /// Who the person is.
    pub person: RegisterMember,
    /// Personal data.
    pub values: Vec<PersonalValue>,
    /// How the person came.
    pub attribution: Attribution,
    /// What the person consents to.
    pub consents: Vec<ConsentDecision>,
    /// The phone of the guardian who consents, for somebody below 14.
    pub guardian_phone: Option<PhoneNumber>,
}

impl From<RegisterMember> for Enrolment {
    fn from(person: RegisterMember) -> Self {
        Self {
            person,
            values: Vec::new(),
            attribution: Attribution::default(),
            consents: Vec::new(),
            guardian_phone: None,
        }
    }
}

impl Enrolment {
    /// Refuses a child without a guardian, and one who names the own phone as that of the guardian.
    pub(crate) fn check_guardian(&self, now: Timestamp) -> Result<(), MembersError> {
        let child = self.values.iter().any(|value| value.needs_guardian(now));
        let guardian = self.guardian_phone.as_ref();
        if child && guardian.is_none_or(|phone| Some(phone) == self.person.phone.as_ref()) {
            return Err(MembersError::GuardianRequired);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: i64, at: i64, purpose: Purpose, granted: bool) -> ConsentRecord {
        ConsentRecord {
            id: ConsentId::from_i64(id),
            decision: ConsentDecision {
                purpose,
                granted,
                agreement: None,
            },
            actor: "opr_test".into(),
            decided_at: Timestamp::from_millis(at),
        }
    }

    #[test]
    fn the_latest_decision_counts_and_a_withdrawal_in_doubt() {
        use Purpose::{Marketing, Profiling};
        let records = [
            record(1, 10, Marketing, true),
            record(2, 20, Marketing, false),
            record(3, 10, Profiling, false),
            record(4, 10, Profiling, true),
        ];
        let current = current(&records);
        assert!(!current[&Marketing].decision.granted);
        assert!(!current[&Profiling].decision.granted);
        assert!(!current.contains_key(&Purpose::Service));
    }

    #[test]
    fn of_two_decisions_the_stricter_one_survives_a_merge() {
        // What the winner and the loser have decided, and what the winner gains: g granted, w withdrawn, - nothing.
        let table = [
            ("-", "-", "-"),
            ("-", "g", "g"),
            ("-", "w", "w"),
            ("g", "-", "-"),
            ("g", "g", "-"),
            ("g", "w", "w"),
            ("w", "-", "-"),
            ("w", "g", "-"),
            ("w", "w", "-"),
        ];
        let records = |text: &str| -> Vec<ConsentRecord> {
            let granted = match text {
                "-" => return Vec::new(),
                text => text == "g",
            };
            vec![record(1, 10, Purpose::Marketing, granted)]
        };
        for (winner, loser, expected) in table {
            let gained = gained(&records(winner), &records(loser));
            let text = match gained.first() {
                None => "-",
                Some(decision) if decision.granted => "g",
                Some(_) => "w",
            };
            assert_eq!(text, expected, "{winner} {loser}");
        }
    }
}
