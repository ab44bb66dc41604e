//! The console's routes: what operators see and change of members.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use garde::Validate;
use huika_core::{MemberId, Timestamp};
use huika_http::{ApiResult, Body, Caller, Path, PathId, Problems};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::open::MemberBody;
use crate::{
    ChangeProfile, Members, MembersError, Nickname, PersonalField, PersonalValue, ProfileView, Reason,
};

/// A field of personal data.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum PersonalFieldBody {
    /// The date of birth.
    Birthday,
    /// female, male or other.
    Gender,
    /// The name in documents.
    RealName,
    /// The number of the resident identity card.
    IdNumber,
    /// Where parcels go.
    Address,
    /// The mail address.
    Email,
    /// Where the picture lies.
    Avatar,
}

/// One member and one field in a path.
#[derive(Deserialize)]
pub(super) struct FieldPath {
    member_id: MemberId,
    field: PersonalFieldBody,
}

/// Personal data to store. What is absent stays as it is.
#[derive(Default, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ProfileValuesBody {
    /// The date of birth, not before 1900.
    #[garde(length(chars, min = 1, max = 10))]
    #[schema(min_length = 1, max_length = 10, example = "1990-05-17")]
    birthday: Option<String>,
    /// female, male or other.
    #[garde(length(chars, min = 1, max = 10))]
    #[schema(min_length = 1, max_length = 10, example = "female")]
    gender: Option<String>,
    /// The name in documents.
    #[garde(length(chars, min = 1, max = 50))]
    #[schema(min_length = 1, max_length = 50, example = "王小明")]
    real_name: Option<String>,
    /// The number of the resident identity card, its check character included.
    #[garde(length(chars, min = 1, max = 18))]
    #[schema(min_length = 1, max_length = 18, example = "11010519491231002X")]
    id_number: Option<String>,
    /// Where parcels go.
    #[garde(length(chars, min = 1, max = PersonalValue::MAX_CHARS))]
    #[schema(min_length = 1, max_length = 255)]
    address: Option<String>,
    /// The mail address.
    #[garde(length(chars, min = 1, max = 254))]
    #[schema(min_length = 1, max_length = 254, example = "ming@example.com")]
    email: Option<String>,
    /// Where the picture lies, an address that begins with https://.
    #[garde(length(chars, min = 1, max = PersonalValue::MAX_CHARS))]
    #[schema(min_length = 1, max_length = 255)]
    avatar: Option<String>,
}

/// A change of a profile.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeProfileBody {
    /// The version that was read: a change in between is refused.
    #[garde(range(min = 1))]
    #[schema(minimum = 1, example = 1)]
    version: i64,
    /// What the member wants to be called.
    #[garde(length(chars, min = 1, max = Nickname::MAX_CHARS))]
    #[schema(min_length = 1, max_length = 50, example = "小明")]
    nickname: Option<String>,
    /// Values to store.
    #[serde(default)]
    #[garde(dive)]
    set: ProfileValuesBody,
    /// Fields to forget.
    #[serde(default)]
    #[garde(length(max = 7))]
    #[schema(max_items = 7)]
    remove: Vec<PersonalFieldBody>,
}

/// What is known of a member, masked: a birthday without its year, a name by its first character.
#[derive(Serialize, ToSchema)]
pub(super) struct ProfileBody {
    /// The member.
    member: MemberBody,
    /// Why the member stands so. Null while nobody has changed the state.
    #[schema(required)]
    state_reason: Option<String>,
    /// Who decided. Null while nobody has changed the state.
    #[schema(required, example = "opr_01q9v7x2k0g00")]
    state_actor: Option<String>,
    /// Since when. Null while nobody has changed the state.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    state_since: Option<Timestamp>,
    /// When a freeze ends by itself. Null where it does not.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    state_until: Option<Timestamp>,
    /// Given back with a change.
    #[schema(example = 1)]
    version: i64,
    /// The date of birth without its year. Null where it is not known.
    #[schema(required, example = "****-05-17")]
    birthday_masked: Option<String>,
    /// female, male or other. Null where it is not known.
    #[schema(required, example = "female")]
    gender: Option<String>,
    /// The first character of the name. Null where it is not known.
    #[schema(required, example = "王**")]
    real_name_masked: Option<String>,
    /// The first and last character of the number. Null where it is not known.
    #[schema(required, example = "1****************X")]
    id_number_masked: Option<String>,
    /// The beginning of the address. Null where it is not known.
    #[schema(required, example = "上海市静安区****")]
    address_masked: Option<String>,
    /// The mail address, its name hidden. Null where it is not known.
    #[schema(required, example = "m****@example.com")]
    email_masked: Option<String>,
    /// Where the picture lies. Null where it is not known.
    #[schema(required)]
    avatar: Option<String>,
}

