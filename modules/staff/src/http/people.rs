//! The console's routes for operators, their sessions and invitations, and for roles.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use huika_core::Timestamp;
use huika_http::{ApiResult, Body, Caller, Cursor, Page, PageQuery, Path, PathId, Problems, Query};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    authenticator::bearer_token,
    bodies::{AccessInput, OperatorBody, codes_of},
};
use crate::{
    Enrolment, Invitation, InvitationId, InvitationState, Invited, OperatorId, RecoveryCodes, Role, RoleId,
    SessionId, SessionInfo, Staff, StaffError,
};

/// Routes that need no credentials: becoming an operator.
pub(super) fn public_router() -> OpenApiRouter<Staff> {
    OpenApiRouter::default().routes(routes!(accept_invitation))
}

/// Routes for those who are logged in or sign.
pub(super) fn router() -> OpenApiRouter<Staff> {
    OpenApiRouter::default()
        .routes(routes!(list_operators))
        .routes(routes!(suspend_operator))
        .routes(routes!(restore_operator))
        .routes(routes!(set_operator_access))
        .routes(routes!(change_password))
        .routes(routes!(enrol_second_factor))
        .routes(routes!(confirm_second_factor))
        .routes(routes!(remove_second_factor))
        .routes(routes!(reset_second_factor))
        .routes(routes!(list_own_sessions))
        .routes(routes!(revoke_own_session))
        .routes(routes!(list_operator_sessions))
        .routes(routes!(revoke_operator_session))
        .routes(routes!(invite_operator, list_invitations))
        .routes(routes!(revoke_invitation))
        .routes(routes!(create_role, list_roles))
        .routes(routes!(change_role, retire_role))
}

/// A present and a new password.
#[derive(Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
struct ChangePassword {
    /// The password that still holds.
    #[garde(length(chars, min = 1, max = 256))]
    #[schema(min_length = 1, max_length = 256, format = Password)]
    present_password: String,
    /// The one that is to hold: at least ten characters.
    #[garde(length(chars, min = 1, max = 256))]
    #[schema(min_length = 1, max_length = 256, format = Password)]
    new_password: String,
}

/// The present password.
#[derive(Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
struct EnrolSecondFactor {
    /// The password that one logs in with.
    #[garde(length(chars, min = 1, max = 256))]
    #[schema(min_length = 1, max_length = 256, format = Password)]
    password: String,
}

/// What a device is set up with. It is shown this once.
#[derive(Serialize, ToSchema)]
struct EnrolmentBody {
    /// To be typed where nothing can be scanned.
    #[schema(example = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")]
    secret: String,
    /// To be shown as a QR code.
    #[schema(example = "otpauth://totp/Huika:opr_01q9v7x2k0g00?secret=…")]
    uri: String,
}

/// A code of the device.
#[derive(Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
struct ConfirmSecondFactor {
    /// The six digits that it shows.
    #[garde(length(chars, min = 1, max = 40))]
    #[schema(min_length = 1, max_length = 40, example = "287082")]
    code: String,
}

/// Codes that stand in for the device, each once. They are shown this once.
#[derive(Serialize, ToSchema)]
struct RecoveryCodesBody {
    /// Ten codes.
    #[schema(example = json!(["abcd-efgh-ijkl-mnop"]))]
    recovery_codes: Vec<String>,
}

/// The proof that it is really the operator who wants to do without the device.
#[derive(Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
struct RemoveSecondFactor {
    /// The password that one logs in with.
    #[garde(length(chars, min = 1, max = 256))]
    #[schema(min_length = 1, max_length = 256, format = Password)]
    password: String,
    /// The six digits that the device shows, or a recovery code.
    #[garde(length(chars, min = 1, max = 40))]
    #[schema(min_length = 1, max_length = 40, example = "287082")]
    code: String,
}

