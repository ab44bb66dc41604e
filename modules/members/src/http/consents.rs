//! The console's routes for agreements, consents, guardians and searches.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use garde::Validate;
use huika_core::{Bilingual, MemberId, Timestamp};
use huika_http::{ApiResult, Body, Caller, Cursor, Page, PathId, Problems};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::open::{AgreementVersionBody, MemberBody, PurposeBody, is_code};
use crate::{
    Agreement, AgreementVersion, ConsentDecision, ConsentId, ConsentRecord, Members, MembersError,
    NewAgreement, Search,
};

/// A text to be published.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PublishAgreementBody {
    /// Which text.
    #[garde(custom(is_code))]
    #[schema(
        min_length = 1,
        max_length = 32,
        pattern = "^[A-Za-z0-9._-]{1,32}$",
        example = "privacy"
    )]
    code: String,
    /// Its title in Chinese.
    #[garde(length(chars, min = 1, max = 100))]
    #[schema(min_length = 1, max_length = 100, example = "隐私政策")]
    title_zh: String,
    /// Its title in English.
    #[garde(length(chars, min = 1, max = 100))]
    #[schema(min_length = 1, max_length = 100, example = "Privacy policy")]
    title_en: String,
    /// SHA-256 of the text, in hexadecimal.
    #[garde(length(chars, min = 64, max = 64))]
    #[schema(
        min_length = 64,
        max_length = 64,
        example = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )]
    text_sha256: String,
}

/// A text that was published.
#[derive(Serialize, ToSchema)]
pub(super) struct AgreementBody {
    /// Which text.
    #[schema(example = "privacy")]
    code: String,
    /// Which version.
    #[schema(example = 1)]
    version: i64,
    /// Its title in Chinese.
    title_zh: String,
    /// Its title in English.
    title_en: String,
    /// SHA-256 of the text, in hexadecimal.
    text_sha256: String,
    /// When it was published.
    #[schema(value_type = String, format = DateTime)]
    published_at: Timestamp,
}

/// Every version of every agreement.
#[derive(Serialize, ToSchema)]
pub(super) struct AgreementsBody {
    /// By code and version.
    items: Vec<AgreementBody>,
}

/// What a member decides about a purpose.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DecideConsentBody {
    /// What for.
    #[garde(skip)]
    purpose: PurposeBody,
    /// Given or withdrawn.
    #[garde(skip)]
    granted: bool,
    /// The text that was shown.
    #[garde(dive)]
    agreement: Option<AgreementVersionBody>,
}

/// A decision of a member.
#[derive(Serialize, ToSchema)]
pub(super) struct ConsentBody {
    /// The decision.
    #[schema(value_type = String, example = "cns_01q9v7x2k0g00")]
    id: ConsentId,
    /// What for.
    purpose: PurposeBody,
    /// Given or withdrawn.
    granted: bool,
    /// The text that was shown. Null where none was.
    #[schema(required)]
    agreement: Option<AgreementVersionBody>,
    /// Who entered it.
    actor: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    decided_at: Timestamp,
}

/// Everything that a member has decided: the latest of each purpose counts.
#[derive(Serialize, ToSchema)]
pub(super) struct ConsentsBody {
    /// Oldest first.
    items: Vec<ConsentBody>,
}

/// The guardian of a member below 14.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetGuardianBody {
    /// The guardian's phone.
    #[garde(length(chars, min = 1, max = 40))]
    #[schema(min_length = 1, max_length = 40, example = "13800138001")]
    phone: String,
}

/// What is searched for: exactly one of the first four.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"phone_tail": "8000"}))]
pub(super) struct SearchMembersBody {
    /// The last four digits of the phone.
    #[garde(length(chars, min = 4, max = 4))]
    #[schema(min_length = 4, max_length = 4)]
    phone_tail: Option<String>,
    /// The whole name or nickname.
    #[garde(length(chars, min = 1, max = 50))]
    #[schema(min_length = 1, max_length = 50)]
    name: Option<String>,
    /// The first character of the name or nickname.
    #[garde(length(chars, min = 1, max = 1))]
    #[schema(min_length = 1, max_length = 1)]
    name_begins: Option<String>,
    /// The number of the identity card.
    #[garde(length(chars, min = 1, max = 18))]
    #[schema(min_length = 1, max_length = 18)]
    id_number: Option<String>,
    /// `next_cursor` of the page before. Absent for the first page.
    #[garde(length(max = 64))]
    #[schema(max_length = 64)]
    cursor: Option<String>,
}

/// Members of one page of a search.
const PAGE: u32 = 50;

/// Publishes a version of an agreement.
///
/// Needs the permission `members.configure`.
#[utoipa::path(post, path = "/api/admin/v1/member-agreements", tag = "members", request_body = PublishAgreementBody,
    responses((status = 201, body = AgreementBody, description = "The version that holds now."), Problems))]
pub(super) async fn publish_agreement(
    State(members): State<Arc<Members>>,
    Caller(actor): Caller,
    Body(body): Body<PublishAgreementBody>,
) -> ApiResult<(StatusCode, Json<AgreementBody>)> {
    let new = NewAgreement {
        code: body.code.parse()?,
        title: Bilingual::new(body.title_zh, body.title_en),
        text_hash: body.text_sha256,
    };
    let agreement = members.publish_agreement(&actor, new).await?;
    Ok((StatusCode::CREATED, Json(agreement.into())))
}