/// A value in clear.
#[derive(Serialize, ToSchema)]
pub(super) struct RevealedBody {
    /// The value.
    #[schema(example = "1990-05-17")]
    value: String,
}

/// Shows a member's profile.
///
/// Personal data is masked. Needs the permission `members.read`.
#[utoipa::path(get, path = "/api/admin/v1/members/{member_id}/profile", tag = "members",
    params(("member_id" = String, Path, description = "The member.", example = "mbr_2p3rvd1w6k8fz")),
    responses((status = 200, body = ProfileBody, description = "The profile."), Problems))]
pub(super) async fn show_profile(
    State(members): State<Arc<Members>>,
    Caller(actor): Caller,
    PathId(member_id): PathId<MemberId>,
) -> ApiResult<Json<ProfileBody>> {
    Ok(Json(members.profile(&actor, member_id).await?.into()))
}

/// Changes a member's profile.
///
/// Recorded in the audit log by the names of the fields. Refused when the member was changed since `version` was
/// read. Needs the permission `members.edit`.
#[utoipa::path(patch, path = "/api/admin/v1/members/{member_id}/profile", tag = "members",
    params(("member_id" = String, Path, description = "The member.", example = "mbr_2p3rvd1w6k8fz")),
    request_body = ChangeProfileBody,
    responses((status = 200, body = ProfileBody, description = "The profile as it is now."), Problems))]
pub(super) async fn change_profile(
    State(members): State<Arc<Members>>,
    Caller(actor): Caller,
    PathId(member_id): PathId<MemberId>,
    Body(body): Body<ChangeProfileBody>,
) -> ApiResult<Json<ProfileBody>> {
    let change = ChangeProfile {
        version: body.version,
        nickname: body.nickname.map(|nickname| nickname.parse()).transpose()?,
        set: body.set.values(members.now())?,
        remove: body.remove.into_iter().map(PersonalField::from).collect(),
    };
    Ok(Json(
        members.change_profile(&actor, member_id, change).await?.into(),
    ))
}

/// Reveals one field of a member's personal data.
///
/// Each time is recorded in the audit log. Needs the permission `members.reveal`.
#[utoipa::path(get, path = "/api/admin/v1/members/{member_id}/profile/{field}", tag = "members",
    params(
        ("member_id" = String, Path, description = "The member.", example = "mbr_2p3rvd1w6k8fz"),
        ("field" = PersonalFieldBody, Path, description = "The field.", example = "birthday"),
    ),
    responses((status = 200, body = RevealedBody, description = "The value in clear."), Problems))]
pub(super) async fn reveal_profile_field(
    State(members): State<Arc<Members>>,
    Caller(actor): Caller,
    Path(path): Path<FieldPath>,
) -> ApiResult<Json<RevealedBody>> {
    let value = members
        .reveal_field(&actor, path.member_id, path.field.into())
        .await?;
    Ok(Json(RevealedBody {
        value: value.reveal().to_owned(),
    }))
}

/// Exports everything that is kept of one member.
///
/// Personal data is in clear, because it is for the member. Each time is recorded in the audit log. Needs the
/// permission `members.export`.
#[utoipa::path(get, path = "/api/admin/v1/members/{member_id}/export", tag = "members",
    params(("member_id" = String, Path, description = "The member.", example = "mbr_2p3rvd1w6k8fz")),
    responses((status = 200, body = Object, description = "One object; `parts` holds what other areas keep."), Problems))]
pub(super) async fn export_member(
    State(members): State<Arc<Members>>,
    Caller(actor): Caller,
    PathId(member_id): PathId<MemberId>,
) -> ApiResult<Json<serde_json::Value>> {
    Ok(Json(members.export_member(&actor, member_id).await?))
}

/// Why somebody is erased.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EraseMemberBody {
    /// Why. Kept in the audit log, phone numbers masked.
    #[garde(length(chars, min = 1, max = Reason::MAX_CHARS))]
    #[schema(min_length = 1, max_length = 200, example = "Asked for by the member")]
    reason: String,
}

