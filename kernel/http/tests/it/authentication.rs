//! Only requests with valid credentials reach a handler, and the handler reads the bytes that were checked.

use axum::http::Method;

use crate::app::send;

const BODY: &str = r#"{"lines":[{"quantity":2,"kind":"coffee"}],"price":{"minor":1,"currency":"CNY"}}"#;
const HEADERS: [(&str, &str); 2] = [("content-type", "application/json"), ("idempotency-key", "k1")];

#[tokio::test]
async fn without_credentials_nobody_passes() {
    let answer = send(Method::POST, "/api/open/v1/cups", &HEADERS, BODY).await;
    assert_eq!((answer.status, answer.code()), (401, "access.unauthenticated"));
    assert!(answer.header("www-authenticate").starts_with("Bearer"));
}

/// Strangers cannot make us hold megabytes.
#[tokio::test]
async fn without_credentials_nothing_of_a_body_is_read() {
    let untouched =
        futures::stream::poll_fn(|_| -> std::task::Poll<Option<Result<Vec<u8>, std::io::Error>>> {
            panic!("the body was read");
        });
    let body = axum::body::Body::from_stream(untouched);
    let answer = send(Method::POST, "/api/open/v1/cups/bulk", &HEADERS, body).await;
    assert_eq!((answer.status, answer.code()), (401, "access.unauthenticated"));
}

#[tokio::test]
async fn a_signature_covers_method_path_query_and_body_as_sent() {
    let word = format!("POST /api/open/v1/cups?a=%20b {}", BODY.len());
    let headers = [HEADERS[0], HEADERS[1], ("word", &word)];
    let answer = send(Method::POST, "/api/open/v1/cups?a=%20b", &headers, BODY).await;
    assert_eq!(
        (answer.status, answer.body["id"].as_str()),
        (201, Some("apc_1 k1 2 0 1 ¥0.01"))
    );
    assert_eq!(
        send(Method::POST, "/api/open/v1/cups?a=+b", &headers, BODY)
            .await
            .status,
        422
    );
}

#[tokio::test]
async fn a_bulk_router_takes_larger_bodies() {
    let large = vec![b'x'; 2 * 1024 * 1024];
    let answer = send(Method::POST, "/api/open/v1/cups/bulk", &[("word", "open")], large).await;
    assert_eq!(
        (answer.status, answer.body["id"].as_str()),
        (200, Some("apc_1 2097152"))
    );
    let larger = vec![b'x'; 32 * 1024 * 1024 + 1];
    assert_eq!(
        send(
            Method::POST,
            "/api/open/v1/cups/bulk",
            &[("word", "open")],
            larger
        )
        .await
        .status,
        413
    );
}

#[tokio::test]
async fn a_handler_that_was_mounted_without_the_gate_lets_nobody_in() {
    let headers = [HEADERS[0], HEADERS[1], ("word", "open")];
    let answer = send(Method::POST, "/not-behind-the-gate", &headers, BODY).await;
    assert_eq!((answer.status, answer.code()), (401, "access.unauthenticated"));
}

#[tokio::test]
async fn unknown_methods_and_paths_need_no_credentials() {
    assert_eq!(
        send(Method::DELETE, "/api/open/v1/cups/bulk", &[], "")
            .await
            .status,
        405
    );
    assert_eq!(send(Method::GET, "/api/open/v1/mugs", &[], "").await.status, 404);
}
