//! A shop to test with: the services on a fresh database, and short ways to say who buys and returns what.

use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering},
};

use huika_core::{Actor, Currency, IdGenerator, IdempotencyKey, Keyring, MemberId, Refusal, Timestamp};
use huika_db::{BatchOptions, Db, Migration};
use huika_ledger::{Asset, InputHash, Ledger, VerifyReport};
use huika_loyalty::{Loyalty, PointsCommand, PointsOperation, PointsOutcome, Rules, default_rules};
use huika_members::{ExternalIdentity, MemberState, Members, RegisterMember};
use huika_orders::{
    Document, Intake, LineDocument, LineRefund, MemberRef, Orders, OrdersError, PurchaseDocument,
    PurchaseKind, Receipt, RefundDocument, RefundReceipt, RefundedPart, Report, UnlinkedRefundDocument,
};
use huika_testing::TestDb;

/// Every table that the module needs.
pub(crate) fn migrations() -> Vec<Migration> {
    [
        huika_members::migrations(),
        huika_ledger::migrations(),
        huika_loyalty::migrations(),
        huika_orders::migrations(),
    ]
    .concat()
}

pub(crate) struct Shop {
    pub(crate) orders: Orders,
    pub(crate) loyalty: Loyalty,
    pub(crate) members: Members,
    pub(crate) owner: Actor,
    pub(crate) db: Db,
    pub(crate) cx: TestDb,
    keyring: Arc<Keyring>,
    /// How many nodes there are besides.
    nodes: Arc<AtomicU16>,
}

impl Shop {
    /// A shop that has published nothing yet.
    pub(crate) fn without_program(cx: TestDb) -> Self {
        let keyring = Arc::new(Keyring::parse(&Keyring::generate(&cx.rng)).unwrap());
        let db = cx.db.clone();
        let (orders, loyalty, members) = services(&db, &cx.ids, &keyring);
        let (owner, nodes) = (Actor::with_all_rights("opr_test"), Arc::default());
        Self {
            orders,
            loyalty,
            members,
            owner,
            db,
            cx,
            keyring,
            nodes,
        }
    }

    /// A shop with the rules that every shop starts with.
    pub(crate) async fn open(cx: TestDb) -> Self {
        Self::with(cx, |_| ()).await
    }

    /// A shop whose rules differ from the usual ones.
    pub(crate) async fn with(cx: TestDb, change: impl FnOnce(&mut Rules)) -> Self {
        let shop = Self::without_program(cx);
        let mut rules = default_rules();
        change(&mut rules);
        shop.loyalty
            .publish_program(&shop.owner, rules, None)
            .await
            .unwrap();
        shop
    }

    /// A shop that counts in pounds, as the real history does.
    pub(crate) async fn in_pounds(cx: TestDb) -> Self {
        Self::with(cx, |rules| rules.currency = Currency::GBP).await
    }

    /// Another process on the same database, with connections and a number of its own.
    pub(crate) async fn another_node(&self) -> Orders {
        let node = self.nodes.fetch_add(1, Ordering::Relaxed) + 1;
        let ids = IdGenerator::new(self.cx.clock.clone(), node);
        services(&self.cx.second_pool().await, &ids, &self.keyring).0
    }

