//! A shop to test with: the service on a fresh database, and short ways to say who does what.

use std::sync::Arc;

use huika_core::{Actor, Currency, IdempotencyKey, Keyring, MemberId, Refusal, Timestamp};
use huika_db::{BatchOptions, Db, Migration};
use huika_ledger::{Asset, Balance, InputHash, Ledger, Need, PostingId, VerifyReport};
use huika_loyalty::{
    LineFacts, Loyalty, LoyaltyError, PointsCommand, PointsOperation, PointsOutcome, PurchaseToSettle,
    RefundToSettle, RefundedLine, Rules, Settled, default_rules,
};
use huika_members::{MemberState, Members, RegisterMember};
use huika_testing::TestDb;

/// Every table that the module needs.
pub(crate) fn migrations() -> Vec<Migration> {
    [
        huika_members::migrations(),
        huika_ledger::migrations(),
        huika_loyalty::migrations(),
    ]
    .concat()
}

pub(crate) struct Shop {
    pub(crate) loyalty: Loyalty,
    pub(crate) members: Members,
    pub(crate) owner: Actor,
    pub(crate) db: Db,
    pub(crate) cx: TestDb,
}

impl Shop {
    /// A shop that has published nothing yet.
    pub(crate) fn without_program(cx: TestDb) -> Self {
        let db = cx.db.clone();
        Self::on(cx, db)
    }

    /// A shop with the rules that every shop starts with.
    pub(crate) async fn open(cx: TestDb) -> Self {
        Self::with(cx, |_| ()).await
    }

    /// A shop whose rules differ from the usual ones.
    pub(crate) async fn with(cx: TestDb, change: impl FnOnce(&mut Rules)) -> Self {
        let shop = Self::without_program(cx);
        shop.publish(change).await.unwrap();
        shop
    }

    /// The same shop, and somebody subscribes to these topics.
    pub(crate) fn listened_to(self, topics: impl IntoIterator<Item = &'static str>) -> Self {
        let db = self.db.clone().with_topics(topics);
        Self::on(self.cx, db)
    }

    fn on(cx: TestDb, db: Db) -> Self {
        let keyring = Arc::new(Keyring::parse(&Keyring::generate(&cx.rng)).unwrap());
        let members = Members::new(db.clone(), cx.ids.clone(), keyring);
        let ledger = Ledger::new(db.clone(), cx.ids.clone(), &BatchOptions::default());
        let options = BatchOptions::default();
        let loyalty = Loyalty::start(db.clone(), cx.ids.clone(), ledger, members.clone(), &options);
        Self {
            loyalty,
            members,
            owner: Actor::with_all_rights("opr_test"),
            db,
            cx,
        }
    }

    /// Publishes rules and waits until they hold.
    pub(crate) async fn publish(&self, change: impl FnOnce(&mut Rules)) -> Result<i64, LoyaltyError> {
        let mut rules = default_rules();
        change(&mut rules);
        let published = self.loyalty.publish_program(&self.owner, rules, None).await?;
        self.cx.clock.set(published.effective_from.max(self.now()));
        Ok(published.version)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.cx.clock.now()
    }

    /// Moves the clock to a moment, for example `2026-11-27T16:00:00Z`.
    pub(crate) fn at(&self, moment: &str) {
        self.cx.clock.set(moment.parse().unwrap());
    }

