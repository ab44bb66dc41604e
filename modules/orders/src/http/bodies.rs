//! Requests and answers of orders.

use garde::Validate;
use huika_core::{Actor, BusinessDate, Currency, IdempotencyKey, MemberId, Money, Timestamp};
use huika_http::{InvalidInput, MoneyBody, ProblemBody, field_error};
use huika_ledger::{Asset, InputHash, PostingId};
use huika_loyalty::{
    TierProgress,
    http::{BilingualBody, TierProgressBody},
};
use huika_members::{Code, ExternalIdentity, Identity};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    ClaimEvidence, Document, Intake, LineDocument, LineRefund, MemberRef, OrderNo, OrdersError,
    PurchaseDocument, PurchaseId, PurchaseKind, PurchaseView, Receipt, RefundDocument, RefundId, RefundView,
    RefundedPart, UnlinkedRefundDocument, domain::MAX_LINES,
};

const MAX_MINOR: i64 = 1_000_000_000_000;

fn is_code(text: &str, _: &()) -> garde::Result {
    text.parse::<Code>().map(drop).map_err(|_| {
        field_error(
            "1 to 32 letters, digits, dots, dashes or underscores",
            "应为1至32位字母、数字、点、短横线或下划线",
        )
    })
}

fn is_order_no(text: &str, _: &()) -> garde::Result {
    text.parse::<OrderNo>()
        .map(drop)
        .map_err(|_| field_error("1 to 64 visible ASCII characters", "应为1至64位可见字符"))
}

/// Whose purchase it is: exactly one of these.
#[derive(Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"member_id": "mbr_2p3rvd1w6k8fz"}))]
pub(super) struct MemberRefBody {
    /// The member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    #[schema(value_type = Option<String>)]
    member_id: Option<MemberId>,
    /// The number of the card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(chars, min = 1, max = 40))]
    #[schema(min_length = 1, max_length = 40)]
    card_number: Option<String>,
    /// The phone, in any way of writing it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(chars, min = 1, max = 40))]
    #[schema(min_length = 1, max_length = 40)]
    phone: Option<String>,
    /// The customer number in the source's system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(chars, min = 1, max = 64))]
    #[schema(min_length = 1, max_length = 64)]
    customer_no: Option<String>,
}

/// A purchase as a till or a shop reports it.
#[derive(Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PurchaseBody {
    /// The code of the reporting system.
    #[garde(custom(is_code))]
    #[schema(
        min_length = 1,
        max_length = 32,
        pattern = "^[A-Za-z0-9._-]{1,32}$",
        example = "pos"
    )]
    source: String,
    /// The number of the order there. The same number is recorded once.
    #[garde(custom(is_order_no))]
    #[schema(
        min_length = 1,
        max_length = 64,
        pattern = "^[!-~]{1,64}$",
        example = "A-1001"
    )]
    external_order_no: String,
    /// Whose purchase it is. Absent for an anonymous sale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    member: Option<MemberRefBody>,
    /// Where it was made.
    #[serde(default = "default_channel")]
    #[garde(custom(is_code))]
    #[schema(
        min_length = 1,
        max_length = 32,
        pattern = "^[A-Za-z0-9._-]{1,32}$",
        example = "pos",
        default = "pos"
    )]
    channel: String,
    /// In which store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(is_code)))]
    #[schema(
        min_length = 1,
        max_length = 32,
        pattern = "^[A-Za-z0-9._-]{1,32}$",
        example = "SH-001"
    )]
    store_code: Option<String>,
    /// How it was paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(is_code)))]
    #[schema(
        min_length = 1,
        max_length = 32,
        pattern = "^[A-Za-z0-9._-]{1,32}$",
        example = "wechat_pay"
    )]
    payment_method: Option<String>,
    /// When it was paid. Absent: now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-21T10:00:00+08:00")]
    placed_at: Option<Timestamp>,
    /// What was paid in money, discounts and points deducted.
    #[garde(dive)]
    paid: MoneyBody,
    /// What was bought; adds up to what was paid. Absent: one line with the whole amount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(min = 1, max = MAX_LINES), dive)]
    #[schema(min_items = 1, max_items = 500)]
    lines: Option<Vec<LineBody>>,
}

