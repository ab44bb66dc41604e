//! The owner at first run.

use std::fmt;

use huika_core::{Actor, StoreScope};

use super::audit_in_tx;
use crate::{
    Operator, Staff, StaffError,
    domain::{operator::Email, password},
    store,
};

/// What the first owner logs in with. Shown once, to the person at the machine.
#[derive(Clone, PartialEq, Eq)]
pub struct FirstOwner {
    /// The address.
    pub email: String,
    /// The password: the one that was given, or a generated one.
    pub password: String,
}

impl fmt::Debug for FirstOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstOwner")
            .field("email", &self.email)
            .finish_non_exhaustive()
    }
}

impl Staff {
    /// Makes the owner if this installation has never had one; absent otherwise. Many nodes may try at once: one
    /// of them makes it. Without a password a random one is made; there is no default.
    ///
    /// # Errors
    /// When the address or the password will not do, or the database fails.
    pub async fn ensure_owner(
        &self,
        email: &str,
        password: Option<String>,
    ) -> Result<Option<FirstOwner>, StaffError> {
        // Asked first without hashing, since this runs at every start.
        if store::first_owner_exists(&mut self.db()).await? {
            return Ok(None);
        }
        let email = Email::try_new(email)?;
        let password = password.unwrap_or_else(|| password::generate(self.rng()));
        password::check(&password)?;
        let password_hash = self.hash_password(password.clone()).await?;
        let owner = Operator {
            id: self.0.ids.next(),
            email: email.as_str().to_owned(),
            display_name: "Owner".to_owned(),
            is_owner: true,
            roles: Vec::new(),
            stores: StoreScope::All,
            is_active: true,
            has_second_factor: false,
            created_at: self.clock().now(),
        };
        let (owner, password_hash, ids) = (&owner, password_hash.as_str(), &self.0.ids);
        let made: bool = self
            .db()
            .run_tx("staff.ensure_owner", |tx| {
                Box::pin(async move {
                    if !store::first_owner_claim(tx, owner.id).await? {
                        return Ok::<_, StaffError>(false);
                    }
                    store::operator_insert(tx, owner, password_hash).await?;
                    let actor = Actor::system("setup");
                    let subject = owner.id.to_string();
                    audit_in_tx(
                        tx,
                        ids,
                        &actor,
                        "staff.create_owner",
                        subject,
                        serde_json::json!({}),
                    )
                    .await?;
                    Ok(true)
                })
            })
            .await?;
        Ok(made.then(|| FirstOwner {
            email: owner.email.clone(),
            password,
        }))
    }
}
