//! The rights that this module asks for.

use huika_core::Permission;

/// Every permission of this module.
pub const PERMISSIONS: &[Permission] = &[READ, REGISTER, REVEAL, SET_STATE];

/// Find and see members, phones masked.
pub const READ: Permission = Permission {
    name: "members.read",
    en: "Find members and see them, phones masked",
    zh: "查询会员（手机号脱敏）",
};

/// Register members.
pub const REGISTER: Permission = Permission {
    name: "members.register",
    en: "Register members",
    zh: "注册会员",
};

/// See phones in clear. Each time is audited.
pub const REVEAL: Permission = Permission {
    name: "members.reveal",
    en: "See a member's phone in clear; each time is recorded",
    zh: "查看会员完整手机号（每次查看均留痕）",
};

/// Change states.
pub const SET_STATE: Permission = Permission {
    name: "members.set_state",
    en: "Freeze, blacklist, close and restore members",
    zh: "冻结、拉黑、注销或恢复会员",
};