fn default_channel() -> String {
    "pos".to_owned()
}

/// One line of a purchase.
#[derive(Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LineBody {
    /// The code of the article.
    #[serde(default)]
    #[garde(length(chars, max = 64))]
    #[schema(max_length = 64, example = "LATTE-L")]
    sku: String,
    /// What it is called.
    #[serde(default)]
    #[garde(length(chars, max = 200))]
    #[schema(max_length = 200, example = "大杯拿铁")]
    name: String,
    /// Its category.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(chars, min = 1, max = 64))]
    #[schema(min_length = 1, max_length = 64, example = "coffee")]
    category: Option<String>,
    /// How many.
    #[garde(range(min = 1, max = 1_000_000_000))]
    #[schema(minimum = 1, maximum = 1_000_000_000, example = 2)]
    quantity: i64,
    /// What was paid for the line, in minor units.
    #[garde(range(min = 0, max = MAX_MINOR))]
    #[schema(minimum = 0, maximum = 1_000_000_000_000_i64, example = 26_800)]
    paid_minor: i64,
}

/// Many purchases.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PurchasesBody {
    /// At most 500; each is recorded or refused by itself.
    #[garde(length(min = 1, max = 500), dive)]
    #[schema(min_items = 1, max_items = 500)]
    pub(super) purchases: Vec<PurchaseBody>,
}

/// A refund of a recorded purchase: an amount, lines, or all that is left.
#[derive(Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RefundBody {
    /// The code of the reporting system.
    #[garde(custom(is_code))]
    #[schema(
        min_length = 1,
        max_length = 32,
        pattern = "^[A-Za-z0-9._-]{1,32}$",
        example = "pos"
    )]
    source: String,
    /// The number of the purchase.
    #[garde(custom(is_order_no))]
    #[schema(
        min_length = 1,
        max_length = 64,
        pattern = "^[!-~]{1,64}$",
        example = "A-1001"
    )]
    external_order_no: String,
    /// The number of the refund. The same number is recorded once.
    #[garde(custom(is_order_no))]
    #[schema(
        min_length = 1,
        max_length = 64,
        pattern = "^[!-~]{1,64}$",
        example = "R-1001-1"
    )]
    external_refund_no: String,
    /// When the money went back. Absent: now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    #[schema(value_type = Option<String>, format = DateTime)]
    refunded_at: Option<Timestamp>,
    /// An amount, spread over what is left of the lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    amount: Option<MoneyBody>,
    /// Parts of lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(min = 1, max = MAX_LINES), dive)]
    #[schema(min_items = 1, max_items = 500)]
    lines: Option<Vec<RefundLineBody>>,
}

/// A part of a line.
#[derive(Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RefundLineBody {
    /// The line of the purchase, counted from 1.
    #[garde(range(min = 1, max = 1_000_000))]
    #[schema(minimum = 1, maximum = 1_000_000, example = 1)]
    line_no: i64,
    /// Minor units. Absent: all that is left of the line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(range(min = 1, max = MAX_MINOR))]
    #[schema(minimum = 1, maximum = 1_000_000_000_000_i64, example = 10_000)]
    amount_minor: Option<i64>,
}

/// A refund whose purchase is not known.
#[derive(Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UnlinkedRefundBody {
    /// The code of the reporting system.
    #[garde(custom(is_code))]
    #[schema(
        min_length = 1,
        max_length = 32,
        pattern = "^[A-Za-z0-9._-]{1,32}$",
        example = "pos"
    )]
    source: String,
    /// The number of the refund.
    #[garde(custom(is_order_no))]
    #[schema(
        min_length = 1,
        max_length = 64,
        pattern = "^[!-~]{1,64}$",
        example = "R-2001"
    )]
    external_refund_no: String,
    /// Whose refund it is. Absent when nobody is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    member: Option<MemberRefBody>,
    /// When the money went back. Absent: now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    #[schema(value_type = Option<String>, format = DateTime)]
    refunded_at: Option<Timestamp>,
    /// What went back.
    #[garde(dive)]
    amount: MoneyBody,
}

