//! Tiers over time, as one table: each row is a shop, what its member does on which dates, and the tiers that are
//! seen. Every row runs on every engine, once with somebody looking only, once with the job at each look, and the two
//! agree to the row.

use huika_core::{MemberId, Timestamp};
use huika_loyalty::{
    Combine, Downgrade, Period, Qualification, RefundEffect, Rules, Settled, Thresholds, Validity,
    default_rules,
};
use huika_testing::TestDb;

use crate::shop::{Shop, migrations};

/// Rules, then steps: `date +paid` is a purchase at noon in Shanghai, `date -paid` a refund of so much of the purchase
/// before, `date tier` what a look at the last millisecond of the date sees, `date! tier` at its first.
const TABLE: &str = "
    lifetime              | 2026-11-21 +1000 | 2026-11-21 silver | 2036-01-01 silver
    lifetime              | 2026-11-21 +999 | 2026-11-22 +1 | 2026-11-22 silver
    lifetime              | 2026-11-21 +5000 | 2026-11-22 -5000 | 2036-01-01 gold
    year one_step         | 2026-11-21 +5000 | 2026-12-31 gold | 2027-01-01! gold | 2027-12-31 gold | 2028-01-01! silver | 2029-01-01! bronze
    year one_step         | 2026-11-21 +5000 | 2027-12-31 +5000 | 2028-01-01! gold | 2029-01-01! silver
    year one_step         | 2026-11-21 +5000 | 2027-12-31 +4999 | 2028-01-01! silver
    year one_step         | 2027-11-21 +900 | 2028-01-01 +200 | 2028-01-02 bronze | 2028-02-29 +800 | 2028-02-29 silver
    year reached          | 2026-11-21 +5000 | 2027-05-01 +1000 | 2028-01-01! silver
    year reached          | 2026-11-21 +5000 | 2027-12-31 gold | 2028-01-01! bronze
    year never            | 2026-11-21 +5000 | 2030-01-01! gold
    year one_step grace   | 2026-11-21 +5000 | 2028-01-01! gold | 2028-01-31 gold | 2028-02-01! silver
    year one_step grace   | 2026-11-21 +5000 | 2027-06-01 +4000 | 2028-01-31 +1000 | 2028-02-01! gold | 2028-12-31 gold | 2029-01-01! gold | 2029-02-01! silver
    year one_step keep_3k | 2026-11-21 +5000 | 2027-06-01 +3000 | 2028-01-01! gold | 2028-12-31 +2999 | 2029-01-01! silver
    year one_step at_once | 2026-11-21 +5000 | 2026-11-22 -1 | 2026-11-22 silver | 2026-11-23 -4999 | 2026-11-23 bronze
    year one_step         | 2026-11-21 +5000 | 2026-11-22 -5000 | 2027-12-31 gold | 2028-01-01! silver
    months_12 one_step    | 2028-02-29 +1000 | 2029-02-27 silver | 2029-02-28! bronze
    months_12 one_step    | 2028-02-29 +1000 | 2028-03-01 +1000 | 2029-02-28! silver | 2030-02-28! bronze
    anniversary one_step  | 2026-11-22 +1000 | 2027-11-20 silver | 2027-11-21! silver | 2028-11-21! bronze
    orders_or_spend       | 2026-11-21 +1 | 2026-11-22 +1 | 2026-11-22 bronze | 2026-11-23 +1 | 2026-11-23 silver
    orders_or_spend       | 2026-11-21 +1000 | 2026-11-21 silver
    orders_and_spend      | 2026-11-21 +1000 | 2026-11-22 +1 | 2026-11-22 bronze | 2026-11-23 +1 | 2026-11-23 silver
";

fn rules_of(words: &str, rules: &mut Rules) {
    let year = Qualification {
        period: Period::CalendarYear,
        validity: Validity::PeriodEnd { further: 1 },
        ..Qualification::default()
    };
    let by_orders = |orders, spend_minor| Thresholds {
        spend_minor: Some(spend_minor),
        orders: Some(orders),
        growth: None,
    };
    for word in words.split_whitespace() {
        let qualification = &mut rules.qualification;
        match word {
            "lifetime" => {}
            "year" => *qualification = year,
            "months_12" => {
                *qualification = Qualification {
                    period: Period::RollingMonths { months: 12 },
                    validity: Validity::Months { months: 12 },
                    ..year
                };
            }
            "anniversary" => qualification.clone_from(&Qualification {
                period: Period::Anniversary,
                ..year
            }),
            "one_step" => qualification.downgrade = Downgrade::OneStep,
            "reached" => qualification.downgrade = Downgrade::Reached,
            "never" => qualification.downgrade = Downgrade::Never,
            "grace" => qualification.grace_days = 31,
            "at_once" => qualification.refunds = RefundEffect::AtOnce,
            "keep_3k" => rules.tiers[2].retention = Some(Thresholds::spend(300_000)),
            "orders_or_spend" | "orders_and_spend" => {
                qualification.combine = if word == "orders_or_spend" {
                    Combine::Any
                } else {
                    Combine::All
                };
                rules.tiers[1].thresholds = by_orders(3, 100_000);
                rules.tiers[2].thresholds = by_orders(30, 500_000);
            }
            other => panic!("{other}"),
        }
    }
}

