//! Multi-row statements and lists: every size and every NULL gives the same rows on every engine.

use huika_db::{
    DbError, Executor as _, Param, Params,
    dialect::{Merge, Update, pair_condition},
    params,
};
use huika_testing::TestDb;

use crate::support::{Cup, TestError, cups, insert_of, read_cups};

/// `number` cups; every column that may be NULL is so in one row of three, the first one included.
fn some_cups(number: i64) -> Vec<Cup> {
    (0..number)
        .map(|at| {
            let given = at % 3 != 0;
            (
                at / 7,
                format!("code-{at:04}"),
                given.then(|| format!("杯子 {at} ☕")),
                (at % 3 != 1).then_some(i64::MAX - at),
                given.then(|| vec![0, 255, at as u8]),
                at,
            )
        })
        .collect()
}

async fn insert(cx: &TestDb, cups: &[Cup]) -> Result<u64, DbError> {
    cx.db
        .run_tx("test.insert", |tx| {
            Box::pin(async move { tx.insert(insert_of(cups)).await })
        })
        .await
}

/// Sets every column that is no key to what the cups hold; the sequence must be the one before.
fn update_of(cups: &[Cup]) -> Update {
    let set = &["title", "amount", "picture", "sequence"];
    let mut update = Update::table("test_cup", set, &["shop", "code", "sequence"]);
    for (shop, code, title, amount, picture, sequence) in cups.iter().cloned() {
        update.push(params![
            title,
            amount,
            picture,
            sequence,
            shop,
            code,
            sequence - 1
        ]);
    }
    update
}

async fn codes(cx: &TestDb, condition: &str, params: Params) -> Vec<String> {
    let sql = format!("SELECT code FROM test_cup WHERE {condition} ORDER BY code");
    let rows = (&mut &cx.db).fetch_all(&sql, params).await.unwrap();
    rows.iter().map(|row| row.get("code").unwrap()).collect()
}