/// A session that has not ended.
#[derive(Serialize, ToSchema)]
struct SessionInfoBody {
    /// Names the session; it opens nothing.
    #[schema(example = "ses_5bd62b85d50290ec5125302ed9e776bf")]
    id: String,
    /// Whether this request came by it.
    is_current: bool,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it ends if it is not used.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// The sessions of one operator.
#[derive(Serialize, ToSchema)]
struct SessionsBody {
    /// Latest first.
    items: Vec<SessionInfoBody>,
}

/// Which session of which operator.
#[derive(Deserialize)]
struct SessionPath {
    operator_id: OperatorId,
    session_id: String,
}

/// Who is invited.
#[derive(Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
struct InviteOperator {
    /// The address to log in with.
    #[garde(length(chars, min = 1, max = 254))]
    #[schema(min_length = 1, max_length = 254, example = "manager@example.com")]
    email: String,
    /// The name that others will see.
    #[garde(length(chars, min = 1, max = 100))]
    #[schema(min_length = 1, max_length = 100, example = "小王")]
    display_name: String,
    /// What the new operator may do.
    #[garde(dive)]
    access: AccessInput,
}

/// An invitation.
#[derive(Serialize, ToSchema)]
struct InvitationBody {
    /// The id.
    #[schema(value_type = String, example = "inv_01q9v7x2k0g00")]
    id: InvitationId,
    /// The address of whoever is invited.
    email: String,
    /// The name that others will see.
    display_name: String,
    /// Whether everything will be permitted everywhere.
    is_owner: bool,
    /// The roles.
    #[schema(value_type = Vec<String>)]
    roles: Vec<RoleId>,
    /// The codes of the stores in which the roles hold. Null: in all of them.
    #[schema(required)]
    stores: Option<Vec<String>>,
    /// Who invited.
    invited_by: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Until when it can be accepted.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// Where it stands.
    state: InvitationStateBody,
}

/// Where an invitation stands.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum InvitationStateBody {
    /// It can be accepted.
    Open,
    /// Somebody became an operator by it.
    Accepted,
    /// It was taken back or replaced.
    Revoked,
    /// Nobody accepted it within 72 hours.
    Expired,
}

/// An invitation that was just made, with its token.
#[derive(Serialize, ToSchema)]
struct InvitedBody {
    /// The invitation.
    invitation: InvitationBody,
    /// What the invited person sends with the password of their choice. It is shown this once.
    #[schema(example = "hiv_Zk3…")]
    token: String,
}

/// How an invitation is accepted.
#[derive(Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
struct AcceptInvitation {
    /// The token of the invitation.
    #[garde(length(chars, min = 1, max = 100))]
    #[schema(min_length = 1, max_length = 100, example = "hiv_Zk3…")]
    token: String,
    /// The password to log in with from now on: at least ten characters.
    #[garde(length(chars, min = 1, max = 256))]
    #[schema(min_length = 1, max_length = 256, format = Password)]
    password: String,
}

/// What a role is.
#[derive(Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
struct RoleInput {
    /// What people call it.
    #[garde(length(chars, min = 1, max = 100))]
    #[schema(min_length = 1, max_length = 100, example = "店长")]
    name: String,
    /// The names of its permissions.
    #[garde(length(max = 200), inner(length(chars, min = 1, max = 64)))]
    #[schema(max_items = 200, example = json!(["orders.record"]))]
    permissions: Vec<String>,
}

/// A role.
#[derive(Serialize, ToSchema)]
struct RoleBody {
    /// The id.
    #[schema(value_type = String, example = "rol_01q9v7x2k0g00")]
    id: RoleId,
    /// What people call it.
    name: String,
    /// The names of its permissions.
    permissions: Vec<String>,
    /// Whether it permits anything.
    is_active: bool,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

/// List operators
///
/// Latest first, suspended ones too. Needs `staff.read_operators`.
#[utoipa::path(
    get, path = "/api/admin/v1/operators", tag = "staff", params(PageQuery),
    responses((status = 200, description = "One page of operators.", body = Page<OperatorBody>), Problems)
)]
async fn list_operators(
    State(staff): State<Staff>,
    Caller(actor): Caller,
    Query(page): Query<PageQuery>,
) -> ApiResult<Json<Page<OperatorBody>>> {
    let before = page.cursor.map(|Cursor(_, id)| OperatorId::from_i64(id));
    let rows = staff.list_operators(&actor, before, page.limit + 1).await?;
    let cut = Page::cut(rows, page.limit, |last| Cursor(0, last.id.as_i64()));
    Ok(Json(cut.map(OperatorBody::from)))
}