fn at(date: &str, hours: i64) -> Timestamp {
    let calendar = default_rules().calendar();
    calendar
        .start_of(date.parse().unwrap())
        .plus_millis(hours * 3_600_000)
}

/// Plays the steps of a row for a member, and returns the changes of tier that are written down in the end.
async fn play(shop: &Shop, row: &str, member: MemberId, with_job: bool) -> Vec<String> {
    let mut last: Option<(Settled, i64, i64)> = None;
    for (number, step) in row.split('|').skip(1).enumerate() {
        let (date, what) = step.trim().split_once(' ').unwrap();
        let what = what.trim();
        if let Some(yuan) = what.strip_prefix('+') {
            shop.cx.clock.set(at(date, 12));
            let paid = yuan.parse::<i64>().unwrap() * 100;
            let settled = shop.buy(member, &format!("{number}"), paid).await;
            last = Some((settled, paid, 0));
        } else if let Some(yuan) = what.strip_prefix('-') {
            let purchased = shop.now();
            shop.cx.clock.set(at(date, 12));
            let (bought, paid, before) = last.take().unwrap();
            let amount = yuan.parse::<i64>().unwrap() * 100;
            shop.refund_of(
                member,
                &format!("r{number}"),
                &bought,
                paid,
                before,
                amount,
                purchased,
            )
            .await;
            last = Some((bought, paid, before + amount));
            // The next refund belongs to the same date.
            shop.cx.clock.set(at(date, 12));
        } else {
            let moment = match date.strip_suffix('!') {
                Some(date) => at(date, 0),
                None => at(date, 24).plus_millis(-1),
            };
            shop.cx.clock.set(moment);
            if with_job {
                shop.loyalty.evaluate_due().await.unwrap();
            }
            assert_eq!(
                shop.tier(member).await,
                what,
                "{step} of {row}, with the job: {with_job}"
            );
        }
    }
    shop.loyalty.evaluate_due().await.unwrap();
    let changes = shop.loyalty.tier_changes(&shop.owner, member).await.unwrap();
    changes
        .iter()
        .map(|change| {
            let span = &change.span;
            format!(
                "{} → {} {} {:?} {}",
                change.from_tier,
                span.tier,
                span.from,
                span.until,
                span.reason.name()
            )
        })
        .collect()
}

async fn play_all(cx: TestDb) {
    let shop = Shop::without_program(cx);
    let began = shop.now();
    for (number, row) in TABLE
        .lines()
        .map(str::trim)
        .filter(|row| !row.is_empty())
        .enumerate()
    {
        // Each row has rules of its own from the moment that it is played at; the member registers at the same date.
        shop.cx.clock.set(began);
        shop.cx
            .execute("DELETE FROM loyalty_program_version", vec![])
            .await;
        shop.publish(|rules| rules_of(row.split('|').next().unwrap(), rules))
            .await
            .unwrap();
        let number = u32::try_from(number).unwrap() * 2;
        let (seen, written) = (shop.member(number + 1).await, shop.member(number + 2).await);
        let only_looked = play(&shop, row, seen, false).await;
        shop.cx.clock.set(began);
        let with_job = play(&shop, row, written, true).await;
        assert_eq!(only_looked, with_job, "{row}");
        shop.assert_proven().await;
        shop.cx.execute("DELETE FROM loyalty_membership", vec![]).await;
        shop.cx.execute("DELETE FROM loyalty_tier_change", vec![]).await;
    }
}

huika_testing::db_test! { migrations = migrations,
    async fn tiers_over_time(cx) {
        play_all(cx).await;
    }

    async fn evaluations_of_many_members_can_be_cut_off_and_go_on(cx) {
        let shop = Shop::with(cx, |rules| rules_of("year one_step", rules)).await;
        let mut members = Vec::new();
        for number in 1..=12 {
            let member = shop.member(number).await;
            shop.buy(member, "1", 500_000).await;
            members.push(member);
        }
        shop.set_state(members[3], huika_members::MemberState::Blacklisted).await;
        shop.cx.clock.set(at("2028-01-01", 0));
        // Two workers at once, and one more who finds nothing left.
        let (one, other) = tokio::join!(shop.loyalty.evaluate_due(), shop.loyalty.evaluate_due());
        assert!(one.unwrap() + other.unwrap() >= 11);
        assert_eq!(shop.loyalty.evaluate_due().await.unwrap(), 0);
        for (at, member) in members.iter().enumerate() {
            let changes = shop.loyalty.tier_changes(&shop.owner, *member).await.unwrap();
            // A blacklisted member's tier is not evaluated.
            assert_eq!(changes.len(), if at == 3 { 1 } else { 2 });
        }
        shop.assert_proven().await;
    }
}
