//! Bad input is refused with the field, the place and what to do, never with plain text.

use axum::http::Method;
use huika_http::Cursor;

use crate::app::{get, order, send};

const GOOD: &str = r#"{"lines":[{"quantity":2,"kind":"tea"}],"price":{"minor":26800,"currency":"CNY"}}"#;

#[tokio::test]
async fn a_good_order_passes() {
    let answer = order(GOOD).await;
    assert_eq!(
        (answer.status, answer.body["id"].as_str()),
        (201, Some("apc_1 k1 2 1 0 ¥268"))
    );
}

#[tokio::test]
async fn another_content_type_is_refused() {
    for content_type in [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
    ] {
        let headers = [
            ("word", "open"),
            ("idempotency-key", "k1"),
            ("content-type", content_type),
        ];
        let answer = send(Method::POST, "/api/open/v1/cups", &headers, GOOD).await;
        assert_eq!(
            (answer.status, answer.code()),
            (415, "request.not_json"),
            "{content_type}"
        );
    }
    for content_type in [
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/vnd.huika+json",
    ] {
        let headers = [
            ("word", "open"),
            ("idempotency-key", "k1"),
            ("content-type", content_type),
        ];
        assert_eq!(
            send(Method::POST, "/api/open/v1/cups", &headers, GOOD)
                .await
                .status,
            201,
            "{content_type}"
        );
    }
}

#[tokio::test]
async fn broken_syntax_names_line_and_column() {
    let answer = order("{\n  \"lines\": [,]}").await;
    assert_eq!((answer.status, answer.code()), (400, "request.json_syntax"));
    assert_eq!(
        (
            answer.body["params"]["line"].as_str(),
            answer.body["params"]["column"].as_str()
        ),
        (Some("2"), Some("13"))
    );
    for broken in [
        "",
        " ",
        "{",
        "nul",
        "{} {}",
        "\u{feff}{}",
        r#"{"lines": "\ud800"}"#,
        &"[".repeat(100_000),
    ] {
        let answer = order(broken.to_owned()).await;
        assert!(
            matches!(answer.status, 400 | 422),
            "{broken:.20} gave {}",
            answer.status
        );
    }
    assert_eq!(order(vec![b'{', 0xff, b'}']).await.status, 400);
}

