//! What loyalty refuses.

use huika_core::problems;

problems! {
    /// A refusal or failure of the loyalty module.
    pub enum LoyaltyError {
        /// The rules contradict themselves.
        [422 "loyalty.rules_invalid"]
        RulesInvalid { en: String, zh: String }
        en "These rules cannot be published: {en}"
        zh "方案无法发布：{zh}";

        /// Another operator published meanwhile.
        [409 "loyalty.version_exists"]
        VersionExists { version: i64 }
        en "Version {version} was published meanwhile: look at it and publish on top of it."
        zh "版本 {version} 已被他人发布，请查看后再发布。";

        /// No version has this number.
        [404 "loyalty.version_not_found"]
        VersionNotFound { version: i64 }
        en "There is no version {version}: look at the list of versions."
        zh "没有版本 {version}，请查看版本列表。";

        /// The version holds already, or begins within seconds.
        [409 "loyalty.version_holds"]
        VersionHolds { version: i64 }
        en "Version {version} holds already or begins within seconds: publish the rules that shall hold instead."
        zh "版本 {version} 已生效或即将生效，不能撤回：请发布新的版本。";

        /// No programme was published.
        [409 "loyalty.no_program"]
        NoProgram
        en "No programme has been published yet: publish one first."
        zh "尚未发布会员方案，请先发布。";

        /// The posting does not exist for this member.
        [404 "loyalty.posting_not_found"]
        PostingNotFound
        en "This member has no such posting."
        zh "该会员没有此笔入账。";

        /// The member who is to be merged into another one has points or growth.
        [409 "loyalty.member_has_account"]
        MemberHasAccount
        en "This member has a points account, and points cannot be moved to another member yet: merge members before they earn."
        zh "该会员已有积分账户，暂不支持将积分转移给其他会员：请合并尚未累积积分的会员。";

        /// The batch has too many commands.
        [422 "loyalty.bulk_too_large"]
        BulkTooLarge { most: usize }
        en "Send at most {most} commands at once."
        zh "每次最多提交 {most} 条。";
    }
    from {
        /// The actor may not.
        Denied(huika_core::Denied),
        /// The member's state forbids it.
        Members(huika_members::MembersError),
        /// The ledger refused.
        Ledger(huika_ledger::LedgerError),
        /// The database failed.
        Db(huika_db::DbError),
    }
}

impl From<huika_db::BatcherClosed> for LoyaltyError {
    fn from(_: huika_db::BatcherClosed) -> Self {
        Self::Ledger(huika_ledger::LedgerError::Stopping)
    }
}
