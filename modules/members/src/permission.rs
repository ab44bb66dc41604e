//! The rights that this module asks for.

use huika_core::Permission;

/// Every permission of this module.
pub const PERMISSIONS: &[Permission] = &[
    READ, REGISTER, REVEAL, SET_STATE, EDIT, EXPORT, MERGE, ERASE, CONSENT, CONFIGURE,
];

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

/// See personal data in clear. Each time is audited.
pub const REVEAL: Permission = Permission {
    name: "members.reveal",
    en: "See a member's phone, name and other personal data in clear; each time is recorded",
    zh: "查看会员完整手机号、姓名等个人信息（每次查看均留痕）",
};

/// Change what is known of a member.
pub const EDIT: Permission = Permission {
    name: "members.edit",
    en: "Change members' profiles, tags, notes and advisers",
    zh: "修改会员资料、标签、备注与专属顾问",
};

/// Change states.
pub const SET_STATE: Permission = Permission {
    name: "members.set_state",
    en: "Freeze, blacklist, close and restore members",
    zh: "冻结、拉黑、注销或恢复会员",
};

/// Take out everything that is kept of one member.
pub const EXPORT: Permission = Permission {
    name: "members.export",
    en: "Export everything that is kept of one member, in clear; each time is recorded",
    zh: "导出单个会员的全部资料（含完整个人信息，每次导出均留痕）",
};

/// Merge members and take merges back.
pub const MERGE: Permission = Permission {
    name: "members.merge",
    en: "Merge two members who are one person, and take a merge back",
    zh: "合并同一人的两个会员，或撤销合并",
};

/// Destroy the personal data of members who have left.
pub const ERASE: Permission = Permission {
    name: "members.erase",
    en: "Destroy the personal data of members who have left, for ever",
    zh: "永久删除已注销会员的个人信息",
};

/// Enter consents and withdrawals.
pub const CONSENT: Permission = Permission {
    name: "members.consent",
    en: "Enter what members consent to and withdraw",
    zh: "登记会员的同意与撤回",
};

/// Publish agreements.
pub const CONFIGURE: Permission = Permission {
    name: "members.configure",
    en: "Publish the agreements that members consent to",
    zh: "发布会员协议",
};

/// Show the rotating code of a member's card.
pub const ISSUE_CODE: Permission = Permission {
    name: "members.issue_code",
    en: "Show the rotating code of a member's card",
    zh: "生成会员动态码",
};

/// Take rotating codes.
pub const VERIFY_CODE: Permission = Permission {
    name: "members.verify_code",
    en: "Take the rotating codes that members show",
    zh: "核验会员动态码",
};

/// Get the key by which codes are checked without a network.
pub const CARD_KEY: Permission = Permission {
    name: "members.card_key",
    en: "Get the key of the day by which a till checks codes without a network",
    zh: "获取离线核验会员码的当日密钥",
};
