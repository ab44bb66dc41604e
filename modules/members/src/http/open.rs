//! The open API: tills, shops and other systems, and operators alike.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use garde::Validate;
use huika_core::{MemberId, Timestamp};
use huika_http::{ApiError, ApiResult, Body, Caller, InvalidInput, PathId, Problems, field_error};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    AgreementVersion, Attribution, Code, ConsentDecision, Enrolment, ExternalIdentity, Identity, MemberState,
    MemberView, Members, MembersError, Nickname, PersonalField, PersonalValue, Purpose, Reason,
    RegisterMember,
};

/// Longest texts of phones and card numbers as people write them, separators included.
const MAX_WRITTEN_CHARS: usize = 40;

/// A person who wants to be a member. At least one of `phone` and `external` is needed.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RegisterMemberBody {
    /// A mobile number: 11 digits of the mainland, others with their country code.
    #[garde(length(chars, min = 1, max = MAX_WRITTEN_CHARS))]
    #[schema(min_length = 1, max_length = 40, example = "13800138000")]
    phone: Option<String>,
    /// The person's number in another system.
    #[garde(dive)]
    external: Option<ExternalIdentityBody>,
    /// What the person wants to be called. Ignored for somebody who is a member already.
    #[garde(length(chars, min = 1, max = Nickname::MAX_CHARS))]
    #[schema(min_length = 1, max_length = 50, example = "小明")]
    nickname: Option<String>,
    /// Where the person registers. Kept for life.
    #[garde(custom(is_code))]
    #[schema(
        min_length = 1,
        max_length = 32,
        pattern = "^[A-Za-z0-9._-]{1,32}$",
        example = "pos"
    )]
    channel: String,
    /// The store, if the person registers in one.
    #[garde(inner(custom(is_code)))]
    #[schema(
        min_length = 1,
        max_length = 32,
        pattern = "^[A-Za-z0-9._-]{1,32}$",
        example = "SH-001"
    )]
    store_code: Option<String>,
    /// The date of birth, not before 1900. Below the age of 14 the guardian's phone is needed. This and what follows is
    /// ignored for somebody who is a member already.
    #[garde(length(chars, min = 1, max = 10))]
    #[schema(min_length = 1, max_length = 10, example = "1990-05-17")]
    birthday: Option<String>,
    /// female, male or other.
    #[garde(length(chars, min = 1, max = 10))]
    #[schema(min_length = 1, max_length = 10, example = "female")]
    gender: Option<String>,
    /// The phone of the guardian who consents, for somebody below 14.
    #[garde(length(chars, min = 1, max = MAX_WRITTEN_CHARS))]
    #[schema(min_length = 1, max_length = 40)]
    guardian_phone: Option<String>,
    /// The occasion, such as a poster or a campaign. Kept for life.
    #[garde(inner(custom(is_code)))]
    #[schema(
        min_length = 1,
        max_length = 32,
        pattern = "^[A-Za-z0-9._-]{1,32}$",
        example = "spring-poster"
    )]
    scene: Option<String>,
    /// The operator or adviser who won the member. Kept for life.
    #[garde(inner(custom(is_code)))]
    #[schema(
        min_length = 1,
        max_length = 32,
        pattern = "^[A-Za-z0-9._-]{1,32}$",
        example = "S-017"
    )]
    staff_code: Option<String>,
    /// The member who invited. Kept for life.
    #[garde(skip)]
    #[schema(value_type = Option<String>, example = "mbr_2p3rvd1w6k8fz")]
    inviter_member_id: Option<MemberId>,
    /// What the person consents to.
    #[serde(default)]
    #[garde(length(max = 8), dive)]
    #[schema(max_items = 8)]
    consents: Vec<ConsentGivenBody>,
}

/// What personal data is used for.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum PurposeBody {
    /// The membership itself.
    Service,
    /// Messages that advertise.
    Marketing,
    /// Drawing conclusions from behaviour.
    Profiling,
    /// Sensitive personal data.
    Sensitive,
}

/// One version of a text that members agree to.
#[derive(Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AgreementVersionBody {
    /// Which text.
    #[garde(custom(is_code))]
    #[schema(
        min_length = 1,
        max_length = 32,
        pattern = "^[A-Za-z0-9._-]{1,32}$",
        example = "privacy"
    )]
    pub(super) code: String,
    /// Which version.
    #[garde(range(min = 1))]
    #[schema(minimum = 1, example = 1)]
    pub(super) version: i64,
}

