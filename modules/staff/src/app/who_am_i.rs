//! Who is logged in.

use huika_core::Actor;

use crate::{Operator, Staff, StaffError, domain::operator::operator_of, store};

impl Staff {
    /// The operator that the actor is. Needs no permission: everybody may see themselves.
    ///
    /// # Errors
    /// [`StaffError::OperatorNeeded`] when the actor is no operator; otherwise when the database fails.
    pub async fn who_am_i(&self, actor: &Actor) -> Result<Operator, StaffError> {
        let operator = store::operator_find(&mut self.db(), operator_of(actor)?).await?;
        operator.ok_or(StaffError::OperatorNeeded)
    }
}