/// An anonymous purchase that a member claims: by the code on the receipt, or by what else is printed on it.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"member": {"member_id": "mbr_2p3rvd1w6k8fz"}, "claim_code": "7QK2-M9XA-04TB-ZC8E"}))]
pub(super) struct ClaimBody {
    /// Who claims it. A customer number is one of the source.
    #[garde(dive)]
    member: MemberRefBody,
    /// The code, in any way of writing it.
    #[serde(default)]
    #[garde(length(chars, min = 16, max = 40))]
    #[schema(min_length = 16, max_length = 40, nullable = false)]
    claim_code: Option<String>,
    /// The code of the system that reported the purchase.
    #[serde(default)]
    #[garde(inner(custom(is_code)))]
    #[schema(
        min_length = 1,
        max_length = 32,
        pattern = "^[A-Za-z0-9._-]{1,32}$",
        nullable = false
    )]
    source: Option<String>,
    /// The number of the order there.
    #[serde(default)]
    #[garde(inner(custom(is_order_no)))]
    #[schema(min_length = 1, max_length = 64, pattern = "^[!-~]{1,64}$", nullable = false)]
    external_order_no: Option<String>,
    /// What was paid.
    #[serde(default)]
    #[garde(dive)]
    #[schema(nullable = false)]
    paid: Option<MoneyBody>,
    /// The business date on which it was paid.
    #[serde(default)]
    #[garde(skip)]
    #[schema(value_type = Option<String>, format = Date, nullable = false)]
    date: Option<BusinessDate>,
}

/// Of a customer number without a source: no system has this code.
const NO_SOURCE: &str = "-";

/// What became of a purchase or a refund.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReceiptBody {
    /// The purchase or refund.
    #[schema(example = "pur_01hpw4v5z6k8f")]
    id: String,
    /// Whose. Null for an anonymous one.
    #[schema(required, value_type = Option<String>, example = "mbr_2p3rvd1w6k8fz")]
    member_id: Option<MemberId>,
    /// Whether it was known before, and this is the first answer again.
    replayed: bool,
    /// What happened to the points. Null for an anonymous one.
    #[schema(required)]
    points: Option<ReceiptPointsBody>,
    /// The tier afterwards and the way to the next. Null for refunds and anonymous purchases.
    #[schema(required)]
    tier: Option<TierProgressBody>,
    /// The code of the tier whose multiplier counted. Null for refunds and anonymous purchases.
    #[schema(required, example = "bronze")]
    tier_before: Option<String>,
    /// Why, in both languages. Null for an anonymous one.
    #[schema(required)]
    why: Option<BilingualBody>,
    /// For the receipt of an anonymous purchase: by this code a member can claim it. Only in the first answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "7QK2-M9XA-04TB-ZC8E")]
    claim_code: Option<String>,
}

/// The points of a receipt.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReceiptPointsBody {
    /// Earned; negative when to be taken back.
    #[schema(example = 268)]
    change: i64,
    /// Of what was to be taken back: no longer there and forgiven.
    shortfall: i64,
    /// Free to spend after the posting.
    #[schema(example = 268)]
    available: i64,
    /// Pending after the posting.
    #[schema(example = 0)]
    pending: i64,
    /// The posting.
    #[schema(value_type = String, example = "pst_01hpw4v5z6k8f")]
    posting_id: PostingId,
}

/// What became of a refund.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RefundReceiptBody {
    /// The refund with what it took back.
    receipt: ReceiptBody,
    /// Minor units that went back.
    #[schema(example = 10_000)]
    amount_minor: i64,
    /// What can still be refunded of the purchase.
    #[schema(example = 16_800)]
    left_minor: i64,
}

/// The answers to many purchases, in their order.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReceiptsBody {
    /// One for each purchase.
    pub(super) items: Vec<ReceiptItemBody>,
}

/// The answer to one of many purchases: a receipt or a problem.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReceiptItemBody {
    /// What came of it. Null when it was refused.
    #[schema(required)]
    pub(super) receipt: Option<ReceiptBody>,
    /// Why it was refused. Null when it was recorded.
    #[schema(required)]
    pub(super) problem: Option<ProblemBody>,
}