/// A consent that is given with the registration.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConsentGivenBody {
    /// What for.
    #[garde(skip)]
    purpose: PurposeBody,
    /// The text that was shown.
    #[garde(dive)]
    agreement: Option<AgreementVersionBody>,
}

/// The number of a person in another system.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExternalIdentityBody {
    /// The code of the system.
    #[garde(custom(is_code))]
    #[schema(
        min_length = 1,
        max_length = 32,
        pattern = "^[A-Za-z0-9._-]{1,32}$",
        example = "online-retail"
    )]
    issuer: String,
    /// The number there.
    #[garde(length(chars, min = 1, max = ExternalIdentity::MAX_SUBJECT_CHARS))]
    #[schema(min_length = 1, max_length = 64, pattern = "^[!-~]{1,64}$", example = "17850")]
    subject: String,
}

/// What a member is looked up by: exactly one of these.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"phone": "13800138000"}))]
pub(super) struct MemberLookupBody {
    /// The phone, in any way of writing it.
    #[garde(length(chars, min = 1, max = MAX_WRITTEN_CHARS))]
    #[schema(min_length = 1, max_length = 40)]
    phone: Option<String>,
    /// The number of the card.
    #[garde(length(chars, min = 1, max = MAX_WRITTEN_CHARS))]
    #[schema(min_length = 1, max_length = 40)]
    card_number: Option<String>,
    /// The number in another system.
    #[garde(dive)]
    external: Option<ExternalIdentityBody>,
}

/// How a member stands with the shop.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum MemberStateBody {
    /// Everything works.
    Normal,
    /// Something is being looked into: the member earns and cannot spend.
    Frozen,
    /// The shop has ended the relation.
    Blacklisted,
    /// The member has left.
    Closed,
    /// Another member stands for this one. Comes about by a merge alone.
    Merged,
}

/// A decision about how a member stands.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetMemberStateBody {
    /// The state from now on.
    #[garde(skip)]
    state: MemberStateBody,
    /// Why. Kept in the audit log, phone numbers masked.
    #[garde(length(chars, min = 1, max = Reason::MAX_CHARS))]
    #[schema(min_length = 1, max_length = 200, example = "Chargeback under investigation")]
    reason: String,
    /// When a freeze ends by itself. Absent where it does not.
    #[garde(skip)]
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
}

/// A member, the phone masked.
#[derive(Serialize, ToSchema)]
pub(super) struct MemberBody {
    /// The member.
    #[schema(value_type = String, example = "mbr_2p3rvd1w6k8fz")]
    id: MemberId,
    /// The number of the card.
    #[schema(example = "8800000000000013")]
    card_number: String,
    /// How the member stands with the shop.
    state: MemberStateBody,
    /// The phone with its middle hidden. Null where it is not known or was erased.
    #[schema(required, example = "138****8000")]
    phone_masked: Option<String>,
    /// What the member wants to be called. Null where it is not known or was erased.
    #[schema(required, example = "小明")]
    nickname: Option<String>,
    /// Where the member registered.
    #[schema(example = "pos")]
    channel: String,
    /// The store of the registration. Null where it took place in no store.
    #[schema(required, example = "SH-001")]
    store_code: Option<String>,
    /// When the member registered.
    #[schema(value_type = String, format = DateTime, example = "2026-11-21T02:00:00.000Z")]
    registered_at: Timestamp,
}

/// What became of a registration.
#[derive(Serialize, ToSchema)]
pub(super) struct RegistrationBody {
    /// The member.
    #[schema(value_type = String, example = "mbr_2p3rvd1w6k8fz")]
    id: MemberId,
    /// Whether the person was no member before.
    created: bool,
    /// The member as it is now. Null for somebody who was a member before where the caller lacks `members.read`.
    #[schema(required)]
    member: Option<MemberBody>,
}

/// A phone in clear.
#[derive(Serialize, ToSchema)]
pub(super) struct MemberPhoneBody {
    /// The number in its international form.
    #[schema(example = "+8613800138000")]
    phone: String,
}

/// Registers a person, or finds the member that the person is already.
///
/// Idempotent by identity: the same phone or number leads to the same member. A member who is known by one of
/// two identities gains the other, which is recorded in the audit log. Needs the permission `members.register`, and
/// `members.read` to see somebody who was a member before.
#[utoipa::path(post, path = "/api/open/v1/members", tag = "members", request_body = RegisterMemberBody,
    responses(
        (status = 201, body = RegistrationBody, description = "The person is a member now."),
        (status = 200, body = RegistrationBody, description = "The person was a member already."),
        Problems,
    ))]
