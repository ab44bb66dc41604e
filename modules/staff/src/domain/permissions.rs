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

/// To see operators, their roles, sessions and invitations.
pub const OPERATORS_READ: Permission = Permission {
    name: "staff.read_operators",
    en: "See operators, roles, sessions and invitations",
    zh: "查看员工、角色、登录会话与邀请",
};

/// To invite, suspend and restore operators and to say what they may do.
pub const OPERATORS_MANAGE: Permission = Permission {
    name: "staff.manage_operators",
    en: "Invite, suspend and restore operators and set their roles and stores, within one's own permissions and stores",
    zh: "邀请、停用、恢复员工并设置其角色与门店（不得超出自身权限与门店范围）",
};

/// To make and change roles.
pub const ROLES_MANAGE: Permission = Permission {
    name: "staff.manage_roles",
    en: "Create, change and retire roles, within one's own permissions",
    zh: "新建、修改和停用角色（不得超出自身权限）",
};

/// To see stores.
pub const STORES_READ: Permission = Permission {
    name: "staff.read_stores",
    en: "See stores",
    zh: "查看门店",
};

/// To make, rename and close stores.
pub const STORES_MANAGE: Permission = Permission {
    name: "staff.manage_stores",
    en: "Create, rename and close stores",
    zh: "新建、重命名和关闭门店",
};

/// All permissions of this module.
pub const PERMISSIONS: &[Permission] = &[
    API_CLIENTS_READ,
    API_CLIENTS_MANAGE,
    OPERATORS_READ,
    OPERATORS_MANAGE,
    ROLES_MANAGE,
    STORES_READ,
    STORES_MANAGE,
];