/// Suspend an operator
///
/// Ends their sessions and takes back the invitations that they sent. The last active owner cannot be suspended.
/// Needs `staff.manage_operators` and whatever the operator may do.
#[utoipa::path(
    post, path = "/api/admin/v1/operators/{operator_id}/suspend", tag = "staff",
    params(("operator_id" = String, Path, description = "The operator.", example = "opr_01q9v7x2k0g00")),
    responses((status = 200, description = "The operator.", body = OperatorBody), Problems)
)]
async fn suspend_operator(
    State(staff): State<Staff>,
    Caller(actor): Caller,
    PathId(operator): PathId<OperatorId>,
) -> ApiResult<Json<OperatorBody>> {
    Ok(Json(staff.suspend_operator(&actor, operator).await?.into()))
}

/// Restore an operator
///
/// Lets somebody who was suspended log in again. Needs `staff.manage_operators` and whatever the operator may do.
#[utoipa::path(
    post, path = "/api/admin/v1/operators/{operator_id}/restore", tag = "staff",
    params(("operator_id" = String, Path, description = "The operator.", example = "opr_01q9v7x2k0g00")),
    responses((status = 200, description = "The operator.", body = OperatorBody), Problems)
)]
async fn restore_operator(
    State(staff): State<Staff>,
    Caller(actor): Caller,
    PathId(operator): PathId<OperatorId>,
) -> ApiResult<Json<OperatorBody>> {
    Ok(Json(staff.restore_operator(&actor, operator).await?.into()))
}

/// Set what an operator may do
///
/// Replaces roles and stores as a whole. Nobody gives what they lack, and the last active owner stays one. Needs
/// `staff.manage_operators` and whatever the operator may do before and after.
#[utoipa::path(
    put, path = "/api/admin/v1/operators/{operator_id}/access", tag = "staff", request_body = AccessInput,
    params(("operator_id" = String, Path, description = "The operator.", example = "opr_01q9v7x2k0g00")),
    responses((status = 200, description = "The operator.", body = OperatorBody), Problems)
)]
async fn set_operator_access(
    State(staff): State<Staff>,
    Caller(actor): Caller,
    PathId(operator): PathId<OperatorId>,
    Body(body): Body<AccessInput>,
) -> ApiResult<Json<OperatorBody>> {
    let access = body.into_access()?;
    let changed = staff.set_operator_access(&actor, operator, &access).await?;
    Ok(Json(changed.into()))
}

/// Change one's own password
///
/// All other sessions end. Wrong passwords are counted as at log-in.
#[utoipa::path(
    put, path = "/api/admin/v1/operators/me/password", tag = "staff", request_body = ChangePassword,
    responses((status = 204, description = "The new password holds."), Problems)
)]
async fn change_password(
    State(staff): State<Staff>,
    Caller(actor): Caller,
    headers: HeaderMap,
    Body(body): Body<ChangePassword>,
) -> ApiResult<StatusCode> {
    let token = bearer_token(&headers).ok_or(StaffError::OperatorNeeded)?;
    staff
        .change_password(&actor, token, body.present_password, body.new_password)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Begin to set up a second factor
///
/// Answers with what a device is set up with (TOTP, six digits, 30 seconds). Nothing is asked for at log-in until the
/// device has shown a code.
#[utoipa::path(
    post, path = "/api/admin/v1/operators/me/second-factor", tag = "staff", request_body = EnrolSecondFactor,
    responses((status = 201, description = "The secret of the device.", body = EnrolmentBody), Problems)
)]
async fn enrol_second_factor(
    State(staff): State<Staff>,
    Caller(actor): Caller,
    Body(body): Body<EnrolSecondFactor>,
) -> ApiResult<(StatusCode, Json<EnrolmentBody>)> {
    let Enrolment { secret, uri } = staff.enrol_second_factor(&actor, body.password).await?;
    Ok((StatusCode::CREATED, Json(EnrolmentBody { secret, uri })))
}

