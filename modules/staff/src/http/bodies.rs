//! What several routes read and write.

use huika_core::{StoreScope, Timestamp};
use huika_http::{ApiError, field_error};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Access, Operator, OperatorId, RoleId, StaffError, StoreCode};

/// A rule for the fields of bodies: the code of a store.
pub(super) fn is_store_code<T: AsRef<str> + ?Sized, C>(code: &T, _: &C) -> garde::Result {
    code.as_ref().parse::<StoreCode>().map(drop).map_err(|_| {
        field_error(
            "must be 1 to 32 letters, digits, dots, hyphens or underscores",
            "须为 1 至 32 个字母、数字、点、连字符或下划线",
        )
    })
}

/// The code in a field that was validated before.
pub(super) fn code_of(text: &str) -> Result<StoreCode, ApiError> {
    text.parse().map_err(|_| {
        StaffError::StoreUnknown {
            store: text.to_owned(),
        }
        .into()
    })
}

/// A scope out of a list; absent means everywhere.
pub(super) fn scope_of(stores: Option<Vec<String>>) -> StoreScope {
    stores.map_or(StoreScope::All, StoreScope::only)
}

/// The list of a scope; absent means everywhere.
pub(super) fn codes_of(scope: &StoreScope) -> Option<Vec<String>> {
    Some(scope.codes()?.map(str::to_owned).collect())
}

/// What an operator may do and where.
#[derive(Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct AccessInput {
    /// Whether everything is permitted everywhere. Only owners make owners, who have neither roles nor stores.
    #[serde(default)]
    #[garde(skip)]
    is_owner: bool,
    /// The roles.
    #[serde(default)]
    #[garde(length(max = 20))]
    #[schema(value_type = Vec<String>, max_items = 20, example = json!(["rol_01q9v7x2k0g00"]))]
    roles: Vec<RoleId>,
    /// The codes of the stores in which the roles hold. Null: in all of them.
    #[serde(default)]
    #[garde(inner(length(max = 500), inner(custom(is_store_code))))]
    #[schema(max_items = 500, example = json!(["jingan"]))]
    stores: Option<Vec<String>>,
}

impl AccessInput {
    pub(super) fn into_access(self) -> Result<Access, StaffError> {
        Access::try_new(self.is_owner, self.roles, scope_of(self.stores))
    }
}

/// An operator.
#[derive(Serialize, ToSchema)]
pub(super) struct OperatorBody {
    /// The id.
    #[schema(value_type = String, example = "opr_01q9v7x2k0g00")]
    id: OperatorId,
    /// The address to log in with.
    email: String,
    /// The name that others see.
    display_name: String,
    /// Whether everything is permitted everywhere.
    is_owner: bool,
    /// The roles. None for owners.
    #[schema(value_type = Vec<String>)]
    roles: Vec<RoleId>,
    /// The codes of the stores in which the roles hold. Null: in all of them.
    #[schema(required)]
    stores: Option<Vec<String>>,
    /// Whether the operator may log in.
    is_active: bool,
    /// Whether a code of a device is asked for at log-in.
    has_second_factor: bool,
    /// When the operator was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<Operator> for OperatorBody {
    fn from(operator: Operator) -> Self {
        let Operator {
            id,
            email,
            display_name,
            is_owner,
            roles,
            stores,
            is_active,
            has_second_factor,
            created_at,
        } = operator;
        Self {
            id,
            email,
            display_name,
            is_owner,
            roles,
            stores: codes_of(&stores),
            is_active,
            has_second_factor,
            created_at,
        }
    }
}