/// A purchase.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PurchaseViewBody {
    /// The purchase.
    #[schema(value_type = String, example = "pur_01hpw4v5z6k8f")]
    id: PurchaseId,
    /// Whose. Null for an anonymous sale.
    #[schema(required, value_type = Option<String>)]
    member_id: Option<MemberId>,
    /// The system that reported it.
    source: String,
    /// Its number there.
    external_order_no: String,
    /// Where it was made.
    channel: String,
    /// In which store. Null: in none.
    #[schema(required)]
    store_code: Option<String>,
    /// When it was paid.
    #[schema(value_type = String, format = DateTime)]
    placed_at: Timestamp,
    /// What was paid.
    paid: MoneyBody,
    /// What went back.
    refunded: MoneyBody,
    /// Points that it earned.
    #[schema(example = 268)]
    points: i64,
    /// The code of the tier whose multiplier counted. Null for an anonymous sale.
    #[schema(required)]
    tier: Option<String>,
    /// What was bought. Empty in lists.
    lines: Vec<PurchaseLineViewBody>,
    /// Why it earned what it earned. Null in lists and for anonymous sales.
    #[schema(required)]
    why: Option<BilingualBody>,
}

/// A line of a purchase.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PurchaseLineViewBody {
    /// Counted from 1.
    line_no: i64,
    /// The code of the article.
    sku: String,
    /// What it is called.
    name: String,
    /// Its category. Null: not told.
    #[schema(required)]
    category: Option<String>,
    /// How many.
    quantity: i64,
    /// What was paid for it.
    paid_minor: i64,
    /// Its share of the points.
    points: i64,
    /// What went back of it.
    refunded_minor: i64,
}

/// A refund.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RefundViewBody {
    /// The refund.
    #[schema(value_type = String, example = "ref_01hpw4v5z6k8f")]
    id: RefundId,
    /// Of which purchase. Null when that is not known.
    #[schema(required, value_type = Option<String>)]
    purchase_id: Option<PurchaseId>,
    /// The system that reported it.
    source: String,
    /// Its number there.
    external_refund_no: String,
    /// When the money went back.
    #[schema(value_type = String, format = DateTime)]
    refunded_at: Timestamp,
    /// What went back.
    amount: MoneyBody,
    /// Points that were to be taken back.
    points: i64,
}

fn member_ref(body: Option<MemberRefBody>, source: &str) -> Result<MemberRef, InputProblem> {
    let Some(body) = body else {
        return Ok(MemberRef::Anonymous);
    };
    match (body.member_id, body.card_number, body.phone, body.customer_no) {
        (Some(member_id), None, None, None) => Ok(MemberRef::Id(member_id)),
        (None, Some(card), None, None) => Ok(MemberRef::Named(Identity::Card(
            card.parse().map_err(OrdersError::from)?,
        ))),
        (None, None, Some(phone), None) => Ok(MemberRef::Named(Identity::Phone(
            phone.parse().map_err(OrdersError::from)?,
        ))),
        (None, None, None, Some(number)) => Ok(MemberRef::Named(Identity::External(
            ExternalIdentity::try_new(source, &number).map_err(OrdersError::from)?,
        ))),
        _ => Err(InvalidInput::field(
            "member",
            "give exactly one of member_id, card_number, phone and customer_no",
            "member_id、card_number、phone、customer_no 须且仅须填写一项",
        )
        .into()),
    }
}

/// A body that is well formed but means nothing.
pub(super) enum InputProblem {
    Invalid(InvalidInput),
    Refused(OrdersError),
}
impl From<InvalidInput> for InputProblem {
    fn from(invalid: InvalidInput) -> Self {
        Self::Invalid(invalid)
    }
}
impl From<OrdersError> for InputProblem {
    fn from(refused: OrdersError) -> Self {
        Self::Refused(refused)
    }
}
impl From<huika_members::MembersError> for InputProblem {
    fn from(refused: huika_members::MembersError) -> Self {
        Self::Refused(refused.into())
    }
}
impl From<InputProblem> for huika_http::ApiError {
    fn from(problem: InputProblem) -> Self {
        match problem {
            InputProblem::Invalid(invalid) => invalid.into(),
            InputProblem::Refused(refused) => refused.into(),
        }
    }
}

