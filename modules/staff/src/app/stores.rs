//! Making, renaming, closing and listing stores.

use huika_core::Actor;
use serde_json::json;

use super::audit_in_tx;
use crate::{STORES_MANAGE, STORES_READ, Staff, StaffError, Store, StoreCode, store::shops};

impl Staff {
    /// Makes a store.
    ///
    /// # Errors
    /// When the actor lacks the permission, or may not act everywhere; [`StaffError::StoreExists`].
    pub async fn create_store(
        &self,
        actor: &Actor,
        code: StoreCode,
        name_zh: String,
        name_en: Option<String>,
    ) -> Result<Store, StaffError> {
        // A store that does not exist yet is in nobody's list.
        actor.authorize_in(&STORES_MANAGE, None)?;
        let store = Store {
            code,
            name_zh,
            name_en,
            is_open: true,
            created_at: self.clock().now(),
            closed_at: None,
        };
        let (row, ids) = (&store, &self.0.ids);
        self.db()
            .run_tx("staff.create_store", |tx| {
                Box::pin(async move {
                    if !shops::store_insert(tx, row).await? {
                        return Err(StaffError::StoreExists {
                            store: row.code.to_string(),
                        });
                    }
                    let detail = json!({ "name_zh": row.name_zh, "name_en": row.name_en });
                    audit_in_tx(tx, ids, actor, "staff.create_store", row.code.to_string(), detail).await?;
                    Ok(())
                })
            })
            .await?;
        Ok(store)
    }

    /// Gives a store other names.
    ///
    /// # Errors
    /// When the actor lacks the permission in this store; [`StaffError::StoreMissing`].
    pub async fn rename_store(
        &self,
        actor: &Actor,
        code: &StoreCode,
        name_zh: &str,
        name_en: Option<&str>,
    ) -> Result<Store, StaffError> {
        actor.authorize_in(&STORES_MANAGE, Some(code.as_str()))?;
        let ids = &self.0.ids;
        self.db()
            .run_tx("staff.rename_store", |tx| {
                Box::pin(async move {
                    if !shops::store_rename(tx, code, name_zh, name_en).await? {
                        return Err(StaffError::StoreMissing);
                    }
                    let detail = json!({ "name_zh": name_zh, "name_en": name_en });
                    audit_in_tx(tx, ids, actor, "staff.rename_store", code.to_string(), detail).await?;
                    shops::store_find(tx, code).await?.ok_or(StaffError::StoreMissing)
                })
            })
            .await
    }

    /// Closes a store for ever; closing it again changes nothing. What happened there stays, and whoever works there
    /// still sees it.
    ///
    /// # Errors
    /// When the actor lacks the permission in this store; [`StaffError::StoreMissing`].
    pub async fn close_store(&self, actor: &Actor, code: &StoreCode) -> Result<Store, StaffError> {
        actor.authorize_in(&STORES_MANAGE, Some(code.as_str()))?;
        let (now, ids) = (self.clock().now(), &self.0.ids);
        self.db()
            .run_tx("staff.close_store", |tx| {
                Box::pin(async move {
                    if shops::store_close(tx, code, now).await? {
                        audit_in_tx(tx, ids, actor, "staff.close_store", code.to_string(), json!({})).await?;
                    }
                    shops::store_find(tx, code).await?.ok_or(StaffError::StoreMissing)
                })
            })
            .await
    }

    /// Stores by their codes, beginning after the one named, closed ones too.
    ///
    /// # Errors
    /// When the actor lacks the permission or the database fails.
    pub async fn list_stores(
        &self,
        actor: &Actor,
        after: Option<&StoreCode>,
        limit: u32,
    ) -> Result<Vec<Store>, StaffError> {
        actor.authorize(&STORES_READ)?;
        Ok(shops::store_list(&mut self.db(), after, limit).await?)
    }
}
