//! Look-ups: one member by id or by any name, and many members by name at once.

use std::collections::HashMap;

use huika_core::{Actor, MemberId};
use huika_db::Executor;

use crate::{Identity, MemberView, Members, MembersError, domain::identity::IdentityName, permission, store};

impl Members {
    /// One member by id; of a member who was merged, the one who stands for both.
    ///
    /// # Errors
    /// [`MembersError::NotFound`].
    pub async fn find(&self, actor: &Actor, id: MemberId) -> Result<MemberView, MembersError> {
        actor.authorize(&permission::READ)?;
        self.load_view(id).await
    }

    /// One member by phone, card number or number in another system.
    ///
    /// # Errors
    /// [`MembersError::NotFound`].
    pub async fn find_by_identity(
        &self,
        actor: &Actor,
        identity: &Identity,
    ) -> Result<MemberView, MembersError> {
        actor.authorize(&permission::READ)?;
        let owners = store::identity_owners(&mut &self.db, &[identity.name(&self.keyring)]).await?;
        let id = owners.into_values().next().ok_or(MembersError::NotFound)?;
        self.load_view(id).await
    }

    /// The members of many names at once, for modules that have authorized their actor. Names that nobody
    /// has claimed are missing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_many_in_tx(
        &self,
        executor: &mut impl Executor,
        identities: &[Identity],
    ) -> Result<HashMap<Identity, MemberId>, MembersError> {
        let names: Vec<IdentityName> = identities
            .iter()
            .map(|identity| identity.name(&self.keyring))
            .collect();
        let owners = store::identity_owners(executor, &names).await?;
        let found = identities.iter().zip(&names);
        Ok(found
            .filter_map(|(identity, name)| Some((identity.clone(), *owners.get(name)?)))
            .collect())
    }

    /// How many members there are, in whatever state.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count(&self) -> Result<i64, MembersError> {
        Ok(store::member_count(&mut &self.db).await?)
    }

    /// The member, or the one who stands for it since a merge.
    pub(super) async fn load_view(&self, id: MemberId) -> Result<MemberView, MembersError> {
        let mut db = &self.db;
        let member = store::member_find(&mut db, id, self.now()).await?;
        let mut member = member.ok_or(MembersError::NotFound)?;
        if member.merged_into.is_some() {
            let ends = self.resolve_in_tx(&mut db, &[id]).await?;
            let end = ends.get(&id).copied().unwrap_or(id);
            let winner = store::member_find(&mut db, end, self.now()).await?;
            member = winner.ok_or(MembersError::NotFound)?;
        }
        member.view(&self.keyring)
    }
}
