//! Birthdays, for modules that give something on the day.

use huika_core::MemberId;
use huika_db::Executor;

use crate::{BirthDay, Members, MembersError, PersonalField, domain::lookup::Lookup, store};

impl Members {
    /// The members who were born on a day, a page of them in the order of their ids, for modules that have
    /// authorized their actor. Found by the index alone: no birthday is decrypted. Who was born on 29 February is
    /// found on that day alone; on which day it is kept in other years, the caller decides.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn birthdays_in_tx(
        &self,
        executor: &mut impl Executor,
        day: BirthDay,
        after: Option<MemberId>,
        limit: u32,
    ) -> Result<Vec<MemberId>, MembersError> {
        let lookup = Lookup::of_birth_day(day);
        Ok(store::lookup_members(executor, &self.keyring, &lookup, after, limit).await?)
    }

    /// The month and day of a member's birth, for modules that have authorized their actor. None where it is not
    /// known or was erased.
    ///
    /// # Errors
    /// [`MembersError::NotFound`].
    pub async fn birthday_of_in_tx(
        &self,
        executor: &mut impl Executor,
        id: MemberId,
    ) -> Result<Option<BirthDay>, MembersError> {
        let member = store::member_find(executor, id, self.now()).await?;
        let key = member.ok_or(MembersError::NotFound)?.key(&self.keyring)?;
        let sealed = store::personal_list(executor, id).await?;
        match (key, sealed.get(&PersonalField::Birthday)) {
            (Some(key), Some(sealed)) => Ok(key.open_value(PersonalField::Birthday, sealed)?.birth_day()),
            _ => Ok(None),
        }
    }
}
