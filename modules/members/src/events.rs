//! What this module tells the others, after the fact. No event holds personal data.

use huika_core::{MemberId, Timestamp};
use huika_db::outbox::Event;
use serde::{Deserialize, Serialize};

use crate::{Attribution, CardNumber, MergeId, RegisterMember};

/// A person became a member. Consumers: grants for new members, analysis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRegistered {
    /// The new member.
    pub member_id: MemberId,
    /// The number of the card.
    pub card_number: String,
    /// Where the person registered.
    pub channel: String,
    /// The store, where it took place in one.
    pub store_code: Option<String>,
    /// Whether a phone came along.
    pub has_phone: bool,
    /// The system whose customer number came along.
    pub external_issuer: Option<String>,
    /// The occasion, where one was named.
    #[serde(default)]
    pub scene: Option<String>,
    /// The operator or adviser who won the member.
    #[serde(default)]
    pub staff_code: Option<String>,
    /// The member who invited.
    #[serde(default)]
    pub inviter: Option<MemberId>,
    /// When.
    pub registered_at: Timestamp,
}

impl MemberRegistered {
    pub(crate) fn new(
        member_id: MemberId,
        card_number: &CardNumber,
        command: &RegisterMember,
        attribution: &Attribution,
        now: Timestamp,
    ) -> Self {
        Self {
            member_id,
            card_number: card_number.to_string(),
            channel: command.channel.to_string(),
            store_code: command.store_code.as_ref().map(ToString::to_string),
            has_phone: command.phone.is_some(),
            external_issuer: command
                .external
                .as_ref()
                .map(|external| external.issuer().to_string()),
            scene: attribution.scene.as_ref().map(ToString::to_string),
            staff_code: attribution.staff_code.as_ref().map(ToString::to_string),
            inviter: attribution.inviter,
            registered_at: now,
        }
    }
}

impl Event for MemberRegistered {
    const TOPIC: &'static str = "members.member_registered";
    const VERSION: u32 = 1;
}

/// A member who was known by one name is known by another as well. Consumers: merging, risk, analysis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityJoined {
    /// The member.
    pub member_id: MemberId,
    /// The kind of the name: phone or external.
    pub kind: String,
    /// The system whose customer number it is. None for a phone.
    pub issuer: Option<String>,
    /// When.
    pub joined_at: Timestamp,
}

impl Event for IdentityJoined {
    const TOPIC: &'static str = "members.identity_joined";
    const VERSION: u32 = 1;
}

/// A member's birthday is another one than before; which one stays with the member. Consumers: birthday grants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BirthdayChanged {
    /// The member.
    pub member_id: MemberId,
    /// Whether there was one before.
    pub was_known: bool,
    /// Whether there is one now.
    pub is_known: bool,
    /// When.
    pub changed_at: Timestamp,
}

impl Event for BirthdayChanged {
    const TOPIC: &'static str = "members.birthday_changed";
    const VERSION: u32 = 1;
}

/// Phone, nickname, birthday and gender of a member are known for the first time. Told once in a member's life.
/// Consumers: points for a complete profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileCompleted {
    /// The member.
    pub member_id: MemberId,
    /// When.
    pub completed_at: Timestamp,
}

impl Event for ProfileCompleted {
    const TOPIC: &'static str = "members.profile_completed";
    const VERSION: u32 = 1;
}

/// Two members turned out to be one person. Consumers: everybody who keeps something by member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembersMerged {
    /// The merge.
    pub merge_id: MergeId,
    /// The member who stands for both.
    pub winner: MemberId,
    /// The member who is a redirect now.
    pub loser: MemberId,
    /// When.
    pub merged_at: Timestamp,
}

impl Event for MembersMerged {
    const TOPIC: &'static str = "members.members_merged";
    const VERSION: u32 = 1;
}

/// A merge was taken back. Consumers: as of [`MembersMerged`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembersUnmerged {
    /// The merge.
    pub merge_id: MergeId,
    /// The member who stood for both.
    pub winner: MemberId,
    /// The member who stands alone again.
    pub loser: MemberId,
    /// When.
    pub unmerged_at: Timestamp,
}

impl Event for MembersUnmerged {
    const TOPIC: &'static str = "members.members_unmerged";
    const VERSION: u32 = 1;
}

/// The personal data of a member was destroyed. Consumers: everybody who keeps something that tells who a member is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberErased {
    /// The member.
    pub member_id: MemberId,
    /// When.
    pub erased_at: Timestamp,
}

impl Event for MemberErased {
    const TOPIC: &'static str = "members.member_erased";
    const VERSION: u32 = 1;
}

/// A member consented to a purpose or withdrew. Consumers: whoever uses data for that purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentDecided {
    /// The member.
    pub member_id: MemberId,
    /// The purpose: service, marketing, profiling or sensitive.
    pub purpose: String,
    /// Given or withdrawn.
    pub granted: bool,
    /// When.
    pub decided_at: Timestamp,
}

impl Event for ConsentDecided {
    const TOPIC: &'static str = "members.consent_decided";
    const VERSION: u32 = 1;
}
