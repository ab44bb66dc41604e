//! Registration: who is known already, who is new, and which names each of them claims.
//!
//! Commands are decided one after another, and a later one sees what an earlier one of the same batch
//! brought about. A refused command refuses itself alone.

use std::collections::HashMap;

use huika_core::MemberId;

use super::{identity::IdentityName, member::Nickname};
use crate::{Code, ExternalIdentity, MembersError, PhoneNumber};

/// A person who wants to be a member. At least one of the two identities is needed.
#[derive(Debug, Clone)]
pub struct RegisterMember {
    /// The person's phone.
    pub phone: Option<PhoneNumber>,
    /// The person's number in another system.
    pub external: Option<ExternalIdentity>,
    /// What the person wants to be called. Somebody who is a member already keeps the present nickname.
    pub nickname: Option<Nickname>,
    /// Where the person registers.
    pub channel: Code,
    /// The store, if the person registers in one.
    pub store_code: Option<Code>,
}

/// How a registration ended: with a new member, or with the one that the identity belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registered {
    /// The member.
    pub member_id: MemberId,
    /// Whether the member is new.
    pub created: bool,
}

/// A command with the names of its identities.
pub(crate) struct Candidate {
    pub(crate) command: RegisterMember,
    pub(crate) phone: Option<IdentityName>,
    pub(crate) external: Option<IdentityName>,
}

/// Whether a member who is known by another name can be given a phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PhoneStatus {
    Unknown,
    Known,
    Erased,
}

/// What the database knows about the candidates.
#[derive(Default)]
pub(crate) struct Known {
    /// Which of their names belong to whom.
    pub(crate) owners: HashMap<IdentityName, MemberId>,
    /// The members who may gain a name: see [`Candidate::may_join`].
    pub(crate) phones: HashMap<MemberId, PhoneStatus>,
}

impl Candidate {
    /// The names under which the candidate may be known.
    pub(crate) fn names(&self) -> impl Iterator<Item = &IdentityName> {
        self.phone.iter().chain(&self.external)
    }

    /// The member who would gain one of the candidate's names.
    pub(crate) fn may_join(&self, owners: &HashMap<IdentityName, MemberId>) -> Option<MemberId> {
        let mut owned = self.names().map(|name| owners.get(name).copied());
        match (owned.next()?, owned.next()?) {
            (Some(owner), None) | (None, Some(owner)) => Some(owner),
            _ => None,
        }
    }
}

/// A name that a member has gained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attached {
    pub(crate) member_id: MemberId,
    pub(crate) kind: &'static str,
    /// Empty for our own kinds.
    pub(crate) issuer: String,
}

/// What a batch of registrations comes to.
#[derive(Default)]
pub(crate) struct Plan {
    /// One for each command, in order.
    pub(crate) outcomes: Vec<Result<Registered, MembersError>>,
    /// The new members.
    pub(crate) created: Vec<(MemberId, RegisterMember)>,
    /// Members who were known by another name and gain a phone.
    pub(crate) joined: Vec<(MemberId, PhoneNumber)>,
    /// The names to claim, each free as far as the database has told.
    pub(crate) claims: Vec<(IdentityName, MemberId)>,
    /// Those of the claims that attach a name to a member who was there before.
    pub(crate) attached: Vec<Attached>,
}

/// Decides a batch. `next_id` makes the ids of new members.
pub(crate) fn plan(
    candidates: Vec<Candidate>,
    mut known: Known,
    mut next_id: impl FnMut() -> MemberId,
) -> Plan {
    let mut plan = Plan::default();
    for candidate in candidates {
        let outcome = plan.decide(candidate, &mut known, &mut next_id);
        plan.outcomes.push(outcome);
    }
    plan
}