huika_testing::db_test! { migrations = cups,
    async fn rows_of_every_number_are_inserted_and_updated(cx) {
        for number in [1, 5, 150, 300] {
            cx.execute("DELETE FROM test_cup", params![]).await;
            let mut cups = some_cups(number);
            assert_eq!(insert(&cx, &cups).await.unwrap(), number as u64);
            cups.sort();
            assert_eq!(read_cups(&cx).await, cups);

            // What was NULL is not any more and the other way round.
            for (at, (_, _, title, amount, picture, sequence)) in cups.iter_mut().enumerate() {
                *title = title.is_none().then(|| format!("新 {at}"));
                *amount = amount.is_none().then_some(-(at as i64));
                *picture = picture.is_none().then(|| vec![at as u8; 64]);
                *sequence += 1;
            }
            let update = &cups;
            cx.db.run_tx("test.update", |tx| Box::pin(async move {
                tx.update(update_of(update)).await
            })).await.unwrap();
            assert_eq!(read_cups(&cx).await, cups);
        }
    }

    async fn no_rows_are_no_statement(cx) {
        assert_eq!(insert(&cx, &[]).await.unwrap(), 0);
        cx.db.run_tx("test.update", |tx| Box::pin(async move { tx.update(update_of(&[])).await })).await.unwrap();
    }

    async fn one_failing_guard_among_many_is_stale(cx) {
        let mut cups = some_cups(150);
        insert(&cx, &cups).await.unwrap();
        let before = read_cups(&cx).await;
        for cup in &mut cups {
            cup.5 += 1;
        }
        cups[77].5 += 1;
        let update = &cups;
        let done: Result<(), TestError> = cx.db.run_tx("test.update", |tx| Box::pin(async move {
            let updated = tx.update(update_of(update)).await;
            assert!(matches!(updated, Err(DbError::Stale("test_cup"))), "{updated:?}");
            Err(TestError::Refused)
        })).await;
        assert!(matches!(done, Err(TestError::Refused)));
        assert_eq!(read_cups(&cx).await, before);
    }

    async fn existing_rows_are_refused_or_skipped_and_counted(cx) {
        insert(&cx, &some_cups(5)).await.unwrap();
        let mut more = some_cups(8);
        more.reverse();
        assert!(matches!(insert(&cx, &more).await, Err(DbError::Duplicate(_))));
        assert_eq!(read_cups(&cx).await, some_cups(5), "all or nothing");
        let more = &more;
        let new = cx.db.run_tx("test.insert", |tx| Box::pin(async move {
            tx.insert(insert_of(more).skip_existing()).await
        })).await;
        assert_eq!(new.unwrap_or_else(|error: DbError| panic!("{error:?}")), 3);
        assert_eq!(read_cups(&cx).await.len(), 8);
    }

    async fn lists_of_every_length_are_found(cx) {
        insert(&cx, &some_cups(30)).await.unwrap();
        for length in [0, 1, 3, 8] {
            let cups = some_cups(length);
            let (codes_in, numbers): (Vec<String>, Vec<i64>) = cups.into_iter().map(|cup| (cup.1, cup.5)).unzip();
            let by_text = codes(&cx, "code IN (??)", params![Param::Texts(codes_in.clone())]).await;
            assert_eq!(by_text, codes_in);
            let params = params![1_i64, Param::Ints(numbers), 9_i64];
            let by_number = codes(&cx, "1 = ? AND sequence IN (??) AND 9 = ?", params).await;
            assert_eq!(by_number, codes_in);
        }
    }

    async fn pairs_are_found_together_and_not_crosswise(cx) {
        insert(&cx, &some_cups(30)).await.unwrap();
        let pairs: Vec<(i64, String)> =
            [(0, 3), (1, 8), (1, 3), (9, 29)].map(|(shop, at)| (shop, format!("code-{at:04}"))).into();
        for (length, found) in [(0, vec![]), (1, vec!["code-0003"]), (3, vec!["code-0003", "code-0008"])] {
            let (condition, params) = pair_condition(cx.db.engine(), ("shop", "code"), &pairs[..length]);
            assert_eq!(codes(&cx, &condition, params).await, found);
        }
        let (condition, params) = pair_condition(cx.db.engine(), ("shop", "sequence"), &[(0, 3_i64), (1, 3)]);
        assert_eq!(codes(&cx, &condition, params).await, ["code-0003"]);
    }

    async fn texts_are_told_apart_byte_by_byte(cx) {
        for code in ["a", "A", "a-"] {
            insert(&cx, &[(1, code.into(), None, None, None, 0)]).await.unwrap();
        }
        assert_eq!(codes(&cx, "code = ?", params!["A"]).await, ["A"]);
    }

    async fn rows_that_exist_are_added_to(cx) {
        let merge = Merge { keys: &["shop", "code"], sums: &["amount"], greatest: &["sequence"] };
        let cup = |code: &str, amount: i64, sequence: i64| {
            (1, code.to_owned(), Some("first".to_owned()), Some(amount), None, sequence)
        };
        let add = async |cups: Vec<Cup>| {
            let cups = &cups;
            cx.db.run_tx("test.merge", |tx| Box::pin(async move { tx.insert(insert_of(cups).merging(merge)).await })).await
        };
        add(vec![cup("a", 10, 5), cup("b", 1, 1)]).await.unwrap();
        // Eight at once: nothing is lost of any.
        let eight = (1..=8).map(|at| add(vec![cup("a", 1, at), cup("c", -2, at)]));
        for added in futures::future::join_all(eight).await {
            added.unwrap();
        }
        let mut again = cup("b", 5, 0);
        again.2 = Some("second".to_owned());
        add(vec![again]).await.unwrap();
        assert_eq!(read_cups(&cx).await, [cup("a", 18, 8), cup("b", 6, 1), cup("c", -16, 8)]);
    }
}