/// Confirm the second factor
///
/// By a code that the device shows. From now on one is asked for at log-in.
#[utoipa::path(
    post, path = "/api/admin/v1/operators/me/second-factor/confirm", tag = "staff", request_body = ConfirmSecondFactor,
    responses((status = 200, description = "The recovery codes.", body = RecoveryCodesBody), Problems)
)]
async fn confirm_second_factor(
    State(staff): State<Staff>,
    Caller(actor): Caller,
    Body(body): Body<ConfirmSecondFactor>,
) -> ApiResult<Json<RecoveryCodesBody>> {
    let RecoveryCodes(recovery_codes) = staff.confirm_second_factor(&actor, body.code.trim()).await?;
    Ok(Json(RecoveryCodesBody { recovery_codes }))
}

/// Remove one's own second factor
///
/// Against the password and a code of the device, or a recovery code.
#[utoipa::path(
    post, path = "/api/admin/v1/operators/me/second-factor/remove", tag = "staff", request_body = RemoveSecondFactor,
    responses((status = 204, description = "The password alone is asked for."), Problems)
)]
async fn remove_second_factor(
    State(staff): State<Staff>,
    Caller(actor): Caller,
    Body(body): Body<RemoveSecondFactor>,
) -> ApiResult<StatusCode> {
    staff
        .remove_second_factor(&actor, body.password, &body.code)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reset an operator's second factor
///
/// For somebody who lost device and recovery codes. Their sessions end. Needs `staff.manage_operators` and whatever the
/// operator may do.
#[utoipa::path(
    delete, path = "/api/admin/v1/operators/{operator_id}/second-factor", tag = "staff",
    params(("operator_id" = String, Path, description = "The operator.", example = "opr_01q9v7x2k0g00")),
    responses((status = 204, description = "The password alone is asked for."), Problems)
)]
async fn reset_second_factor(
    State(staff): State<Staff>,
    Caller(actor): Caller,
    PathId(operator): PathId<OperatorId>,
) -> ApiResult<StatusCode> {
    staff.reset_second_factor(&actor, operator).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List one's own sessions
///
/// Those that have not ended, latest first.
#[utoipa::path(
    get, path = "/api/admin/v1/operators/me/sessions", tag = "staff",
    responses((status = 200, description = "The sessions.", body = SessionsBody), Problems)
)]
async fn list_own_sessions(
    State(staff): State<Staff>,
    Caller(actor): Caller,
    headers: HeaderMap,
) -> ApiResult<Json<SessionsBody>> {
    let sessions = staff.list_own_sessions(&actor).await?;
    Ok(Json(sessions_body(sessions, &headers)))
}

/// End one of one's own sessions
///
/// For example that of a device that was lost.
#[utoipa::path(
    delete, path = "/api/admin/v1/operators/me/sessions/{session_id}", tag = "staff",
    params(("session_id" = String, Path, description = "The session.", example = "ses_5bd62b85d50290ec5125302ed9e776bf")),
    responses((status = 204, description = "The session has ended."), Problems)
)]
async fn revoke_own_session(
    State(staff): State<Staff>,
    Caller(actor): Caller,
    PathId(session): PathId<SessionId>,
) -> ApiResult<StatusCode> {
    staff.revoke_own_session(&actor, &session).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List an operator's sessions
///
/// Those that have not ended, latest first. Needs `staff.read_operators`.
#[utoipa::path(
    get, path = "/api/admin/v1/operators/{operator_id}/sessions", tag = "staff",
    params(("operator_id" = String, Path, description = "The operator.", example = "opr_01q9v7x2k0g00")),
    responses((status = 200, description = "The sessions.", body = SessionsBody), Problems)
)]
async fn list_operator_sessions(
    State(staff): State<Staff>,
    Caller(actor): Caller,
    headers: HeaderMap,
    PathId(operator): PathId<OperatorId>,
) -> ApiResult<Json<SessionsBody>> {
    let sessions = staff.list_sessions(&actor, operator).await?;
    Ok(Json(sessions_body(sessions, &headers)))
}

