//! What orders refuse.

use huika_core::problems;

problems! {
    /// A refusal or failure of the orders module.
    pub enum OrdersError {
        /// The text is no order number.
        [422 "orders.order_no_invalid"]
        OrderNoInvalid
        en "An order number has 1 to 64 visible ASCII characters, without spaces."
        zh "订单号应为 1 至 64 位可见字符，不含空格与中文。";

        /// The order number is known with other content.
        [409 "orders.order_conflict"]
        OrderConflict { source_code: String, external_no: String }
        en "Order {external_no} of {source_code} was recorded with another content: correct it by a refund, or use another number."
        zh "来源 {source_code} 的订单 {external_no} 已存在且内容不同：请通过退款更正，或使用新的订单号。";

        /// The purchase of a refund is not known.
        [404 "orders.purchase_not_found"]
        PurchaseNotFound
        en "There is no such purchase: record it first, or record the refund without a purchase."
        zh "未找到该消费记录：请先录入消费，或按无原单退款录入。";

        /// An amount is negative or too large.
        [422 "orders.amount_invalid"]
        AmountInvalid { amount: i64 }
        en "The amount {amount} is not possible: it lies between 0 and 1,000,000,000,000 minor units."
        zh "金额 {amount}（分）无效，应在 0 到 1,000,000,000,000 之间。";

        /// The lines do not add up to what was paid.
        [422 "orders.lines_do_not_add_up"]
        LinesDoNotAddUp { lines: i64, paid: i64 }
        en "The lines add up to {lines}, but {paid} was paid: spread discounts over the lines first."
        zh "明细合计 {lines} 与实付 {paid} 不一致，请先将优惠分摊到明细。";

        /// The currency is not that of the programme.
        [422 "orders.currency_mismatch"]
        CurrencyMismatch { currency: String, expected: String }
        en "The amount is in {currency}, the programme counts in {expected}: convert it first."
        zh "金额币种为 {currency}，会员方案币种为 {expected}，请先换算。";

        /// The time lies in the future.
        [422 "orders.time_in_future"]
        TimeInFuture
        en "The time lies in the future: check the clock of the till."
        zh "时间晚于当前时间，请检查收银设备时钟。";

        /// The refund is dated before its purchase.
        [422 "orders.refund_before_purchase"]
        RefundBeforePurchase
        en "The refund is dated before its purchase: check the times of both."
        zh "退款时间早于消费时间，请核对两者的时间。";

        /// More would be refunded than was paid.
        [409 "orders.refund_exceeds"]
        RefundExceeds { left: i64, requested: i64 }
        en "Only {left} can still be refunded, not {requested}."
        zh "最多还可退 {left}（分），不能退 {requested}（分）。";

        /// More of a line would be refunded than is left of it.
        [409 "orders.line_refund_exceeds"]
        LineRefundExceeds { line_no: i64, left: i64, requested: i64 }
        en "Of line {line_no} only {left} can still be refunded, not {requested}."
        zh "第 {line_no} 行最多还可退 {left}（分），不能退 {requested}（分）。";

        /// The refund names a line that the purchase does not have, or one twice.
        [422 "orders.refund_line_invalid"]
        RefundLineInvalid { line_no: i64 }
        en "Line {line_no} is not a line of this purchase, or it is named twice."
        zh "第 {line_no} 行不属于该消费或重复。";

        /// There is nothing left to refund.
        [409 "orders.nothing_to_refund"]
        NothingToRefund
        en "Nothing is left to refund."
        zh "该消费已无可退金额。";

        /// No anonymous purchase with this receipt is known.
        [404 "orders.claim_not_found"]
        ClaimNotFound
        en "No anonymous purchase fits this receipt: check the code, or number, amount and date."
        zh "未找到与该小票相符的匿名消费，请核对补登码，或订单号、金额与日期。";

        /// Another member has claimed it.
        [409 "orders.already_claimed"]
        AlreadyClaimed
        en "This purchase was claimed for another member: ask the shop to check the receipt."
        zh "该消费已被其他会员补登，请联系门店核对小票。";

        /// The receipt is too old.
        [409 "orders.claim_too_late"]
        ClaimTooLate { days: i64 }
        en "A purchase can be claimed within {days} days after it was paid."
        zh "仅可在消费后 {days} 天内补登。";

        /// Everything was refunded.
        [409 "orders.nothing_to_claim"]
        NothingToClaim
        en "This purchase was refunded as a whole: there is nothing to claim."
        zh "该消费已全额退款，无可补登金额。";

        /// The batch has too many documents.
        [422 "orders.bulk_too_large"]
        BulkTooLarge { most: usize }
        en "Send at most {most} purchases at once."
        zh "每次最多提交 {most} 笔。";

        /// The file cannot be read at all.
        [422 "orders.file_invalid"]
        FileInvalid { en: String, zh: String }
        en "The file cannot be imported: {en}"
        zh "文件无法导入：{zh}";

        /// The process is stopping.
        [503 "system.stopping"]
        Stopping
        en "This server is stopping: send the same request again with the same key."
        zh "服务正在停止，请使用相同的幂等键重试。";
    }
    from {
        /// The actor may not.
        Denied(huika_core::Denied),
        /// The member is not known or their state forbids it.
        Members(huika_members::MembersError),
        /// Loyalty refused.
        Loyalty(huika_loyalty::LoyaltyError),
        /// The ledger refused.
        Ledger(huika_ledger::LedgerError),
        /// The database failed.
        Db(huika_db::DbError),
    }
}

impl From<huika_db::BatcherClosed> for OrdersError {
    fn from(_: huika_db::BatcherClosed) -> Self {
        Self::Stopping
    }
}
