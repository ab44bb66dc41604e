//! One member at the counter: short words for what the tests ask of the ledger.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use huika_core::{IdempotencyKey, MemberId, Refusal as _, Timestamp};
use huika_db::{BatchOptions, BoxFuture, Tx};
use huika_ledger::{
    Asset, Availability, Balance, Command, CounterAccount, InputHash, Ledger, LedgerError, LotView,
    NegativePolicy, Operation, Outcome, PostingId, VerifyReport,
};
use huika_testing::TestDb;

pub(crate) const HOUR: i64 = 3_600_000;
pub(crate) const DAY: i64 = 24 * HOUR;
/// The largest amount of one operation and of one account.
pub(crate) const MAX_AMOUNT: i64 = 1_000_000_000_000_000;

pub(crate) struct Counter {
    pub(crate) ledger: Ledger,
    pub(crate) member_id: MemberId,
    keys: AtomicU64,
    /// Dropped last, after the lanes of the ledger.
    pub(crate) cx: Arc<TestDb>,
}

impl Counter {
    pub(crate) fn open(cx: TestDb) -> Self {
        let ledger = Ledger::new(cx.db.clone(), cx.ids.clone(), &BatchOptions::default());
        Self {
            ledger,
            member_id: cx.ids.next(),
            keys: AtomicU64::new(0),
            cx: Arc::new(cx),
        }
    }

    /// The same counter, later in the day.
    pub(crate) fn another_member(&self) -> Self {
        Self {
            ledger: self.ledger.clone(),
            member_id: self.cx.ids.next(),
            keys: AtomicU64::new(0),
            cx: Arc::clone(&self.cx),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.cx.clock.now()
    }

    pub(crate) fn in_days(&self, days: i64) -> Timestamp {
        self.now().plus_millis(days * DAY)
    }

    /// Moves the clock to `millis` from now.
    pub(crate) fn pass(&self, millis: i64) {
        self.cx.clock.set(self.now().plus_millis(millis));
    }

    /// A command of the member under a key of its own.
    pub(crate) fn command(&self, operations: Vec<Operation>) -> Command {
        let key = format!("key-{}", self.keys.fetch_add(1, Ordering::SeqCst));
        command(self.member_id, &key, self.now(), operations)
    }

    pub(crate) async fn post(&self, operations: Vec<Operation>) -> Result<Outcome, LedgerError> {
        self.ledger.post(self.command(operations)).await
    }

    /// Posts what must succeed.
    pub(crate) async fn done(&self, operations: Vec<Operation>) -> Outcome {
        let said = format!("{operations:?}");
        self.post(operations)
            .await
            .unwrap_or_else(|error| panic!("{said}: {error}"))
    }

    /// Posts what must be refused, and gives the code; the balances must not move.
    pub(crate) async fn refused(&self, operations: Vec<Operation>) -> &'static str {
        let said = format!("{operations:?}");
        let before = self.balances().await;
        let code = match self.post(operations).await {
            Ok(outcome) => panic!("{said} was not refused: {outcome:?}"),
            Err(error) => error.problem().code,
        };
        assert_eq!(
            self.balances().await,
            before,
            "{said} was refused and changed something"
        );
        code
    }

    pub(crate) async fn balances(&self) -> std::collections::BTreeMap<Asset, Balance> {
        huika_ledger::balances(&mut &self.cx.db, &self.cx.ids, self.member_id, self.now())
            .await
            .unwrap()
    }

    pub(crate) async fn points(&self) -> Balance {
        huika_ledger::balance(
            &mut &self.cx.db,
            &self.cx.ids,
            self.member_id,
            Asset::Points,
            self.now(),
        )
        .await
        .unwrap()
    }

    pub(crate) async fn available(&self) -> i64 {
        self.points().await.available
    }

    pub(crate) async fn lots(&self) -> Vec<LotView> {
        huika_ledger::lots(
            &mut &self.cx.db,
            &self.cx.ids,
            self.member_id,
            Asset::Points,
            self.now(),
            None,
            usize::MAX,
        )
        .await
        .unwrap()
    }

