//! What this module asks permission for.

use huika_core::Permission;

/// To see which API clients there are and what they may do.
pub const API_CLIENTS_READ: Permission = Permission {
    name: "staff.read_api_clients",
    en: "See API clients and what they may do",
    zh: "查看 API 客户端及其权限",
};

/// To create and revoke API clients.
pub const API_CLIENTS_MANAGE: Permission = Permission {
    name: "staff.manage_api_clients",
    en: "Create and revoke API clients, within one's own permissions",
    zh: "创建和撤销 API 客户端（不得超出自身权限）",
};

/// All permissions of this module.
pub const PERMISSIONS: &[Permission] = &[API_CLIENTS_READ, API_CLIENTS_MANAGE];