impl PurchaseBody {
    /// The document that this body means; the hash is over the body as the caller sent it, without the member.
    pub(super) fn into_intake(
        mut self,
        key: Option<IdempotencyKey>,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Intake, InputProblem> {
        let member = member_ref(self.member.take(), &self.source)?;
        let input = InputHash::of(&self);
        let paid = Money::try_from(self.paid)?;
        let lines = match self.lines {
            Some(lines) => lines
                .into_iter()
                .map(|line| LineDocument {
                    sku: line.sku,
                    name: line.name,
                    category: line.category,
                    quantity: line.quantity,
                    amount_minor: line.paid_minor,
                })
                .collect(),
            None => vec![LineDocument {
                sku: String::new(),
                name: String::new(),
                category: None,
                quantity: 1,
                amount_minor: paid.minor,
            }],
        };
        Ok(Intake {
            member,
            document: Document::Purchase(PurchaseDocument {
                source: self.source.parse()?,
                external_no: self.external_order_no.parse()?,
                kind: PurchaseKind::Sale,
                channel: self.channel.parse()?,
                store_code: self.store_code.map(|code| code.parse()).transpose()?,
                payment_method: self.payment_method.map(|code| code.parse()).transpose()?,
                placed_at: self.placed_at.unwrap_or(now),
                currency: paid.currency,
                paid_minor: paid.minor,
                lines,
            }),
            key,
            input,
            actor: actor.clone(),
        })
    }
}

impl RefundBody {
    pub(super) fn into_document(self, now: Timestamp) -> Result<(RefundDocument, InputHash), InputProblem> {
        let input = InputHash::of(&self);
        let part = match (self.amount, self.lines) {
            (None, None) => RefundedPart::Rest,
            (Some(amount), None) => {
                let Money { minor, currency } = Money::try_from(amount)?;
                RefundedPart::Amount { minor, currency }
            }
            (None, Some(lines)) => RefundedPart::Lines(
                lines
                    .into_iter()
                    .map(|line| LineRefund {
                        line_no: line.line_no,
                        amount_minor: line.amount_minor,
                    })
                    .collect(),
            ),
            (Some(_), Some(_)) => {
                return Err(InvalidInput::field(
                    "amount",
                    "give an amount or lines, not both",
                    "amount 与 lines 只能填写一项",
                )
                .into());
            }
        };
        let document = RefundDocument {
            source: self.source.parse()?,
            purchase_no: self.external_order_no.parse()?,
            external_no: self.external_refund_no.parse()?,
            refunded_at: self.refunded_at.unwrap_or(now),
            part,
        };
        Ok((document, input))
    }
}

impl UnlinkedRefundBody {
    pub(super) fn into_intake(
        mut self,
        key: IdempotencyKey,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Intake, InputProblem> {
        let member = member_ref(self.member.take(), &self.source)?;
        let input = InputHash::of(&self);
        let Money { minor, currency } = Money::try_from(self.amount)?;
        Ok(Intake {
            member,
            document: Document::UnlinkedRefund(UnlinkedRefundDocument {
                source: self.source.parse()?,
                external_no: self.external_refund_no.parse()?,
                refunded_at: self.refunded_at.unwrap_or(now),
                currency,
                amount_minor: minor,
                lines: Vec::new(),
            }),
            key: Some(key),
            input,
            actor: actor.clone(),
        })
    }
}

impl ReceiptBody {
    /// `points` are available and pending ones after the settlement.
    pub(super) fn new(receipt: Receipt, points: Option<(i64, i64)>, progress: Option<TierProgress>) -> Self {
        let points = receipt
            .outcome
            .as_ref()
            .zip(points)
            .map(|(outcome, (available, pending))| {
                let of_points = outcome
                    .entries
                    .iter()
                    .filter(|entry| entry.asset == Asset::Points);
                ReceiptPointsBody {
                    change: receipt.points,
                    shortfall: of_points.map(|entry| entry.shortfall).sum(),
                    available,
                    pending,
                    posting_id: outcome.posting_id,
                }
            });
        Self {
            id: receipt.document_id,
            member_id: receipt.member_id,
            replayed: receipt.replayed,
            points,
            tier: progress.map(TierProgressBody::from),
            tier_before: receipt.tier_before,
            why: receipt.why.map(BilingualBody::from),
            claim_code: receipt.claim_code.map(|code| code.printed()),
        }
    }
}

impl ClaimBody {
    pub(super) fn into_claim(self) -> Result<(MemberRef, ClaimEvidence), InputProblem> {
        let source = self.source.as_deref().unwrap_or(NO_SOURCE);
        let member = member_ref(Some(self.member), source)?;
        let evidence = match (
            self.claim_code,
            self.source,
            self.external_order_no,
            self.paid,
            self.date,
        ) {
            (Some(code), None, None, None, None) => ClaimEvidence::Code(code.parse()?),
            (None, Some(source), Some(number), Some(paid), Some(date)) => {
                let paid = Money::try_from(paid)?;
                ClaimEvidence::Receipt {
                    source: source.parse().map_err(OrdersError::from)?,
                    external_no: number.parse()?,
                    paid_minor: paid.minor,
                    currency: paid.currency,
                    date,
                }
            }
            _ => {
                return Err(InvalidInput::field(
                    "claim_code",
                    "give the code alone, or source, external_order_no, paid and date together",
                    "请仅填写 claim_code，或同时填写 source、external_order_no、paid 与 date",
                )
                .into());
            }
        };
        Ok((member, evidence))
    }
}

impl RefundReceiptBody {
    pub(super) fn new(receipt: ReceiptBody, amount_minor: i64, left_minor: i64) -> Self {
        Self {
            receipt,
            amount_minor,
            left_minor,
        }
    }
}

fn money(minor: i64, currency: Currency) -> MoneyBody {
    Money::new(minor, currency).into()
}

impl From<PurchaseView> for PurchaseViewBody {
    fn from(view: PurchaseView) -> Self {
        Self {
            id: view.purchase_id,
            member_id: view.member_id,
            source: view.source,
            external_order_no: view.external_no,
            channel: view.channel,
            store_code: view.store_code,
            placed_at: view.placed_at,
            paid: money(view.paid_minor, view.currency),
            refunded: money(view.refunded_minor, view.currency),
            points: view.points,
            tier: view.tier_before,
            lines: view
                .lines
                .into_iter()
                .map(|line| PurchaseLineViewBody {
                    line_no: line.line_no,
                    sku: line.sku,
                    name: line.name,
                    category: line.category,
                    quantity: line.quantity,
                    paid_minor: line.paid_minor,
                    points: line.points,
                    refunded_minor: line.refunded_minor,
                })
                .collect(),
            why: view.why.map(BilingualBody::from),
        }
    }
}

impl From<RefundView> for RefundViewBody {
    fn from(view: RefundView) -> Self {
        Self {
            id: view.refund_id,
            purchase_id: view.purchase_id,
            source: view.source,
            external_refund_no: view.external_no,
            refunded_at: view.refunded_at,
            amount: money(view.amount_minor, view.currency),
            points: view.points,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_hash_of_a_body_does_not_cover_the_member() {
        let now = Timestamp::from_millis(0);
        let key = || IdempotencyKey::try_new("k").unwrap();
        let hash = |member: Option<serde_json::Value>| {
            let mut purchase = json!({
                "source": "pos", "external_order_no": "1", "paid": {"minor": 1, "currency": "CNY"},
            });
            let mut refund = json!({
                "source": "pos", "external_refund_no": "1", "amount": {"minor": 1, "currency": "CNY"},
            });
            if let Some(member) = member {
                purchase["member"] = member.clone();
                refund["member"] = member;
            }
            let purchase: PurchaseBody = serde_json::from_value(purchase).unwrap();
            let refund: UnlinkedRefundBody = serde_json::from_value(refund).unwrap();
            let input = |intake: Result<Intake, InputProblem>| intake.ok().unwrap().input.0;
            (
                input(purchase.into_intake(None, &Actor::system("test"), now)),
                input(refund.into_intake(key(), &Actor::system("test"), now)),
            )
        };
        let anonymous = hash(None);
        assert_eq!(hash(Some(json!({"phone": "13800138000"}))), anonymous);
        assert_eq!(hash(Some(json!({"customer_no": "13800138001"}))), anonymous);
    }
}