impl Plan {
    fn decide(
        &mut self,
        candidate: Candidate,
        known: &mut Known,
        next_id: &mut impl FnMut() -> MemberId,
    ) -> Result<Registered, MembersError> {
        let owner_of =
            |name: &Option<IdentityName>| name.as_ref().and_then(|name| known.owners.get(name)).copied();
        let (by_phone, by_external) = (owner_of(&candidate.phone), owner_of(&candidate.external));
        let member_id = match (by_phone, by_external) {
            (Some(one), Some(other)) if one != other => return Err(MembersError::IdentityConflict),
            (Some(member_id), _) | (None, Some(member_id)) => member_id,
            (None, None) => return self.create(candidate, known, next_id()),
        };
        if by_phone.is_none()
            && let (Some(name), Some(phone)) = (candidate.phone, candidate.command.phone)
        {
            self.join(known, member_id, phone)?;
            self.attach(known, name, member_id);
        }
        if by_external.is_none()
            && let Some(name) = candidate.external
        {
            self.attach(known, name, member_id);
        }
        Ok(Registered {
            member_id,
            created: false,
        })
    }

    fn create(
        &mut self,
        candidate: Candidate,
        known: &mut Known,
        member_id: MemberId,
    ) -> Result<Registered, MembersError> {
        if candidate.phone.is_none() && candidate.external.is_none() {
            return Err(MembersError::IdentityRequired);
        }
        for name in [candidate.phone, candidate.external].into_iter().flatten() {
            self.claim(known, name, member_id);
        }
        self.created.push((member_id, candidate.command));
        Ok(Registered {
            member_id,
            created: true,
        })
    }

    /// Gives a phone to a member who has none.
    fn join(
        &mut self,
        known: &mut Known,
        member_id: MemberId,
        phone: PhoneNumber,
    ) -> Result<(), MembersError> {
        if let Some((_, new)) = self.created.iter_mut().rev().find(|(id, _)| *id == member_id) {
            if new.phone.is_some() {
                return Err(MembersError::PhoneDiffers);
            }
            new.phone = Some(phone);
            return Ok(());
        }
        match known.phones.get(&member_id) {
            Some(PhoneStatus::Unknown) => {}
            Some(PhoneStatus::Erased) => return Err(MembersError::Erased),
            // Whose status was not asked for was found by a phone, and has one.
            Some(PhoneStatus::Known) | None => return Err(MembersError::PhoneDiffers),
        }
        known.phones.insert(member_id, PhoneStatus::Known);
        self.joined.push((member_id, phone));
        Ok(())
    }

    fn attach(&mut self, known: &mut Known, name: IdentityName, member_id: MemberId) {
        if !self.created.iter().any(|(id, _)| *id == member_id) {
            self.attached.push(Attached {
                member_id,
                kind: name.kind,
                issuer: name.issuer.clone(),
            });
        }
        self.claim(known, name, member_id);
    }

    fn claim(&mut self, known: &mut Known, name: IdentityName, member_id: MemberId) {
        known.owners.insert(name.clone(), member_id);
        self.claims.push((name, member_id));
    }
}

#[cfg(test)]
mod tests {
    use huika_core::{Keyring, Rng};

    use super::*;
    use crate::Identity;

    const ANNA: MemberId = MemberId::from_i64(1);
    const BEN: MemberId = MemberId::from_i64(2);
    const NEW: i64 = 100;

    fn candidate(phone: &str, external: &str) -> Candidate {
        let keyring = Keyring::parse(&Keyring::generate(&Rng::seeded(1))).unwrap();
        let phone: Option<PhoneNumber> = (!phone.is_empty()).then(|| phone.parse().unwrap());
        let external = (!external.is_empty()).then(|| ExternalIdentity::try_new("shop", external).unwrap());
        Candidate {
            phone: phone.clone().map(|phone| Identity::Phone(phone).name(&keyring)),
            external: external
                .clone()
                .map(|external| Identity::External(external).name(&keyring)),
            command: RegisterMember {
                phone,
                external,
                nickname: None,
                channel: "shop".parse().unwrap(),
                store_code: None,
            },
        }
    }