    /// The same shop, and somebody subscribes to these topics.
    pub(crate) fn listened_to(self, topics: impl IntoIterator<Item = &'static str>) -> Self {
        let db = self.db.clone().with_topics(topics);
        let (orders, loyalty, members) = services(&db, &self.cx.ids, &self.keyring);
        Self {
            orders,
            loyalty,
            members,
            db,
            ..self
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.cx.clock.now()
    }

    /// Moves the clock to a moment, for example `2026-11-27T16:00:00Z`.
    pub(crate) fn at(&self, moment: &str) {
        self.cx.clock.set(moment.parse().unwrap());
    }

    /// A new member; the number makes the phone and the customer number at the till.
    pub(crate) async fn member(&self, number: u32) -> MemberId {
        let person = RegisterMember {
            phone: Some(phone(number).parse().unwrap()),
            external: Some(ExternalIdentity::try_new("pos", &format!("customer-{number}")).unwrap()),
            nickname: None,
            channel: "pos".parse().unwrap(),
            store_code: None,
        };
        self.members
            .register(&self.owner, person)
            .await
            .unwrap()
            .member_id
    }

    pub(crate) async fn set_state(&self, member_id: MemberId, state: MemberState) {
        let reason = "test".parse().unwrap();
        self.members
            .set_state(&self.owner, member_id, state, &reason)
            .await
            .unwrap();
    }

    pub(crate) async fn take(&self, intake: Intake) -> Result<Receipt, OrdersError> {
        self.orders.take_in(&self.owner, intake).await
    }

    /// A purchase of a member made now, one amount per line.
    pub(crate) async fn buy(&self, member_id: MemberId, number: &str, lines: &[i64]) -> Receipt {
        self.take(sale(MemberRef::Id(member_id), number, lines, self.now()))
            .await
            .unwrap()
    }

    /// A refund under a key of its own.
    pub(crate) async fn refund(
        &self,
        purchase_no: &str,
        refund_no: &str,
        part: RefundedPart,
    ) -> Result<RefundReceipt, OrdersError> {
        let document = refund(purchase_no, refund_no, part, self.now());
        refund_by(&self.orders, &self.owner, &document, refund_no).await
    }

    pub(crate) async fn points_command(
        &self,
        member_id: MemberId,
        text: &str,
        operation: PointsOperation,
    ) -> PointsOutcome {
        let command = PointsCommand {
            member_id,
            key: key(text),
            operation,
        };
        self.loyalty.command_points(&self.owner, command).await.unwrap()
    }

    pub(crate) async fn redeem(&self, member_id: MemberId, text: &str, points: i64) -> PointsOutcome {
        let operation = PointsOperation::Redeem {
            points,
            reason: "Mug".parse().unwrap(),
        };
        self.points_command(member_id, text, operation).await
    }

    /// Available and pending points, and growth.
    pub(crate) async fn amounts(&self, member_id: MemberId) -> (i64, i64, i64) {
        let mut db = &self.db;
        let balances = huika_ledger::balances(&mut db, &self.cx.ids, member_id, self.now())
            .await
            .unwrap();
        let of = |asset| balances.get(&asset).copied().unwrap_or_default();
        (
            of(Asset::Points).available,
            of(Asset::Points).pending,
            of(Asset::Growth).available,
        )
    }

    pub(crate) async fn tier(&self, member_id: MemberId) -> String {
        self.loyalty
            .standing(&self.owner, member_id)
            .await
            .unwrap()
            .tier
            .tier
            .code
    }

    pub(crate) async fn count(&self, table: &str) -> i64 {
        self.cx.count(&format!("SELECT COUNT(*) AS n FROM {table}")).await
    }

    pub(crate) async fn report(&self) -> Report {
        self.orders.report(&self.owner).await.unwrap()
    }

    /// What recomputing the ledger and comparing it with the documents finds.
    pub(crate) async fn verify(&self) -> VerifyReport {
        let report: Result<VerifyReport, OrdersError> = self
            .db
            .run_snapshot(|tx| {
                Box::pin(async move {
                    let mut report = huika_ledger::verify_in_tx(tx, |_| ()).await?;
                    Loyalty::verify_in_tx(tx, &mut report).await?;
                    Orders::verify_in_tx(tx, &mut report).await?;
                    Ok(report)
                })
            })
            .await;
        report.unwrap()
    }

    pub(crate) async fn assert_proven(&self) {
        let report = self.verify().await;
        assert!(report.is_clean(), "{report:#?}");
    }
}

fn services(db: &Db, ids: &IdGenerator, keyring: &Arc<Keyring>) -> (Orders, Loyalty, Members) {
    let members = Members::new(db.clone(), ids.clone(), Arc::clone(keyring));
    let ledger = Ledger::new(db.clone(), ids.clone(), &BatchOptions::default());
    let loyalty = Loyalty::start(
        db.clone(),
        ids.clone(),
        ledger,
        members.clone(),
        &BatchOptions::default(),
    );
    let orders = Orders::start(db.clone(), ids.clone(), loyalty.clone(), &BatchOptions::default());
    (orders, loyalty, members)
}

pub(crate) fn phone(number: u32) -> String {
    format!("1390000{number:04}")
}

pub(crate) fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::try_new(text).unwrap()
}