/// How far the work under one set of keys has come.
#[derive(Serialize, ToSchema)]
pub(super) struct RotationBody {
    /// The generations of keys.
    #[schema(example = "master 2, index 1, lookups 1")]
    keys: String,
    /// Members who are done.
    members_done: i64,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    /// When everybody was done. Null while there are members left.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    finished_at: Option<Timestamp>,
}

/// Every set of keys that members were brought under, latest first.
#[derive(Serialize, ToSchema)]
pub(super) struct RotationsBody {
    /// One for each set of keys.
    items: Vec<RotationBody>,
}

/// Erases a member who has left.
///
/// Destroys the key of the personal data, for ever; entries of points and purchases stay. The member is closed before.
/// Erasing again changes nothing. Needs the permission `members.erase`.
#[utoipa::path(post, path = "/api/admin/v1/members/{member_id}/erasures", tag = "members",
    params(("member_id" = String, Path, description = "The member.", example = "mbr_2p3rvd1w6k8fz")),
    request_body = EraseMemberBody,
    responses((status = 204, description = "The personal data is gone."), Problems))]
pub(super) async fn erase_member(
    State(members): State<Arc<Members>>,
    Caller(actor): Caller,
    PathId(member_id): PathId<MemberId>,
    Body(body): Body<EraseMemberBody>,
) -> ApiResult<StatusCode> {
    let reason = body.reason.parse()?;
    members.erase(&actor, member_id, &reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Shows how far members have been brought under the newest keys.
///
/// Needs the permission `members.read`.
#[utoipa::path(get, path = "/api/admin/v1/member-key-rotations", tag = "members",
    responses((status = 200, body = RotationsBody, description = "Latest first."), Problems))]
pub(super) async fn list_key_rotations(
    State(members): State<Arc<Members>>,
    Caller(actor): Caller,
) -> ApiResult<Json<RotationsBody>> {
    let items = members.rotations(&actor).await?;
    let items = items.into_iter().map(|one| RotationBody {
        keys: one.keys,
        members_done: one.members_done,
        started_at: one.started_at,
        finished_at: one.finished_at,
    });
    Ok(Json(RotationsBody {
        items: items.collect(),
    }))
}

impl ProfileValuesBody {
    /// The values, checked.
    pub(super) fn values(self, now: Timestamp) -> Result<Vec<PersonalValue>, MembersError> {
        let given = [
            (PersonalField::Birthday, self.birthday),
            (PersonalField::Gender, self.gender),
            (PersonalField::RealName, self.real_name),
            (PersonalField::IdNumber, self.id_number),
            (PersonalField::Address, self.address),
            (PersonalField::Email, self.email),
            (PersonalField::Avatar, self.avatar),
        ];
        given
            .into_iter()
            .filter_map(|(field, text)| text.map(|text| PersonalValue::try_new(field, &text, now)))
            .collect()
    }
}

impl From<PersonalFieldBody> for PersonalField {
    fn from(field: PersonalFieldBody) -> Self {
        match field {
            PersonalFieldBody::Birthday => Self::Birthday,
            PersonalFieldBody::Gender => Self::Gender,
            PersonalFieldBody::RealName => Self::RealName,
            PersonalFieldBody::IdNumber => Self::IdNumber,
            PersonalFieldBody::Address => Self::Address,
            PersonalFieldBody::Email => Self::Email,
            PersonalFieldBody::Avatar => Self::Avatar,
        }
    }
}

impl From<ProfileView> for ProfileBody {
    fn from(profile: ProfileView) -> Self {
        let masked = |field| {
            let value = profile.values.iter().find(|value| value.field() == field);
            value.map(PersonalValue::masked)
        };
        Self {
            state_reason: profile.member.standing.reason.clone(),
            state_actor: profile.member.standing.actor.clone(),
            state_since: profile.member.standing.since,
            state_until: profile.member.standing.until,
            version: profile.version,
            birthday_masked: masked(PersonalField::Birthday),
            gender: masked(PersonalField::Gender),
            real_name_masked: masked(PersonalField::RealName),
            id_number_masked: masked(PersonalField::IdNumber),
            address_masked: masked(PersonalField::Address),
            email_masked: masked(PersonalField::Email),
            avatar: masked(PersonalField::Avatar),
            member: profile.member.into(),
        }
    }
}