    /// What is left of each lot that is not closed, in the order of spending.
    pub(crate) async fn left_in_lots(&self) -> Vec<i64> {
        self.lots().await.into_iter().map(|lot| lot.remaining).collect()
    }

    /// How many entries the member has.
    pub(crate) async fn entries(&self) -> i64 {
        let member = self.member_id.as_i64();
        self.cx
            .count(&format!(
                "SELECT COUNT(*) AS n FROM ledger_entry WHERE member_id = {member}"
            ))
            .await
    }

    /// Writes down what time has changed.
    pub(crate) async fn settle(&self) {
        for _ in 0..20 {
            if self.ledger.settle_due().await.unwrap() == 0 {
                return;
            }
        }
        panic!("settling never ends");
    }

    pub(crate) async fn verify(&self) -> VerifyReport {
        verify(&self.cx).await
    }

    pub(crate) async fn assert_proven(&self) {
        assert_proven(&self.cx).await;
    }
}

pub(crate) async fn verify(cx: &TestDb) -> VerifyReport {
    cx.db
        .run_snapshot(
            |tx: &mut Tx<'_>| -> BoxFuture<'_, Result<VerifyReport, LedgerError>> {
                Box::pin(huika_ledger::verify_in_tx(tx, |_| {}))
            },
        )
        .await
        .unwrap()
}

pub(crate) async fn assert_proven(cx: &TestDb) {
    let report = verify(cx).await;
    assert!(report.is_clean(), "{report:#?}");
}

/// A command whose input is what it does.
pub(crate) fn command(member_id: MemberId, key: &str, now: Timestamp, operations: Vec<Operation>) -> Command {
    Command {
        member_id,
        key: IdempotencyKey::try_new(key).unwrap(),
        input: InputHash::of(&operations),
        kind: "test",
        reference: "ord_0001".to_owned(),
        actor: "system:test".to_owned(),
        effective_at: now,
        trace: Some(r#"{"why":"test"}"#.to_owned()),
        operations,
    }
}

/// Earns points that can be spent at once and never expire.
pub(crate) fn earn(amount: i64) -> Operation {
    Operation::Earn {
        asset: Asset::Points,
        amount,
        counter_account: CounterAccount::Issuance,
        availability: Availability::Now,
        expires_at: None,
    }
}

pub(crate) fn earn_until(amount: i64, expires_at: Timestamp) -> Operation {
    Operation::Earn {
        asset: Asset::Points,
        amount,
        counter_account: CounterAccount::Issuance,
        availability: Availability::Now,
        expires_at: Some(expires_at),
    }
}

pub(crate) fn earn_later(amount: i64, availability: Availability) -> Operation {
    Operation::Earn {
        asset: Asset::Points,
        amount,
        counter_account: CounterAccount::Issuance,
        availability,
        expires_at: None,
    }
}

pub(crate) fn spend(amount: i64) -> Operation {
    Operation::Spend {
        asset: Asset::Points,
        amount,
        counter_account: CounterAccount::Redemption,
    }
}

pub(crate) fn hold(amount: i64, lapses_at: Timestamp) -> Operation {
    Operation::Hold {
        asset: Asset::Points,
        amount,
        lapses_at,
    }
}

pub(crate) fn claw_back(amount: i64, policy: NegativePolicy) -> Operation {
    Operation::ClawBack {
        asset: Asset::Points,
        amount,
        counter_account: CounterAccount::Adjustment,
        policy,
    }
}

pub(crate) fn reverse_earn(source: PostingId, amount: i64, policy: NegativePolicy) -> Operation {
    Operation::ReverseEarn {
        source,
        asset: Asset::Points,
        amount,
        policy,
    }
}

pub(crate) fn reverse_spend(source: PostingId, amount: i64) -> Operation {
    Operation::ReverseSpend {
        source,
        asset: Asset::Points,
        amount,
        lapsed: huika_ledger::LapsedLots::Lapse,
    }
}
