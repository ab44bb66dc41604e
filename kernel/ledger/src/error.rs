//! What the ledger refuses.

use huika_core::problems;

problems! {
    /// A refusal or failure of the ledger. A refused command changed nothing.
    pub enum LedgerError {
        /// The member has less than is asked for.
        [409 "ledger.insufficient"]
        Insufficient { asset: &'static str, available: i64, requested: i64 }
        en "Only {available} {asset} are available and {requested} are needed: lower the amount."
        zh "可用{asset}为 {available}，不足 {requested}，请减少数量。";

        /// An amount that is not positive or beyond what an account can hold.
        [422 "ledger.amount_invalid"]
        AmountInvalid { amount: i64 }
        en "The amount {amount} is not possible: it must lie between 1 and 1,000,000,000,000,000."
        zh "数量 {amount} 无效，应在 1 到 1,000,000,000,000,000 之间。";

        /// The key was used for something else.
        [409 "ledger.idempotency_conflict"]
        IdempotencyConflict { key: String }
        en "The idempotency key {key} was used with another input: use a new key for a new command."
        zh "幂等键 {key} 已用于其他内容，新的操作请使用新的键。";

        /// The posting to reverse does not exist for this member and asset.
        [404 "ledger.posting_not_found"]
        PostingNotFound { posting: String }
        en "There is no posting {posting} of this member that could be reversed."
        zh "该会员没有可冲正的入账 {posting}。";

        /// More would be reversed than was posted.
        [409 "ledger.reversal_exceeds"]
        ReversalExceeds { left: i64, requested: i64 }
        en "Only {left} of the posting can still be reversed, not {requested}."
        zh "该笔入账最多还可冲正 {left}，不能冲正 {requested}。";

        /// The hold does not exist for this member.
        [404 "ledger.hold_not_found"]
        HoldNotFound { hold: String }
        en "There is no hold {hold} of this member."
        zh "该会员没有预占 {hold}。";

        /// The hold was posted, voided or has lapsed.
        [409 "ledger.hold_closed"]
        HoldClosed { hold: String }
        en "The hold {hold} is closed: it was posted, voided or has lapsed. Make a new one."
        zh "预占 {hold} 已完成、取消或过期，请重新发起。";

        /// The hold covers less than is to be posted.
        [409 "ledger.hold_exceeds"]
        HoldExceeds { held: i64, requested: i64 }
        en "The hold covers {held}, not {requested}."
        zh "预占数量为 {held}，不足 {requested}。";

        /// One command earns, or spends, one asset with two counter-accounts.
        [422 "ledger.counter_accounts_mixed"]
        CounterAccountsMixed { asset: &'static str }
        en "One command cannot earn or spend {asset} with two counter-accounts: send two commands."
        zh "一笔操作中同一{asset}的增加或使用只能对应一个对方科目，请分两笔提交。";

        /// The process is stopping.
        [503 "system.stopping"]
        Stopping
        en "This server is stopping: send the same request again with the same key."
        zh "服务正在停止，请使用相同的幂等键重试。";
    }
    from {
        /// The database failed.
        Db(huika_db::DbError)
    }
}

/// The largest amount of one operation and of one account: far above any shop, far below 64 bits.
pub(crate) const MAX_AMOUNT: i64 = 1_000_000_000_000_000;
