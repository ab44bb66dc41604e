//! States of many members at once, for modules that earn, spend or give for them.

use std::collections::HashMap;

use huika_core::{MemberId, Timestamp};
use huika_db::Executor;

use crate::{MemberState, Members, MembersError, store};

impl Members {
    /// The states of many members at this moment, for modules that have authorized their actor. Members who do not exist
    /// are missing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn states_in_tx(
        &self,
        executor: &mut impl Executor,
        ids: &[MemberId],
    ) -> Result<HashMap<MemberId, MemberState>, MembersError> {
        Ok(store::member_states(executor, ids, self.now()).await?)
    }

    /// When members registered, for modules that have authorized their actor. Members who do not exist are missing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn registered_in_tx(
        &self,
        executor: &mut impl Executor,
        ids: &[MemberId],
    ) -> Result<HashMap<MemberId, Timestamp>, MembersError> {
        Ok(store::member_registered(executor, ids).await?)
    }
}
