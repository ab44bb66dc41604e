//! Inviting operators, and becoming one.

use std::fmt;

use huika_core::{Actor, Timestamp};
use huika_db::DbError;
use serde_json::json;

use super::{audit_in_tx, operators::access_detail, reach::check_access};
use crate::{
    Access, Invitation, InvitationId, InvitationState, OPERATORS_MANAGE, OPERATORS_READ, Operator, Staff,
    StaffError,
    domain::{invitation, operator::Email, password, session::TokenHash},
    store::{self, people},
};

/// An invitation that was just made, with its token.
#[derive(Clone, PartialEq, Eq)]
pub struct Invited {
    /// The invitation.
    pub invitation: Invitation,
    /// The token, which is shown this once.
    pub token: String,
}

impl fmt::Debug for Invited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invited")
            .field("invitation", &self.invitation)
            .finish_non_exhaustive()
    }
}

impl Staff {
    /// Invites somebody to become an operator. An open invitation of the same address is replaced.
    ///
    /// # Errors
    /// When the actor lacks the permission or may do less than is to be given; [`StaffError::EmailInvalid`];
    /// [`StaffError::EmailTaken`]; [`StaffError::RoleUnknown`]; [`StaffError::StoreUnknown`].
    pub async fn invite_operator(
        &self,
        actor: &Actor,
        email: &str,
        display_name: String,
        access: Access,
    ) -> Result<Invited, StaffError> {
        actor.authorize(&OPERATORS_MANAGE)?;
        let email = Email::try_new(email)?;
        let now = self.clock().now();
        let invitation = Invitation {
            id: self.0.ids.next(),
            email: email.as_str().to_owned(),
            display_name,
            access,
            invited_by: actor.id().to_owned(),
            created_at: now,
            expires_at: invitation::expiry(now),
            state: InvitationState::Open,
        };
        let token = invitation::new_token(self.rng());
        let (row, hash, ids) = (&invitation, TokenHash::of(&token), &self.0.ids);
        self.db()
            .run_tx("staff.invite_operator", |tx| {
                Box::pin(async move {
                    check_access(tx, actor, &row.access).await?;
                    if store::operator_has_email(tx, &row.email).await? {
                        return Err(StaffError::EmailTaken);
                    }
                    let replaced = people::invitation_revoke_for(tx, &row.email, now).await?;
                    people::invitation_insert(tx, row, hash).await?;
                    let detail = json!({ "access": access_detail(&row.access), "replaced": replaced });
                    audit_in_tx(
                        tx,
                        ids,
                        actor,
                        "staff.invite_operator",
                        row.id.to_string(),
                        detail,
                    )
                    .await?;
                    Ok(())
                })
            })
            .await?;
        Ok(Invited { invitation, token })
    }

    /// Invitations, latest first, ended ones too.
    ///
    /// # Errors
    /// When the actor lacks the permission or the database fails.
    pub async fn list_invitations(
        &self,
        actor: &Actor,
        after: Option<(Timestamp, InvitationId)>,
        limit: u32,
    ) -> Result<Vec<Invitation>, StaffError> {
        actor.authorize(&OPERATORS_READ)?;
        Ok(people::invitation_list(&mut self.db(), after, limit, self.clock().now()).await?)
    }

    /// Takes an invitation back; one that has ended stays as it is.
    ///
    /// # Errors
    /// When the actor lacks the permission; [`StaffError::InvitationUnknown`].
    pub async fn revoke_invitation(&self, actor: &Actor, id: InvitationId) -> Result<Invitation, StaffError> {
        actor.authorize(&OPERATORS_MANAGE)?;
        let (now, ids) = (self.clock().now(), &self.0.ids);
        self.db()
            .run_tx("staff.revoke_invitation", |tx| {
                Box::pin(async move {
                    if people::invitation_revoke(tx, id, now).await? {
                        let (subject, detail) = (id.to_string(), json!({}));
                        audit_in_tx(tx, ids, actor, "staff.revoke_invitation", subject, detail).await?;
                    }
                    let found = people::invitation_find(tx, id, now).await?;
                    found.ok_or(StaffError::InvitationUnknown)
                })
            })
            .await
    }

    /// Becomes an operator by an invitation. Needs no permission: the token is the proof, and works once.
    ///
    /// # Errors
    /// [`StaffError::InvitationInvalid`]; [`StaffError::PasswordUnsuitable`]; [`StaffError::EmailTaken`].
    pub async fn accept_invitation(&self, token: &str, password: String) -> Result<Operator, StaffError> {
        let (hash, now) = (TokenHash::of(token), self.clock().now());
        // Asked before hashing, which costs much and which a stranger must not be able to ask for.
        let found = people::invitation_find_open(&mut self.db(), hash, now).await?;
        let invitation = found.ok_or(StaffError::InvitationInvalid)?;
        password::check(&password)?;
        let password_hash = self.hash_password(password).await?;
        let now = self.clock().now();
        let operator = Operator {
            id: self.0.ids.next(),
            email: invitation.email.clone(),
            display_name: invitation.display_name.clone(),
            is_owner: invitation.access.is_owner,
            roles: invitation.access.roles.clone(),
            stores: invitation.access.stores.clone(),
            is_active: true,
            has_second_factor: false,
            created_at: now,
        };
        let (row, password_hash, ids) = (&operator, password_hash.as_str(), &self.0.ids);
        let invitation = &invitation;
        let accepted = self.db().run_tx("staff.accept_invitation", |tx| {
            Box::pin(async move {
                if !people::invitation_accept(tx, invitation.id, now).await? {
                    return Err(StaffError::InvitationInvalid);
                }
                store::operator_insert(tx, row, password_hash).await?;
                people::access_set(tx, row.id, &invitation.access).await?;
                let actor = Actor::with_rights(row.id, []);
                let detail = json!({
                    "invitation": invitation.id, "invited_by": invitation.invited_by,
                    "access": access_detail(&invitation.access),
                });
                audit_in_tx(
                    tx,
                    ids,
                    &actor,
                    "staff.accept_invitation",
                    row.id.to_string(),
                    detail,
                )
                .await?;
                Ok(())
            })
        });
        match accepted.await {
            Ok(()) => Ok(operator),
            // Ids do not repeat: it is the address that somebody took meanwhile.
            Err(StaffError::Db(DbError::Duplicate(_))) => Err(StaffError::EmailTaken),
            Err(error) => Err(error),
        }
    }
}