pub(super) async fn register_member(
    State(members): State<Arc<Members>>,
    Caller(actor): Caller,
    Body(body): Body<RegisterMemberBody>,
) -> ApiResult<(StatusCode, Json<RegistrationBody>)> {
    let enrolment = body.enrolment(members.now())?;
    let registration = members.enrol(&actor, enrolment).await?;
    let status = if registration.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let body = RegistrationBody {
        id: registration.member_id,
        created: registration.created,
        member: registration.member.map(MemberBody::from),
    };
    Ok((status, Json(body)))
}

/// Finds a member by phone, card number or number in another system.
///
/// A POST, because a phone must not stand in an address, which ends up in logs. Changes nothing. Needs the
/// permission `members.read`.
#[utoipa::path(post, path = "/api/open/v1/members/lookup", tag = "members", request_body = MemberLookupBody,
    responses((status = 200, body = MemberBody, description = "The member."), Problems))]
pub(super) async fn look_up_member(
    State(members): State<Arc<Members>>,
    Caller(actor): Caller,
    Body(body): Body<MemberLookupBody>,
) -> ApiResult<Json<MemberBody>> {
    let identity = body.try_into()?;
    Ok(Json(members.find_by_identity(&actor, &identity).await?.into()))
}

/// Shows a member.
///
/// Needs the permission `members.read`.
#[utoipa::path(get, path = "/api/open/v1/members/{member_id}", tag = "members",
    params(("member_id" = String, Path, description = "The member.", example = "mbr_2p3rvd1w6k8fz")),
    responses((status = 200, body = MemberBody, description = "The member."), Problems))]
pub(super) async fn show_member(
    State(members): State<Arc<Members>>,
    Caller(actor): Caller,
    PathId(member_id): PathId<MemberId>,
) -> ApiResult<Json<MemberBody>> {
    Ok(Json(members.find(&actor, member_id).await?.into()))
}

/// Reveals a member's phone.
///
/// Each time is recorded in the audit log. Needs the permission `members.reveal`.
#[utoipa::path(get, path = "/api/open/v1/members/{member_id}/phone", tag = "members",
    params(("member_id" = String, Path, description = "The member.", example = "mbr_2p3rvd1w6k8fz")),
    responses((status = 200, body = MemberPhoneBody, description = "The phone in clear."), Problems))]
pub(super) async fn reveal_member_phone(
    State(members): State<Arc<Members>>,
    Caller(actor): Caller,
    PathId(member_id): PathId<MemberId>,
) -> ApiResult<Json<MemberPhoneBody>> {
    let phone = members.reveal_phone(&actor, member_id).await?;
    Ok(Json(MemberPhoneBody {
        phone: phone.reveal().to_owned(),
    }))
}

/// Freezes, blacklists, closes or restores a member.
///
/// Recorded in the audit log with its reason; a state that holds already is left as it is. Needs the permission
/// `members.set_state`.
#[utoipa::path(put, path = "/api/open/v1/members/{member_id}/state", tag = "members",
    params(("member_id" = String, Path, description = "The member.", example = "mbr_2p3rvd1w6k8fz")),
    request_body = SetMemberStateBody,
    responses((status = 200, body = MemberBody, description = "The member in the new state."), Problems))]
pub(super) async fn set_member_state(
    State(members): State<Arc<Members>>,
    Caller(actor): Caller,
    PathId(member_id): PathId<MemberId>,
    Body(body): Body<SetMemberStateBody>,
) -> ApiResult<Json<MemberBody>> {
    let reason = body.reason.parse()?;
    Ok(Json(
        members
            .set_state_until(&actor, member_id, body.state.into(), &reason, body.until)
            .await?
            .into(),
    ))
}

pub(super) fn is_code(text: &str, _: &()) -> garde::Result {
    let refusal = field_error(
        "has 1 to 32 letters, digits, dots, dashes or underscores",
        "应为 1 至 32 位字母、数字、点、短横线或下划线",
    );
    text.parse::<Code>().map(drop).map_err(|_| refusal)
}