    /// Anna has a phone and a customer number, Ben a customer number alone.
    fn known() -> Known {
        let anna = candidate("13800138001", "A");
        let ben = candidate("", "B");
        let names = [(anna.phone, ANNA), (anna.external, ANNA), (ben.external, BEN)];
        Known {
            owners: names
                .into_iter()
                .filter_map(|(name, id)| Some((name?, id)))
                .collect(),
            phones: HashMap::from([(ANNA, PhoneStatus::Known), (BEN, PhoneStatus::Unknown)]),
        }
    }

    fn decide(known: Known, batch: &[(&str, &str)]) -> (Vec<String>, Plan) {
        let mut last = NEW;
        let next_id = || {
            last += 1;
            MemberId::from_i64(last)
        };
        let plan = plan(
            batch
                .iter()
                .map(|(phone, external)| candidate(phone, external))
                .collect(),
            known,
            next_id,
        );
        let texts = plan.outcomes.iter().map(|outcome| match outcome {
            Ok(Registered {
                member_id,
                created: true,
            }) => format!("new {}", member_id.as_i64() - NEW),
            Ok(Registered {
                member_id,
                created: false,
            }) => format!("known {}", member_id.as_i64()),
            Err(error) => format!("{error:?}"),
        });
        (texts.collect(), plan)
    }

    #[test]
    fn each_combination_of_identities_has_one_outcome() {
        let table = [
            ("13800138001", "", "known 1"),
            ("", "A", "known 1"),
            ("13800138001", "A", "known 1"),
            ("13800138001", "C", "known 1"), // and claims C for Anna
            ("13800138002", "B", "known 2"), // and gives Ben a phone
            ("13800138001", "B", "IdentityConflict"),
            ("13800138002", "A", "PhoneDiffers"),
            ("13800138002", "", "new 1"),
            ("", "C", "new 1"),
            ("13800138002", "C", "new 1"),
            ("", "", "IdentityRequired"),
        ];
        for (phone, external, expected) in table {
            let (outcomes, plan) = decide(known(), &[(phone, external)]);
            assert_eq!(outcomes, [expected], "{phone} {external}");
            let claims = match (phone, external) {
                ("13800138001", "C") | ("13800138002", "B") => 1,
                _ if expected == "new 1" => {
                    usize::from(!phone.is_empty()) + usize::from(!external.is_empty())
                }
                _ => 0,
            };
            assert_eq!(plan.claims.len(), claims, "{phone} {external}");
        }
    }

    #[test]
    fn later_commands_of_a_batch_see_earlier_ones() {
        let (outcomes, plan) = decide(
            known(),
            &[
                ("", "C"),            // new
                ("13800138003", "C"), // the same person, now with a phone
                ("13800138003", ""),  // and once more
                ("13800138004", "C"), // another phone
                ("13800138005", "B"), // Ben gains a phone
                ("13800138006", "B"), // and not a second one
                ("13800138003", "B"), // two people
            ],
        );
        assert_eq!(
            outcomes,
            [
                "new 1",
                "known 101",
                "known 101",
                "PhoneDiffers",
                "known 2",
                "PhoneDiffers",
                "IdentityConflict"
            ]
        );
        assert_eq!(
            (plan.created.len(), plan.joined.len(), plan.claims.len()),
            (1, 1, 3)
        );
        let attached: Vec<(MemberId, &str)> = plan
            .attached
            .iter()
            .map(|one| (one.member_id, one.kind))
            .collect();
        assert_eq!(attached, [(BEN, "phone")], "whoever is new gains nothing");
        assert!(
            plan.created[0].1.phone.is_some(),
            "the phone is stored with the new member"
        );
    }

    #[test]
    fn an_erased_member_gains_no_phone() {
        let mut known = known();
        known.phones.insert(BEN, PhoneStatus::Erased);
        let (outcomes, plan) = decide(known, &[("13800138005", "B")]);
        assert_eq!((outcomes, plan.claims.len()), (vec!["Erased".to_owned()], 0));
    }
}