    /// A new member; the number makes the phone.
    pub(crate) async fn member(&self, number: u32) -> MemberId {
        let person = RegisterMember {
            phone: Some(format!("1390000{number:04}").parse().unwrap()),
            external: None,
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

    pub(crate) async fn command(
        &self,
        member_id: MemberId,
        key: &str,
        operation: PointsOperation,
    ) -> Result<PointsOutcome, LoyaltyError> {
        self.loyalty
            .command_points(&self.owner, command(member_id, key, operation))
            .await
    }

    /// Settles a purchase as the orders module does.
    pub(crate) async fn buy(&self, member_id: MemberId, number: &str, paid_minor: i64) -> Settled {
        self.buy_at(member_id, number, paid_minor, self.now()).await
    }

    pub(crate) async fn buy_at(
        &self,
        member_id: MemberId,
        number: &str,
        paid_minor: i64,
        effective_at: Timestamp,
    ) -> Settled {
        let purchases = [purchase(member_id, number, paid_minor, effective_at)];
        self.settle(&purchases).await.unwrap().pop().unwrap()
    }

    /// Settles purchases in one transaction, one after another.
    pub(crate) async fn settle(&self, purchases: &[PurchaseToSettle]) -> Result<Vec<Settled>, LoyaltyError> {
        let needs: Vec<Need> = purchases
            .iter()
            .map(|one| Need::to_earn(one.member_id, &one.key))
            .collect();
        let members: Vec<(MemberId, Timestamp)> = purchases
            .iter()
            .map(|one| (one.member_id, one.effective_at))
            .collect();
        let (needs, members) = (&needs, &members);
        self.db
            .run_tx("test.settle", |tx| {
                Box::pin(async move {
                    let mut book = self.loyalty.ledger().book_in_tx(tx, needs).await?;
                    let mut settling = self.loyalty.settling_in_tx(tx, members).await?;
                    let settled: Result<Vec<Settled>, LoyaltyError> = purchases
                        .iter()
                        .map(|one| settling.purchase(&mut book, one))
                        .collect();
                    book.save_in_tx(tx).await?;
                    settling.save_in_tx(tx).await?;
                    settled
                })
            })
            .await
    }

    /// Takes back a part of a purchase of one line, of which nothing went back before.
    pub(crate) async fn refund(
        &self,
        member_id: MemberId,
        number: &str,
        bought: &Settled,
        paid_minor: i64,
        refunded_minor: i64,
    ) -> Settled {
        self.refund_of(
            member_id,
            number,
            bought,
            paid_minor,
            0,
            refunded_minor,
            self.now(),
        )
        .await
    }

    /// The same of a purchase of some moment, of which something went back before.
    #[allow(clippy::too_many_arguments, reason = "a refund is about all of them")]
    pub(crate) async fn refund_of(
        &self,
        member_id: MemberId,
        number: &str,
        bought: &Settled,
        paid_minor: i64,
        before_minor: i64,
        refunded_minor: i64,
        purchased_at: Timestamp,
    ) -> Settled {
        let line = RefundedLine {
            paid_minor,
            points: bought.points,
            before_minor,
            refunded_minor,
        };
        let refund = &RefundToSettle {
            member_id,
            key: key(number),
            input: InputHash::of(&number),
            reference: format!("ref_{number}"),
            actor: "opr_test".to_owned(),
            source: bought.outcome.posting_id,
            paid_minor,
            purchased_at,
            earned: bought.points,
            growth: bought.growth,
            counted: true,
            before_minor,
            lines: vec![line],
            currency: Currency::CNY,
            effective_at: self.now(),
        };
        self.db
            .run_tx("test.refund", |tx| {
                Box::pin(async move {
                    let need = Need::to_reverse(member_id, &refund.key, vec![refund.source]);
                    let mut book = self.loyalty.ledger().book_in_tx(tx, &[need]).await?;
                    let mut settling = self
                        .loyalty
                        .settling_in_tx(tx, &[(member_id, refund.effective_at)])
                        .await?;
                    let settled = settling.refund(&mut book, refund)?;
                    book.save_in_tx(tx).await?;
                    settling.save_in_tx(tx).await?;
                    Ok::<_, LoyaltyError>(settled)
                })
            })
            .await
            .unwrap()
    }

    pub(crate) async fn points(&self, member_id: MemberId) -> Balance {
        self.loyalty.points_balance(&self.owner, member_id).await.unwrap()
    }

    /// What is available, pending and held.
    pub(crate) async fn amounts(&self, member_id: MemberId) -> (i64, i64, i64) {
        let points = self.points(member_id).await;
        (points.available, points.pending, points.held)
    }

    pub(crate) async fn growth(&self, member_id: MemberId) -> i64 {
        let (db, ids) = (&mut &self.db, &self.cx.ids);
        huika_ledger::balance(db, ids, member_id, Asset::Growth, self.now())
            .await
            .unwrap()
            .available
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

    /// What recomputing the ledger and following the tiers finds.
    pub(crate) async fn verify(&self) -> VerifyReport {
        let report: Result<VerifyReport, LoyaltyError> = self
            .db
            .run_snapshot(|tx| {
                Box::pin(async move {
                    let mut report = huika_ledger::verify_in_tx(tx, |_| ()).await?;
                    Loyalty::verify_in_tx(tx, &mut report).await?;
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

pub(crate) fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::try_new(text).unwrap()
}

pub(crate) fn command(member_id: MemberId, text: &str, operation: PointsOperation) -> PointsCommand {
    PointsCommand {
        member_id,
        key: key(text),
        operation,
    }
}

pub(crate) fn earn(points: i64) -> PointsOperation {
    PointsOperation::Earn {
        points,
        reason: "Birthday gift".parse().unwrap(),
    }
}

pub(crate) fn redeem(points: i64) -> PointsOperation {
    PointsOperation::Redeem {
        points,
        reason: "Mug".parse().unwrap(),
    }
}

pub(crate) fn give_back(source: PostingId, points: i64) -> PointsOperation {
    PointsOperation::ReturnPoints {
        source,
        points,
        reason: "Order cancelled".parse().unwrap(),
    }
}

pub(crate) fn purchase(
    member_id: MemberId,
    number: &str,
    paid_minor: i64,
    effective_at: Timestamp,
) -> PurchaseToSettle {
    PurchaseToSettle {
        member_id,
        key: key(number),
        input: InputHash::of(&(number, paid_minor)),
        reference: format!("pur_{number}"),
        actor: "opr_test".to_owned(),
        paid_minor,
        lines: vec![LineFacts {
            category: None,
            paid_minor,
        }],
        channel: "pos".to_owned(),
        store: None,
        effective_at,
        withheld: None,
    }
}

/// The stable code of a refusal.
pub(crate) fn code<T: std::fmt::Debug, E: Refusal>(result: Result<T, E>) -> &'static str {
    result.unwrap_err().problem().code
}