impl RegisterMemberBody {
    fn enrolment(self, now: Timestamp) -> Result<Enrolment, MembersError> {
        let person = RegisterMember {
            phone: self.phone.map(|phone| phone.parse()).transpose()?,
            external: self.external.map(ExternalIdentity::try_from).transpose()?,
            nickname: self.nickname.map(|nickname| nickname.parse()).transpose()?,
            channel: self.channel.parse()?,
            store_code: self.store_code.map(|code| code.parse()).transpose()?,
        };
        let values = [
            (PersonalField::Birthday, self.birthday),
            (PersonalField::Gender, self.gender),
        ];
        let values = values
            .into_iter()
            .filter_map(|(field, text)| text.map(|text| PersonalValue::try_new(field, &text, now)));
        let consents = self.consents.into_iter().map(|given| {
            Ok(ConsentDecision {
                purpose: given.purpose.into(),
                granted: true,
                agreement: given.agreement.map(AgreementVersion::try_from).transpose()?,
            })
        });
        Ok(Enrolment {
            person,
            values: values.collect::<Result<_, _>>()?,
            attribution: Attribution {
                scene: self.scene.map(|code| code.parse()).transpose()?,
                staff_code: self.staff_code.map(|code| code.parse()).transpose()?,
                inviter: self.inviter_member_id,
            },
            consents: consents.collect::<Result<_, MembersError>>()?,
            guardian_phone: self.guardian_phone.map(|phone| phone.parse()).transpose()?,
        })
    }
}

impl TryFrom<AgreementVersionBody> for AgreementVersion {
    type Error = MembersError;

    fn try_from(body: AgreementVersionBody) -> Result<Self, MembersError> {
        Ok(Self {
            code: body.code.parse()?,
            version: body.version,
        })
    }
}

impl From<AgreementVersion> for AgreementVersionBody {
    fn from(agreement: AgreementVersion) -> Self {
        Self {
            code: agreement.code.to_string(),
            version: agreement.version,
        }
    }
}

impl From<PurposeBody> for Purpose {
    fn from(purpose: PurposeBody) -> Self {
        match purpose {
            PurposeBody::Service => Self::Service,
            PurposeBody::Marketing => Self::Marketing,
            PurposeBody::Profiling => Self::Profiling,
            PurposeBody::Sensitive => Self::Sensitive,
        }
    }
}

impl From<Purpose> for PurposeBody {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Service => Self::Service,
            Purpose::Marketing => Self::Marketing,
            Purpose::Profiling => Self::Profiling,
            Purpose::Sensitive => Self::Sensitive,
        }
    }
}

impl TryFrom<ExternalIdentityBody> for ExternalIdentity {
    type Error = MembersError;

    fn try_from(body: ExternalIdentityBody) -> Result<Self, MembersError> {
        Self::try_new(&body.issuer, &body.subject)
    }
}

impl TryFrom<MemberLookupBody> for Identity {
    type Error = ApiError;

    fn try_from(body: MemberLookupBody) -> Result<Self, ApiError> {
        Ok(match (body.phone, body.card_number, body.external) {
            (Some(phone), None, None) => Self::Phone(phone.parse()?),
            (None, Some(number), None) => Self::Card(number.parse()?),
            (None, None, Some(external)) => Self::External(external.try_into()?),
            _ => {
                let en = "takes exactly one of phone, card_number and external";
                let zh = "phone、card_number、external 须且只能填写一项";
                return Err(InvalidInput::field("body", en, zh).into());
            }
        })
    }
}

impl From<MemberStateBody> for MemberState {
    fn from(state: MemberStateBody) -> Self {
        match state {
            MemberStateBody::Normal => Self::Normal,
            MemberStateBody::Frozen => Self::Frozen,
            MemberStateBody::Blacklisted => Self::Blacklisted,
            MemberStateBody::Closed => Self::Closed,
            MemberStateBody::Merged => Self::Merged,
        }
    }
}

impl From<MemberState> for MemberStateBody {
    fn from(state: MemberState) -> Self {
        match state {
            MemberState::Normal => Self::Normal,
            MemberState::Frozen => Self::Frozen,
            MemberState::Blacklisted => Self::Blacklisted,
            MemberState::Closed => Self::Closed,
            MemberState::Merged => Self::Merged,
        }
    }
}

impl From<MemberView> for MemberBody {
    fn from(member: MemberView) -> Self {
        Self {
            id: member.id,
            card_number: member.card_number.to_string(),
            state: member.state.into(),
            phone_masked: member.phone_masked,
            nickname: member.nickname.map(|nickname| nickname.as_str().to_owned()),
            channel: member.channel.to_string(),
            store_code: member.store_code.map(|code| code.to_string()),
            registered_at: member.registered_at,
        }
    }
}