/// End an operator's session
///
/// Needs `staff.manage_operators` and whatever the operator may do.
#[utoipa::path(
    delete, path = "/api/admin/v1/operators/{operator_id}/sessions/{session_id}", tag = "staff",
    params(
        ("operator_id" = String, Path, description = "The operator.", example = "opr_01q9v7x2k0g00"),
        ("session_id" = String, Path, description = "The session.", example = "ses_5bd62b85d50290ec5125302ed9e776bf"),
    ),
    responses((status = 204, description = "The session has ended."), Problems)
)]
async fn revoke_operator_session(
    State(staff): State<Staff>,
    Caller(actor): Caller,
    Path(path): Path<SessionPath>,
) -> ApiResult<StatusCode> {
    let session = path.session_id.parse().map_err(|_| StaffError::SessionUnknown);
    // Whoever lacks the right is told so, whatever the path says.
    actor.authorize(&crate::OPERATORS_MANAGE)?;
    staff.revoke_session(&actor, path.operator_id, &session?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Invite an operator
///
/// The answer has the token, which is handed to the invited person and works once within 72 hours. An open
/// invitation of the same address is replaced. Needs `staff.manage_operators` and whatever is given.
#[utoipa::path(
    post, path = "/api/admin/v1/invitations", tag = "staff", request_body = InviteOperator,
    responses((status = 201, description = "The invitation and its token.", body = InvitedBody), Problems)
)]
async fn invite_operator(
    State(staff): State<Staff>,
    Caller(actor): Caller,
    Body(body): Body<InviteOperator>,
) -> ApiResult<(StatusCode, Json<InvitedBody>)> {
    let access = body.access.into_access()?;
    let Invited { invitation, token } = staff
        .invite_operator(&actor, &body.email, body.display_name, access)
        .await?;
    let invitation = invitation.into();
    Ok((StatusCode::CREATED, Json(InvitedBody { invitation, token })))
}

/// List invitations
///
/// Latest first, ended ones too. Needs `staff.read_operators`.
#[utoipa::path(
    get, path = "/api/admin/v1/invitations", tag = "staff", params(PageQuery),
    responses((status = 200, description = "One page of invitations.", body = Page<InvitationBody>), Problems)
)]
async fn list_invitations(
    State(staff): State<Staff>,
    Caller(actor): Caller,
    Query(page): Query<PageQuery>,
) -> ApiResult<Json<Page<InvitationBody>>> {
    let after = page
        .cursor
        .map(|Cursor(at, id)| (Timestamp::from_millis(at), InvitationId::from_i64(id)));
    let rows = staff.list_invitations(&actor, after, page.limit + 1).await?;
    let cut = Page::cut(rows, page.limit, |last| {
        Cursor(last.created_at.as_millis(), last.id.as_i64())
    });
    Ok(Json(cut.map(InvitationBody::from)))
}

/// Take an invitation back
///
/// One that has ended stays as it is. Needs `staff.manage_operators`.
#[utoipa::path(
    delete, path = "/api/admin/v1/invitations/{invitation_id}", tag = "staff",
    params(("invitation_id" = String, Path, description = "The invitation.", example = "inv_01q9v7x2k0g00")),
    responses((status = 200, description = "The invitation.", body = InvitationBody), Problems)
)]
async fn revoke_invitation(
    State(staff): State<Staff>,
    Caller(actor): Caller,
    PathId(invitation): PathId<InvitationId>,
) -> ApiResult<Json<InvitationBody>> {
    Ok(Json(staff.revoke_invitation(&actor, invitation).await?.into()))
}

/// Accept an invitation
///
/// Makes the operator, who can log in from then on.
#[utoipa::path(
    post, path = "/api/admin/v1/invitations/accept", tag = "staff", security(()), request_body = AcceptInvitation,
    responses((status = 201, description = "The operator.", body = OperatorBody), Problems)
)]
async fn accept_invitation(
    State(staff): State<Staff>,
    Body(body): Body<AcceptInvitation>,
) -> ApiResult<(StatusCode, Json<OperatorBody>)> {
    let operator = staff.accept_invitation(&body.token, body.password).await?;
    Ok((StatusCode::CREATED, Json(operator.into())))
}