/// A purchase at the till, one amount per line, under a key made of its number.
pub(crate) fn sale(member: MemberRef, number: &str, lines: &[i64], placed_at: Timestamp) -> Intake {
    let document = PurchaseDocument {
        source: "pos".parse().unwrap(),
        external_no: number.parse().unwrap(),
        kind: PurchaseKind::Sale,
        channel: "pos".parse().unwrap(),
        store_code: Some("SH-001".parse().unwrap()),
        payment_method: Some("wechat_pay".parse().unwrap()),
        placed_at,
        currency: Currency::CNY,
        paid_minor: lines.iter().sum(),
        lines: lines
            .iter()
            .enumerate()
            .map(|(at, amount)| line(at, *amount))
            .collect(),
    };
    intake(member, Document::Purchase(document), Some(number))
}

pub(crate) fn line(at: usize, amount_minor: i64) -> LineDocument {
    LineDocument {
        sku: format!("SKU-{at}"),
        name: format!("第 {} 件", at + 1),
        category: None,
        quantity: 1,
        amount_minor,
    }
}

/// Money that goes back for no known purchase, under a key made of its number.
pub(crate) fn unlinked(member: MemberRef, number: &str, amount_minor: i64, refunded_at: Timestamp) -> Intake {
    let document = UnlinkedRefundDocument {
        source: "pos".parse().unwrap(),
        external_no: number.parse().unwrap(),
        refunded_at,
        currency: Currency::CNY,
        amount_minor,
        lines: Vec::new(),
    };
    intake(member, Document::UnlinkedRefund(document), Some(number))
}

/// A document whose input is itself, without its member.
pub(crate) fn intake(member: MemberRef, document: Document, text: Option<&str>) -> Intake {
    let input = InputHash::of(&document);
    Intake {
        document,
        member,
        key: text.map(key),
        input,
        actor: Actor::with_all_rights("opr_test"),
    }
}

/// The same intake after a change of its purchase.
pub(crate) fn changed(mut intake: Intake, change: impl FnOnce(&mut PurchaseDocument)) -> Intake {
    let Document::Purchase(purchase) = &mut intake.document else {
        panic!("{intake:?} is no purchase")
    };
    change(purchase);
    intake.input = InputHash::of(&intake.document);
    intake
}

pub(crate) fn refund(
    purchase_no: &str,
    refund_no: &str,
    part: RefundedPart,
    refunded_at: Timestamp,
) -> RefundDocument {
    RefundDocument {
        source: "pos".parse().unwrap(),
        purchase_no: purchase_no.parse().unwrap(),
        external_no: refund_no.parse().unwrap(),
        refunded_at,
        part,
    }
}

/// Records a refund whose input is itself.
pub(crate) async fn refund_by(
    orders: &Orders,
    actor: &Actor,
    document: &RefundDocument,
    text: &str,
) -> Result<RefundReceipt, OrdersError> {
    orders
        .refund(actor, document, &key(text), InputHash::of(document))
        .await
}

pub(crate) fn amount(minor: i64) -> RefundedPart {
    RefundedPart::Amount {
        minor,
        currency: Currency::CNY,
    }
}

/// Parts of lines; no amount means all that is left of the line.
pub(crate) fn lines<const N: usize>(parts: [(i64, Option<i64>); N]) -> RefundedPart {
    let parts = parts.into_iter().map(|(line_no, amount_minor)| LineRefund {
        line_no,
        amount_minor,
    });
    RefundedPart::Lines(parts.collect())
}

/// The stable code of a refusal.
pub(crate) fn code<T: std::fmt::Debug, E: Refusal>(result: Result<T, E>) -> &'static str {
    result.unwrap_err().problem().code
}

/// The status of a refusal.
pub(crate) fn status<T: std::fmt::Debug, E: Refusal>(result: Result<T, E>) -> u16 {
    result.unwrap_err().problem().status
}