#[tokio::test]
async fn wrong_fields_are_named_with_their_path() {
    for (body, field, en) in [
        (r#"{"lines":[]}"#, "price", "is missing"),
        (
            &GOOD.replace("\"kind\"", "\"sort\""),
            "lines[0].sort",
            "is not known; expected `quantity` or `kind`",
        ),
        (
            &GOOD.replace("\"tea\"", "\"milk\""),
            "lines[0].kind",
            "`milk` is not possible; expected `tea` or `coffee`",
        ),
        (
            &GOOD.replace("\"quantity\":2", "\"quantity\":2.0"),
            "lines[0].quantity",
            "has the wrong type: floating point `2.0`, expected i64",
        ),
        (
            &GOOD.replace("\"quantity\":2", "\"quantity\":\"2\""),
            "lines[0].quantity",
            "has the wrong type: string \"2\", expected i64",
        ),
        (
            &GOOD.replace("\"quantity\":2", "\"quantity\":2,\"quantity\":3"),
            "lines[0].quantity",
            "stands there twice",
        ),
        (
            &GOOD.replace("26800", "99999999999999999999"),
            "price.minor",
            "has the wrong type: floating point `1e+20`, expected i64",
        ),
        (
            &GOOD.replace("\"quantity\":2", "\"quantity\":0"),
            "lines[0].quantity",
            "must be at least 1",
        ),
        (&GOOD.replace("[{", "[{}, {"), "lines[0].quantity", "is missing"),
        (
            &GOOD.replace("CNY", "C\\u0000Y"),
            "body",
            "a text holds the character U+0000: leave it out",
        ),
        (
            &GOOD.replace("CNY", "JPY"),
            "currency",
            "the currency must be one of CNY, HKD, MOP, TWD, SGD, MYR, THB, USD, EUR, GBP, AUD, CAD",
        ),
    ] {
        let answer = order(body.to_owned()).await;
        assert_eq!((answer.status, answer.code()), (422, "request.invalid"), "{body}");
        assert_eq!(answer.fields(), [(field, en)], "{body}");
    }
}

#[tokio::test]
async fn texts_come_in_the_language_that_was_asked_for_and_in_both() {
    let ask = async |language: &str| send(Method::GET, "/breaks", &[("accept-language", language)], "").await;
    let chinese = ask("fr").await;
    assert_eq!(chinese.header("content-language"), "zh-CN");
    assert_eq!(chinese.body["fields"][0]["detail"], "已破损");
    let english = ask("en-GB,zh;q=0.5").await;
    assert_eq!(english.header("content-language"), "en");
    assert_eq!(english.body["fields"][0]["detail"], "is broken");
    assert_eq!(english.body["detail"], english.body["detail_en"]);
    assert_eq!(english.body["detail_zh"], chinese.body["detail"]);
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_whether_declared_or_streamed() {
    let large = vec![b' '; 1024 * 1024 + 1];
    let declared = order(large.clone()).await;
    assert_eq!((declared.status, declared.code()), (413, "request.too_large"));
    let pieces = large
        .chunks(1000)
        .map(|piece| Ok::<_, std::io::Error>(piece.to_vec()))
        .collect::<Vec<_>>();
    let streamed = order(axum::body::Body::from_stream(futures::stream::iter(pieces))).await;
    assert_eq!((streamed.status, streamed.code()), (413, "request.too_large"));
    // A body in pieces below the limit is put together again.
    let pieces = GOOD
        .as_bytes()
        .chunks(7)
        .map(|piece| Ok::<_, std::io::Error>(piece.to_vec()))
        .collect::<Vec<_>>();
    assert_eq!(
        order(axum::body::Body::from_stream(futures::stream::iter(pieces)))
            .await
            .status,
        201
    );
    let broken = [Ok("{"), Err(std::io::Error::other("gone"))];
    let broken = order(axum::body::Body::from_stream(futures::stream::iter(broken))).await;
    assert_eq!((broken.status, broken.code()), (400, "request.unreadable"));
}

#[tokio::test]
async fn the_idempotency_key_is_required_and_checked() {
    let with = async |keys: &[&str]| {
        let mut headers = vec![("word", "open"), ("content-type", "application/json")];
        headers.extend(keys.iter().map(|key| ("idempotency-key", *key)));
        send(Method::POST, "/api/open/v1/cups", &headers, GOOD).await
    };
    assert_eq!(with(&[]).await.code(), "request.idempotency_key_missing");
    for wrong in [vec![""], vec!["has space"], vec!["ü"], vec!["a", "b"]] {
        let answer = with(&wrong).await;
        assert_eq!(
            (answer.status, answer.code()),
            (400, "request.idempotency_key_invalid"),
            "{wrong:?}"
        );
    }
    assert_eq!(with(&[&"k".repeat(65)]).await.status, 400);
    assert_eq!(with(&[&"k".repeat(64)]).await.status, 201);
}

#[tokio::test]
async fn ids_in_the_path_must_be_of_their_kind() {
    assert_eq!(
        get("/api/open/v1/cups/cup_0000000000001").await.body["id"],
        "cup_0000000000001"
    );
    for wrong in ["mbr_0000000000001", "1", "cup_", "%00", "%ff"] {
        let answer = get(&format!("/api/open/v1/cups/{wrong}")).await;
        assert_eq!(
            (answer.status, answer.code()),
            (400, "request.path_invalid"),
            "{wrong}"
        );
    }
    let answer = get("/api/open/v1/cups/1").await;
    assert_eq!(
        answer.fields(),
        [(
            "cup_id",
            "expected an id of the form cup_ and 13 letters or digits"
        )]
    );
    let saucer = async |path: &str| get(&format!("/api/open/v1/cups/{path}")).await;
    assert_eq!(saucer("cup_0000000000001/saucers/2").await.status, 200);
    assert_eq!(
        saucer("cup_0000000000001/saucers/x").await.fields(),
        [("number", "expected i64")]
    );
    assert_eq!(
        saucer("x/saucers/2").await.fields(),
        [("path", "expected an id of the form cup_ and 13 letters or digits")]
    );
}

#[tokio::test]
async fn pages_follow_their_cursor_and_wrong_queries_are_refused() {
    let first = get("/api/open/v1/cups?limit=3").await;
    assert_eq!(first.body["items"].as_array().unwrap().len(), 3);
    let next = first.body["next_cursor"].as_str().unwrap();
    let second = get(&format!("/api/open/v1/cups?limit=3&cursor={next}")).await;
    assert_eq!(
        (
            second.body["items"].as_array().unwrap().len(),
            second.body["next_cursor"].as_str()
        ),
        (2, None)
    );
    assert_eq!(
        get("/api/open/v1/cups").await.body["items"]
            .as_array()
            .unwrap()
            .len(),
        5
    );
    assert_eq!(next, Cursor(3, 0).to_string());
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("limit=1.5", "limit"),
        ("limit=-1", "limit"),
        ("cursor=garbage", "cursor"),
        ("cursor=", "cursor"),
        ("offset=1", "offset"),
        ("limit=1&limit=2", "limit"),
        ("cursor=%00", "query"),
    ] {
        let answer = get(&format!("/api/open/v1/cups?{query}")).await;
        assert_eq!(
            (answer.status, answer.code()),
            (400, "request.query_invalid"),
            "{query}"
        );
        assert_eq!(
            answer.fields().first().map(|(field, _)| *field),
            Some(field),
            "{query}"
        );
    }
}