/// Lists agreements.
///
/// Needs the permission `members.read`.
#[utoipa::path(get, path = "/api/admin/v1/member-agreements", tag = "members",
    responses((status = 200, body = AgreementsBody, description = "Every version."), Problems))]
pub(super) async fn list_agreements(
    State(members): State<Arc<Members>>,
    Caller(actor): Caller,
) -> ApiResult<Json<AgreementsBody>> {
    let items = members.agreements(&actor).await?;
    let items = items.into_iter().map(AgreementBody::from).collect();
    Ok(Json(AgreementsBody { items }))
}

/// Lists what a member has decided.
///
/// Needs the permission `members.read`.
#[utoipa::path(get, path = "/api/admin/v1/members/{member_id}/consents", tag = "members",
    params(("member_id" = String, Path, description = "The member.", example = "mbr_2p3rvd1w6k8fz")),
    responses((status = 200, body = ConsentsBody, description = "Oldest first."), Problems))]
pub(super) async fn list_consents(
    State(members): State<Arc<Members>>,
    Caller(actor): Caller,
    PathId(member_id): PathId<MemberId>,
) -> ApiResult<Json<ConsentsBody>> {
    Ok(Json(members.consents(&actor, member_id).await?.into()))
}

/// Enters what a member decides about a purpose.
///
/// A withdrawal is a decision like any other. Needs the permission `members.consent`.
#[utoipa::path(post, path = "/api/admin/v1/members/{member_id}/consents", tag = "members",
    params(("member_id" = String, Path, description = "The member.", example = "mbr_2p3rvd1w6k8fz")),
    request_body = DecideConsentBody,
    responses((status = 201, body = ConsentsBody, description = "Everything that the member has decided."), Problems))]
pub(super) async fn decide_consent(
    State(members): State<Arc<Members>>,
    Caller(actor): Caller,
    PathId(member_id): PathId<MemberId>,
    Body(body): Body<DecideConsentBody>,
) -> ApiResult<(StatusCode, Json<ConsentsBody>)> {
    let decision = ConsentDecision {
        purpose: body.purpose.into(),
        granted: body.granted,
        agreement: body.agreement.map(AgreementVersion::try_from).transpose()?,
    };
    let consents = members.decide_consent(&actor, member_id, decision).await?;
    Ok((StatusCode::CREATED, Json(consents.into())))
}

/// Enters that a guardian consents for a member.
///
/// Needs the permission `members.consent`.
#[utoipa::path(put, path = "/api/admin/v1/members/{member_id}/guardian", tag = "members",
    params(("member_id" = String, Path, description = "The member.", example = "mbr_2p3rvd1w6k8fz")),
    request_body = SetGuardianBody,
    responses((status = 204, description = "The consent is on record."), Problems))]
pub(super) async fn set_guardian(
    State(members): State<Arc<Members>>,
    Caller(actor): Caller,
    PathId(member_id): PathId<MemberId>,
    Body(body): Body<SetGuardianBody>,
) -> ApiResult<StatusCode> {
    let phone = body.phone.parse()?;
    members.set_guardian(&actor, member_id, &phone).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Searches members by what people say at the counter.
///
/// A POST, because a name must not stand in an address, which ends up in logs. By the end of a phone, a whole name, its
/// first character or an ID number; results are masked. Needs the permission `members.read`.
#[utoipa::path(post, path = "/api/admin/v1/member-searches", tag = "members", request_body = SearchMembersBody,
    responses((status = 200, body = Page<MemberBody>, description = "A page of members."), Problems))]
pub(super) async fn search_members(
    State(members): State<Arc<Members>>,
    Caller(actor): Caller,
    Body(body): Body<SearchMembersBody>,
) -> ApiResult<Json<Page<MemberBody>>> {
    let search = match (body.phone_tail, body.name, body.name_begins, body.id_number) {
        (Some(digits), None, None, None) => Search::PhoneTail(digits),
        (None, Some(name), None, None) => Search::Name(name),
        (None, None, Some(first), None) => Search::NameBegins(first),
        (None, None, None, Some(number)) => Search::IdNumber(number),
        _ => return Err(MembersError::SearchInvalid.into()),
    };
    let cursor = body.cursor.map(|text| text.parse::<Cursor>()).transpose();
    let cursor = cursor.map_err(|_| MembersError::SearchInvalid)?;
    let after = cursor.map(|cursor| MemberId::from_i64(cursor.0));
    let found = members.search(&actor, &search, after, PAGE + 1).await?;
    let page = Page::cut(found, PAGE, |last| Cursor(last.id.as_i64(), 0));
    Ok(Json(page.map(MemberBody::from)))
}

impl From<Agreement> for AgreementBody {
    fn from(agreement: Agreement) -> Self {
        Self {
            code: agreement.version.code.to_string(),
            version: agreement.version.version,
            title_zh: agreement.title.zh,
            title_en: agreement.title.en,
            text_sha256: agreement.text_hash,
            published_at: agreement.published_at,
        }
    }
}

impl From<Vec<ConsentRecord>> for ConsentsBody {
    fn from(records: Vec<ConsentRecord>) -> Self {
        let items = records.into_iter().map(|record| ConsentBody {
            id: record.id,
            purpose: record.decision.purpose.into(),
            granted: record.decision.granted,
            agreement: record.decision.agreement.map(AgreementVersionBody::from),
            actor: record.actor,
            decided_at: record.decided_at,
        });
        Self {
            items: items.collect(),
        }
    }
}