/// Create a role
///
/// Needs `staff.manage_roles` in all stores, and every permission that it is to have.
#[utoipa::path(
    post, path = "/api/admin/v1/roles", tag = "staff", request_body = RoleInput,
    responses((status = 201, description = "The role.", body = RoleBody), Problems)
)]
async fn create_role(
    State(staff): State<Staff>,
    Caller(actor): Caller,
    Body(body): Body<RoleInput>,
) -> ApiResult<(StatusCode, Json<RoleBody>)> {
    let role = staff.create_role(&actor, body.name, &body.permissions).await?;
    Ok((StatusCode::CREATED, Json(role.into())))
}

/// List roles
///
/// Latest first, retired ones too. Needs `staff.read_operators`.
#[utoipa::path(
    get, path = "/api/admin/v1/roles", tag = "staff", params(PageQuery),
    responses((status = 200, description = "One page of roles.", body = Page<RoleBody>), Problems)
)]
async fn list_roles(
    State(staff): State<Staff>,
    Caller(actor): Caller,
    Query(page): Query<PageQuery>,
) -> ApiResult<Json<Page<RoleBody>>> {
    let before = page.cursor.map(|Cursor(_, id)| RoleId::from_i64(id));
    let rows = staff.list_roles(&actor, before, page.limit + 1).await?;
    let cut = Page::cut(rows, page.limit, |last| Cursor(0, last.id.as_i64()));
    Ok(Json(cut.map(RoleBody::from)))
}

/// Change a role
///
/// Holds for everybody who has it. Needs `staff.manage_roles` in all stores, and every permission that it had or is
/// to have.
#[utoipa::path(
    put, path = "/api/admin/v1/roles/{role_id}", tag = "staff", request_body = RoleInput,
    params(("role_id" = String, Path, description = "The role.", example = "rol_01q9v7x2k0g00")),
    responses((status = 200, description = "The role.", body = RoleBody), Problems)
)]
async fn change_role(
    State(staff): State<Staff>,
    Caller(actor): Caller,
    PathId(role): PathId<RoleId>,
    Body(body): Body<RoleInput>,
) -> ApiResult<Json<RoleBody>> {
    let changed = staff
        .change_role(&actor, role, &body.name, &body.permissions)
        .await?;
    Ok(Json(changed.into()))
}

/// Retire a role
///
/// For ever: it permits nothing any more. Needs `staff.manage_roles` in all stores, and every permission of the role.
#[utoipa::path(
    delete, path = "/api/admin/v1/roles/{role_id}", tag = "staff",
    params(("role_id" = String, Path, description = "The role.", example = "rol_01q9v7x2k0g00")),
    responses((status = 204, description = "The role is retired."), Problems)
)]
async fn retire_role(
    State(staff): State<Staff>,
    Caller(actor): Caller,
    PathId(role): PathId<RoleId>,
) -> ApiResult<StatusCode> {
    staff.retire_role(&actor, role).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn sessions_body(sessions: Vec<SessionInfo>, headers: &HeaderMap) -> SessionsBody {
    let current = bearer_token(headers).map(SessionId::of_token);
    let items = sessions.into_iter().map(|session| SessionInfoBody {
        is_current: current.as_ref() == Some(&session.id()),
        id: session.id().to_string(),
        created_at: session.created_at,
        expires_at: session.expires_at,
    });
    SessionsBody {
        items: items.collect(),
    }
}

impl From<Invitation> for InvitationBody {
    fn from(invitation: Invitation) -> Self {
        let state = match invitation.state {
            InvitationState::Open => InvitationStateBody::Open,
            InvitationState::Accepted => InvitationStateBody::Accepted,
            InvitationState::Revoked => InvitationStateBody::Revoked,
            InvitationState::Expired => InvitationStateBody::Expired,
        };
        Self {
            id: invitation.id,
            email: invitation.email,
            display_name: invitation.display_name,
            is_owner: invitation.access.is_owner,
            stores: codes_of(&invitation.access.stores),
            roles: invitation.access.roles,
            invited_by: invitation.invited_by,
            created_at: invitation.created_at,
            expires_at: invitation.expires_at,
            state,
        }
    }
}

impl From<Role> for RoleBody {
    fn from(role: Role) -> Self {
        Self {
            id: role.id,
            name: role.name,
            permissions: role.permissions,
            is_active: role.is_active,
            created_at: role.created_at,
        }
    }
}
