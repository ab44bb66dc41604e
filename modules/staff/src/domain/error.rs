//! What this module refuses, and how it says so.

use huika_core::{Denied, Problem, ProblemKind, Refusal, Timestamp};
use huika_db::DbError;

huika_core::problems! {
    /// Refusals and failures of staff.
    pub enum StaffError {
        /// The token is unknown, expired or revoked.
        [401 "staff.session_invalid"]
        SessionInvalid
        en "The session has ended: log in again."
        zh "会话已失效，请重新登录。";

        /// The address or the password is wrong; which of them is not said.
        [401 "staff.login_refused"]
        LoginRefused
        en "The e-mail address or the password is wrong: check both and try again."
        zh "邮箱或密码错误，请核对后重试。";

        /// The operator has a device, and no code came with the password.
        [401 "staff.code_needed"]
        CodeNeeded
        en "A code is needed too: send the six digits that your device shows, or a recovery code."
        zh "请同时提供设备显示的六位验证码或恢复码。";

        /// The code is wrong, too old or was used before.
        [401 "staff.code_refused"]
        CodeRefused
        en "The code is wrong or was used before: wait for the next one on your device, or use another recovery code."
        zh "验证码错误或已使用，请等待设备显示新的验证码，或使用其他恢复码。";

        /// There is an active device.
        [409 "staff.second_factor_exists"]
        SecondFactorExists
        en "A device is set up already: remove it before you set up another one."
        zh "已绑定验证设备，请先解除后再绑定新设备。";

        /// There is no device.
        [409 "staff.second_factor_missing"]
        SecondFactorMissing
        en "There is no device to do this with: set one up first."
        zh "尚未绑定验证设备，请先绑定。";

        /// One's own device is removed by password and code.
        [409 "staff.second_factor_own"]
        SecondFactorOwn
        en "Your own device is removed with your password and a code: do that, or ask another owner."
        zh "解除本人设备需提供密码与验证码，如无法提供请联系其他店主重置。";

        /// A header of the signature is missing or has another form.
        [401 "staff.signature_incomplete"]
        SignatureIncomplete { header: &'static str }
        en "A signed request needs the header {header} in the form that the API description gives."
        zh "签名请求缺少请求头 {header} 或其格式不正确，请对照接口文档检查。";

        /// The client is unknown or revoked, or the signature is not that of this request.
        [401 "staff.signature_invalid"]
        SignatureInvalid
        en "The signature does not fit this request: check that the client is active, its secret, and the signed text."
        zh "签名与请求不符，请检查客户端是否有效、密钥以及签名原文。";

        /// The timestamp is too far from our clock.
        [401 "staff.timestamp_refused"]
        TimestampRefused { server_time: i64 }
        en "The timestamp is too far off: our clock says {server_time}. Set yours and sign again."
        zh "时间戳偏差过大：服务器时间为 {server_time}，请校准时钟后重新签名。";

        /// The nonce came before.
        [401 "staff.nonce_used"]
        NonceUsed
        en "This nonce was used before: make a new one for every request and sign again."
        zh "该随机串已被使用，请为每个请求生成新的随机串并重新签名。";

        /// Whether the nonce came before cannot be told at the moment.
        [503 "staff.nonces_unavailable"]
        NoncesUnavailable
        en "Signed requests cannot be checked at the moment: sign again and retry in a second."
        zh "暂时无法校验签名请求，请稍后重新签名并重试。";

        /// The use case belongs to people, not programs.
        [403 "staff.operator_needed"]
        OperatorNeeded
        en "Only an operator who is logged in can do this, not an API client."
        zh "此操作仅限已登录的员工，API 客户端无法执行。";

        /// No client has this id.
        [404 "staff.api_client_unknown"]
        ApiClientUnknown
        en "There is no such API client: look it up in the list."
        zh "该 API 客户端不存在，请在列表中查找。";

        /// The old secret would be taken for too long.
        [422 "staff.overlap_invalid"]
        OverlapInvalid
        en "The old secret can be taken for at most seven days from now: name a moment within them."
        zh "旧密钥最多可继续使用七天，请填写七天之内的时间。";

        /// The old secret of the rotation before still lives.
        [409 "staff.rotation_unfinished"]
        RotationUnfinished { until: Timestamp }
        en "The old secret of the last rotation is taken until {until}: end it first, or wait."
        zh "上次轮换的旧密钥有效期至 {until}，请先停用旧密钥或等待其失效。";

        /// A permission of that name does not exist.
        [422 "staff.permission_unknown"]
        PermissionUnknown { name: String }
        en "There is no permission {name}: choose from the list of permissions."
        zh "权限 {name} 不存在，请从权限列表中选择。";

        /// No operator has this id.
        [404 "staff.operator_unknown"]
        OperatorUnknown
        en "There is no such operator: look them up in the list."
        zh "该员工不存在，请在列表中查找。";

        /// Only owners touch owners.
        [403 "staff.owner_needed"]
        OwnerNeeded
        en "Only an owner can do this to an owner or make one: ask an owner."
        zh "仅店主可操作店主账号或授予店主身份，请联系店主处理。";

        /// Somebody would get, or has, stores that the actor lacks.
        [403 "staff.scope_exceeded"]
        ScopeExceeded
        en "This reaches beyond your own stores: choose among yours, or ask somebody who may act in all of them."
        zh "超出您的门店范围，请在所属门店内选择，或联系拥有全部门店权限的员工。";

        /// Nobody could do everything any more.
        [409 "staff.last_owner"]
        LastOwner
        en "This is the last active owner, and nobody could change anything any more: make somebody else an owner first."
        zh "这是最后一位有效店主，操作后将无人可管理系统，请先设置其他店主。";

        /// Owners are not limited.
        [422 "staff.owner_unlimited"]
        OwnerUnlimited
        en "An owner may do everything everywhere: give an owner neither roles nor stores."
        zh "店主拥有全部权限，请勿为其指定角色或门店。";

        /// A list of roles or stores is too long.
        [422 "staff.access_too_long"]
        AccessTooLong { most_roles: usize, most_stores: usize }
        en "An operator has at most {most_roles} roles and a list of at most {most_stores} stores: join roles, or allow all stores."
        zh "每位员工最多 {most_roles} 个角色、{most_stores} 家门店，请合并角色或选择全部门店。";

        /// No active role has this id.
        [422 "staff.role_unknown"]
        RoleUnknown { role: String }
        en "There is no active role {role}: choose one from the list of roles."
        zh "角色 {role} 不存在或已停用，请从角色列表中选择。";

        /// No role has this id.
        [404 "staff.role_missing"]
        RoleMissing
        en "There is no such active role: look it up in the list."
        zh "该角色不存在或已停用，请在列表中查找。";

        /// No open store has this code.
        [422 "staff.store_unknown"]
        StoreUnknown { store: String }
        en "There is no open store {store}: choose one from the list of stores."
        zh "门店 {store} 不存在或已关闭，请从门店列表中选择。";

        /// No store has this code.
        [404 "staff.store_missing"]
        StoreMissing
        en "There is no such store: look it up in the list."
        zh "该门店不存在，请在列表中查找。";

        /// Another store has this code.
        [409 "staff.store_exists"]
        StoreExists { store: String }
        en "There is a store {store} already: rename that one, or choose another code."
        zh "门店编码 {store} 已存在，请修改该门店名称或更换编码。";

        /// No open invitation has this id.
        [404 "staff.invitation_unknown"]
        InvitationUnknown
        en "There is no such invitation: look it up in the list."
        zh "该邀请不存在，请在列表中查找。";

        /// The token is unknown, used, taken back or too old.
        [409 "staff.invitation_invalid"]
        InvitationInvalid
        en "This invitation was used, taken back, or is older than 72 hours: ask for a new one."
        zh "该邀请已使用、已撤回或已超过 72 小时，请重新获取邀请。";

        /// The address belongs to an operator.
        [409 "staff.email_taken"]
        EmailTaken
        en "There is an operator with this address already: change that one, or use another address."
        zh "该邮箱已属于其他员工，请修改该员工或使用其他邮箱。";

        /// No session of this operator has this id.
        [404 "staff.session_unknown"]
        SessionUnknown
        en "There is no such session: it may have ended. Look at the list."
        zh "该登录会话不存在或已结束，请查看列表。";

        /// The present password is not the one that was given.
        [403 "staff.password_wrong"]
        PasswordWrong
        en "The present password is wrong: type it again."
        zh "当前密码错误，请重新输入。";

        /// The address cannot belong to a mailbox.
        [422 "staff.email_invalid"]
        EmailInvalid
        en "This is not an e-mail address: write it like name@example.com."
        zh "邮箱地址不正确，格式如 name@example.com。";

        /// The password is too easy to guess.
        [422 "staff.password_unsuitable"]
        PasswordUnsuitable { shortest: usize, longest: usize }
        en "A password has {shortest} to {longest} characters: choose another one."
        zh "密码长度应为 {shortest} 至 {longest} 个字符，请重新设置。";

        /// A stored secret or hash cannot be read with the keys at hand.
        [500 "staff.secret_unreadable"]
        SecretUnreadable
        en "A stored secret cannot be read: the operator of this server must restore its key file."
        zh "无法读取已保存的密钥，请服务器管理员恢复密钥文件。";

        /// Too many log-ins are being checked.
        [503 "staff.busy"]
        Busy
        en "Many people are logging in at this moment: try again in a few seconds."
        zh "当前登录人数较多，请几秒后重试。";

        /// The hashing of a password was broken off.
        [500 "staff.hashing_failed"]
        HashingFailed
        en "The password could not be checked because of a failure on our side, which was logged: try again later."
        zh "系统内部错误，无法校验密码，已记录，请稍后重试。";
    }
    from {
        /// Too many failed log-ins.
        Throttled(LoginThrottled),
        /// A permission is missing.
        Denied(Denied),
        /// The database failed.
        Db(DbError),
    }
}

/// Too many failed log-ins for one address, or from one place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("too many failed log-ins")]
pub struct LoginThrottled {
    /// When the next attempt is taken.
    pub retry_after_seconds: u32,
}

impl LoginThrottled {
    /// Every kind of problem that this type adds.
    pub const KINDS: &'static [ProblemKind] = &[ProblemKind {
        code: "staff.login_throttled",
        status: 429,
        en: "Too many failed log-ins with this address or from this place: try again in {retry_after_seconds} seconds.",
        zh: "该邮箱或来源地址登录失败次数过多，请在 {retry_after_seconds} 秒后重试。",
    }];
}

impl Refusal for LoginThrottled {
    fn problem(&self) -> Problem {
        let kind = &Self::KINDS[0];
        let seconds = self.retry_after_seconds.to_string();
        let fill = |text: &str| text.replace("{retry_after_seconds}", &seconds);
        Problem {
            en: fill(kind.en),
            zh: fill(kind.zh),
            params: vec![("retry_after_seconds", seconds.clone())],
            retry_after_seconds: Some(self.retry_after_seconds),
            ..Problem::new(kind)
        }
    }
}
