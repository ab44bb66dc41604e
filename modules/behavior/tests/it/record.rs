//! What is stored, counted, told and forgotten.

use std::time::Duration;

use futures::future::join_all;
use huika_behavior::{Taken, Visitor, WithoutConsent};
use huika_core::{Actor, Refusal as _};
use huika_members::Identity;

use crate::shop::{Shop, migrations, record, visitor};

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

fn shifted(shop: &Shop, id: &str, millis: i64) -> (Visitor, huika_behavior::Event) {
    let mut event = shop.event(id, "click");
    event.occurred_at = shop.now().plus_millis(millis);
    (visitor("v"), event)
}

huika_testing::db_test! { migrations = migrations,
    async fn an_event_is_stored_and_counted_once_however_often_it_comes(cx) {
        let shop = Shop::open(cx);
        let member_id = shop.member(1, true).await;
        let both = || vec![
            (visitor("device-1"), shop.event("e-1", "page_view")),
            (Visitor::Member(member_id), shop.event("e-2", "click")),
            (visitor("device-1"), shop.event("e-1", "page_view")),
        ];
        let first = shop.record(both()).await;
        assert_eq!(first, [Ok(Taken::Stored), Ok(Taken::Stored), Ok(Taken::Known)]);
        // The same again, from another process too, beside something new.
        let other = shop.another_node().await;
        let mut more = both();
        more.push((visitor("device-2"), shop.event("e-1", "page_view")));
        let again = record(&other, &shop.owner, more).await;
        assert_eq!(again, [Ok(Taken::Known), Ok(Taken::Known), Ok(Taken::Known), Ok(Taken::Stored)]);
        assert_eq!(shop.stored().await, [(1, 1), (2, 2)]);
        assert_eq!(shop.counts().await, [("click".into(), 1, 1), ("page_view".into(), 2, 2)]);
    }

    async fn two_processes_that_get_the_same_events_at_once_store_each_once(cx) {
        let shop = Shop::open(cx);
        let other = shop.another_node().await;
        let senders = (0..8_usize).map(|sender| {
            let events = (0..40).map(|n| (visitor(&format!("v{}", n % 7)), shop.event(&format!("e{n}"), "click")));
            let events = events.collect();
            let behavior = [&shop.behavior, &other][sender % 2];
            record(behavior, &shop.owner, events)
        });
        let answers: Vec<_> = join_all(senders).await.into_iter().flatten().collect();
        assert_eq!(answers.iter().filter(|answer| **answer == Ok(Taken::Stored)).count(), 40);
        assert!(answers.iter().all(Result::is_ok));
        assert_eq!(shop.stored().await, [(2, 40)]);
        assert_eq!(shop.counts().await, [("click".into(), 40, 40)]);
    }

    async fn who_did_not_agree_is_counted_and_stored_as_nobody_or_dropped(cx) {
        let shop = Shop::open(cx);
        let (agrees, refuses) = (shop.member(1, true).await, shop.member(2, false).await);
        let events = |id: &str| vec![
            (Visitor::Member(agrees), shop.event(id, "page_view")),
            (Visitor::Member(refuses), shop.event(id, "page_view")),
            (Visitor::Named(Identity::Phone("13900000002".parse().unwrap())), shop.event("by-phone", "page_view")),
        ];
        shop.record(events("e-1")).await;
        assert_eq!(shop.stored().await, [(1, 1), (3, 2)]);
        assert_eq!(shop.counts().await, [("page_view".into(), 3, 3)]);
        assert_eq!(shop.behavior.events_of(&shop.owner, refuses, None, 9).await.unwrap(), []);
        assert_eq!(shop.behavior.events_of(&shop.owner, agrees, None, 9).await.unwrap().len(), 1);
        for row in shop.cx.fetch_all("SELECT subject_id FROM behavior_event WHERE subject_kind = 3").await {
            assert_ne!(row.get::<i64>("subject_id").unwrap(), refuses.as_i64());
        }

        shop.configure(|settings| settings.without_consent = WithoutConsent::Drop).await;
        let answers = shop.record(events("e-2")).await;
        assert_eq!(answers, [Ok(Taken::Stored), Ok(Taken::LeftOut), Ok(Taken::LeftOut)]);
        assert_eq!(shop.counts().await, [("page_view".into(), 4, 4)]);
    }

    async fn times_that_cannot_be_right_are_refused_and_late_ones_count_on_their_own_day(cx) {
        let shop = Shop::open(cx);
        let answers = shop.record(vec![
            shifted(&shop, "a", 5 * MINUTE_MS),
            shifted(&shop, "b", 5 * MINUTE_MS + 1),
            shifted(&shop, "c", -7 * DAY_MS),
            shifted(&shop, "d", -7 * DAY_MS - 1),
            (Visitor::Member(shop.cx.ids.next()), shop.event("e", "click")),
        ]).await;
        assert_eq!(answers, [
            Ok(Taken::Stored),
            Err("behavior.time_in_future"),
            Ok(Taken::Stored),
            Err("behavior.too_late"),
            Err("members.not_found"),
        ]);
        assert_eq!(shop.counts().await, [("click".into(), 1, 1)], "of today");
        let nobody = Actor::with_rights("cli_x", []);
        assert!(shop.behavior.record(&nobody, Vec::new()).await.is_err());
    }

    async fn a_sample_keeps_whole_visitors_and_the_counts_scale_up(cx) {
        let shop = Shop::open(cx);
        shop.configure(|settings| { settings.sampling.insert("page_view".into(), 2_500); }).await;
        for page in 0..2 {
            let events = (0..400).map(|n| {
                (visitor(&format!("v{n}")), shop.event(&format!("e{page}"), "page_view"))
            });
            shop.record(events.collect()).await;
        }
        let (_, stored, estimated) = shop.counts().await.remove(0);
        assert_eq!(estimated, 4 * stored);
        assert!((600..1_000).contains(&estimated), "{estimated}");
        let rows = shop.cx
            .fetch_all("SELECT subject_id, COUNT(*) AS n FROM behavior_event GROUP BY subject_id")
            .await;
        assert!(rows.iter().all(|row| row.get::<i64>("n").unwrap() == 2), "a visitor is kept as a whole");
        // What earns is never left to chance.
        shop.configure(|settings| { settings.sampling.insert("review".into(), 1); }).await;
        let member_id = shop.member(1, true).await;
        let reviews = (0..20).map(|n| (Visitor::Member(member_id), shop.event(&format!("r{n}"), "review")));
        let answers = shop.record(reviews.collect()).await;
        assert!(answers.iter().all(|answer| *answer == Ok(Taken::Stored)));
    }

    async fn only_what_earns_is_told_once_and_also_without_consent(cx) {
        let shop = Shop::open(cx);
        let member_id = shop.member(1, false).await;
        let events = || vec![
            (Visitor::Member(member_id), shop.event("e-1", "review")),
            (Visitor::Member(member_id), shop.event("e-2", "click")),
            (visitor("v"), shop.event("e-3", "review")),
        ];
        shop.record(events()).await;
        shop.record(events()).await;
        let told = shop.cx.fetch_all("SELECT topic, payload FROM kernel_outbox").await;
        assert_eq!(told.len(), 1);
        let payload: String = told[0].get("payload").unwrap();
        assert!(payload.contains(&member_id.to_string()) && payload.contains("review"), "{payload}");
        assert_eq!(shop.stored().await, [(2, 1), (3, 2)]);
    }

    async fn what_is_too_old_is_deleted_in_parts_and_counts_stay(cx) {
        let shop = Shop::open(cx);
        for batch in 0..3 {
            let events = (0..400).map(|n| (visitor(&format!("v{n}")), shop.event(&format!("e{batch}"), "click")));
            shop.record(events.collect()).await;
            shop.cx.clock.advance(Duration::from_secs(1));
        }
        let kept = shop.event("kept", "click");
        shop.cx.clock.advance(Duration::from_secs(90 * 86_400 - 3));
        assert_eq!(shop.behavior.delete_expired().await.unwrap(), 0);
        shop.record(vec![(visitor("v"), shop.event("new", "click"))]).await;
        shop.cx.clock.advance(Duration::from_secs(10));
        let mut deleted = Vec::new();
        loop {
            match shop.behavior.delete_expired().await.unwrap() {
                0 => break,
                rows => deleted.push(rows),
            }
        }
        assert_eq!(deleted.iter().sum::<u64>(), 1_200);
        assert!(deleted.len() > 1 && deleted.iter().all(|rows| *rows <= 1_000), "{deleted:?}");
        assert_eq!(shop.stored().await, [(2, 1)]);
        let day = huika_core::Calendar::try_new("Asia/Shanghai").unwrap().date_of(kept.occurred_at);
        let counts = shop.behavior.counts(&shop.owner, (day, day), None).await.unwrap();
        assert_eq!(counts[0].stored, 1_200);
    }

    async fn a_flood_is_refused_with_the_word_when_to_come_back(cx) {
        let shop = Shop::open(cx);
        let flood = (0..6_001).map(|n| (visitor("v"), shop.event(&format!("e{n}"), "click"))).collect();
        let refused = shop.behavior.record(&shop.owner, flood).await.unwrap_err().problem();
        assert_eq!((refused.code, refused.status), ("behavior.queue_full", 429));
        assert!(refused.retry_after_seconds.is_some());
        assert_eq!(shop.stored().await, []);
        // The room is free again for those who come with less.
        assert_eq!(shop.record(vec![(visitor("v"), shop.event("e", "click"))]).await, [Ok(Taken::Stored)]);
    }

    async fn settings_are_changed_by_one_at_a_time_and_audited(cx) {
        let shop = Shop::open(cx);
        let changes = (1..=4).map(|days| {
            let settings = huika_behavior::Settings { retention_days: days, ..Default::default() };
            shop.behavior.configure(&shop.owner, settings)
        });
        for answer in join_all(changes).await {
            answer.unwrap();
        }
        assert_eq!(shop.cx.count("SELECT version AS n FROM behavior_setting").await, 4);
        assert_eq!(shop.cx.count("SELECT COUNT(*) AS n FROM kernel_audit").await, 4);
    }

    async fn pages_of_a_members_events_neither_skip_nor_repeat(cx) {
        let shop = Shop::open(cx);
        let member_id = shop.member(1, true).await;
        let events = (0..25).map(|n| {
            let mut event = shop.event(&format!("e{n}"), "click");
            event.occurred_at = shop.now().plus_millis(-(n / 3));
            (Visitor::Member(member_id), event)
        });
        shop.record(events.collect()).await;
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let page = shop.behavior.events_of(&shop.owner, member_id, before, 7).await.unwrap();
            let Some(last) = page.last() else { break };
            before = Some((last.occurred_at.as_millis(), last.event_key));
            seen.extend(page.into_iter().map(|event| (event.occurred_at, event.event_key)));
        }
        let mut sorted = seen.clone();
        sorted.sort_unstable_by(|one, other| other.cmp(one));
        sorted.dedup();
        assert_eq!((seen.len(), &seen), (25, &sorted));
    }
}
