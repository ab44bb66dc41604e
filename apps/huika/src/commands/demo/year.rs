//! A year passes: members join, buy, return and spend, through the services that a real till would reach.

use huika_core::{Actor, Clock, IdempotencyKey, MemberId, Timestamp};
use huika_db::Db;
use huika_ledger::InputHash;
use huika_loyalty::{PointsCommand, PointsOperation};
use huika_members::{MembersError, Reason};
use huika_orders::{MemberRef, OrderNo, OrdersError, RefundDocument, RefundedPart};

use super::shop::{Shop, Visit};
use crate::{compose::Services, error::Failure};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// The shop is written down at the end of every second week.
const STEP_DAYS: i64 = 14;
/// Purchases and commands of one transaction.
const BULK: usize = 500;
/// How long after a purchase something goes back.
const REFUND_AFTER_MS: i64 = 60 * 60 * 1_000;
/// Members who have gathered this much spend some of it now and then.
const SPENT_POINTS: i64 = 200;

/// What the year brought.
#[derive(Default)]
pub(super) struct Figures {
    pub(super) members: usize,
    pub(super) purchases: usize,
    pub(super) refunds: usize,
}

/// Lets the year pass. `on_day` is told how far it is.
pub(super) async fn pass(
    services: &Services,
    db: &Db,
    clock: &Clock,
    shop: Shop,
    on_day: impl Fn(u64),
) -> Result<Figures, Failure> {
    let actor = Actor::system("demo");
    let opened_at = clock.now();
    let closes_on = shop.visits.iter().map(|visit| visit.day).max().unwrap_or(0);
    let mut figures = Figures::default();
    let mut ids: Vec<MemberId> = Vec::with_capacity(shop.members.len());
    let (mut joining, mut visits) = (
        shop.members.into_iter().peekable(),
        shop.visits.into_iter().peekable(),
    );
    let mut day = 0;
    while day <= closes_on {
        let until = day + STEP_DAYS;
        clock.set(opened_at.plus_millis(until.min(closes_on + 1) * DAY_MS));
        let commands: Vec<_> = std::iter::from_fn(|| joining.next_if(|joining| joining.day < until))
            .map(|joining| joining.command)
            .collect();
        let registered = db
            .run_tx("demo.register", |tx| {
                Box::pin(services.members.register_many_in_tx(tx, &actor, commands.clone()))
            })
            .await?;
        let registered: Result<Vec<_>, MembersError> = registered.into_iter().collect();
        ids.extend(registered?.into_iter().map(|registered| registered.member_id));

        let of_step: Vec<Visit> = std::iter::from_fn(|| visits.next_if(|visit| visit.day < until)).collect();
        for chunk in of_step.chunks(BULK) {
            let intakes = chunk
                .iter()
                .map(|visit| visit.intake(MemberRef::Id(ids[visit.member])))
                .collect();
            for result in services.orders.take_in_bulk(&actor, intakes).await? {
                result?;
            }
        }
        figures.purchases += of_step.len();
        for visit in of_step.iter().filter(|visit| visit.refunded) {
            refund(services, &actor, visit, clock.now()).await?;
            figures.refunds += 1;
        }
        spend(services, &actor, &ids, until).await?;
        day = until;
        on_day(day.min(closes_on).unsigned_abs());
    }
    figures.members = ids.len();
    Ok(figures)
}

/// Everything goes back, or only the first line.
async fn refund(
    services: &Services,
    actor: &Actor,
    visit: &Visit,
    now: Timestamp,
) -> Result<(), OrdersError> {
    let purchase = &visit.purchase;
    let external_no: OrderNo = format!("{}-R", purchase.external_no).parse()?;
    let part = match purchase.lines.first() {
        Some(line) if purchase.lines.len() > 1 => RefundedPart::Amount {
            minor: line.amount_minor,
            currency: purchase.currency,
        },
        _ => RefundedPart::Rest,
    };
    let input = InputHash::of(&external_no.as_str());
    let document = RefundDocument {
        source: purchase.source.clone(),
        purchase_no: purchase.external_no.clone(),
        refunded_at: purchase.placed_at.plus_millis(REFUND_AFTER_MS).min(now),
        external_no,
        part,
    };
    let key = IdempotencyKey::derived("demo-refund", &document.external_no);
    services
        .orders
        .refund(actor, &document, &key, input)
        .await
        .map(drop)
}

/// Every fifth member tries to spend some points; whoever has too few keeps them.
async fn spend(services: &Services, actor: &Actor, ids: &[MemberId], until: i64) -> Result<(), Failure> {
    let turn = (until / STEP_DAYS).unsigned_abs() as usize % 5;
    let reason: Reason = "免费咖啡 · a free coffee".parse()?;
    let commands: Vec<PointsCommand> = ids
        .iter()
        .skip(turn)
        .step_by(5)
        .map(|member_id| PointsCommand {
            member_id: *member_id,
            key: IdempotencyKey::derived("demo-spend", until),
            operation: PointsOperation::Redeem {
                points: SPENT_POINTS,
                reason: reason.clone(),
            },
        })
        .collect();
    for chunk in commands.chunks(BULK) {
        let outcomes = services
            .loyalty
            .command_points_in_bulk(actor, chunk.to_vec())
            .await?;
        // Too few points is an answer like any other.
        drop(outcomes);
    }
    Ok(())
}
