//! What every request passes: trace ids, Problems of the server itself, headers, metrics.

use std::sync::{Arc, Mutex};

use axum::http::Method;
use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

use crate::app::{get, send};

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let unknown = get("/nowhere").await;
    assert_eq!((unknown.status, unknown.code()), (404, "request.route_unknown"));
    let method = send(Method::PATCH, "/api/open/v1/cups", &[], "").await;
    assert_eq!(
        (method.status, method.code()),
        (405, "request.method_not_allowed")
    );
    let allowed = method.header("allow");
    assert!(allowed.contains("GET") && allowed.contains("POST"), "{allowed}");
}

#[tokio::test]
async fn panics_and_hangs_become_problems() {
    let panicked = get("/panics").await;
    assert_eq!((panicked.status, panicked.code()), (500, "system.panicked"));
    let hung = get("/hangs").await;
    assert_eq!(
        (hung.status, hung.code(), hung.header("retry-after")),
        (503, "system.timeout", "1")
    );
}

#[tokio::test]
async fn the_trace_id_of_the_caller_is_kept_and_a_missing_one_is_made() {
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    assert_eq!(
        send(Method::GET, "/breaks", &[("traceparent", &parent)], "")
            .await
            .header("trace-id"),
        trace
    );
    let made = send(Method::GET, "/breaks", &[("traceparent", "nonsense")], "").await;
    assert_eq!(made.header("trace-id").len(), 32);
}

#[tokio::test]
async fn answers_to_programs_are_neither_stored_nor_framed() {
    let answer = get("/api/open/v1/cups").await;
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(
        answer.header("content-security-policy"),
        "default-src 'none'; frame-ancestors 'none'"
    );
    assert_eq!(get("/nowhere").await.header("x-content-type-options"), "nosniff");
    assert_eq!(get("/nowhere").await.header("content-security-policy"), "");
}

/// Remembers what was counted, as text.
#[derive(Clone, Default)]
struct Book(Arc<Mutex<Vec<String>>>);

struct Line(Book, String);
impl CounterFn for Line {
    fn increment(&self, by: u64) {
        self.0.0.lock().unwrap().push(format!("{} +{by}", self.1));
    }
    fn absolute(&self, _: u64) {}
}
impl HistogramFn for Line {
    fn record(&self, _: f64) {
        self.0.0.lock().unwrap().push(self.1.clone());
    }
}

impl Recorder for Book {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::new(Line(self.clone(), key.to_string())))
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(Line(self.clone(), key.to_string())))
    }
}

#[test]
fn metrics_carry_the_route_and_never_the_path() {
    let book = Book::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    metrics::with_local_recorder(&book, || {
        runtime.block_on(async {
            get("/api/open/v1/cups/cup_0000000000001?phone=13800138000").await;
            get("/secret/scan").await;
            send(Method::from_bytes(b"BREW").unwrap(), "/secret/scan", &[], "").await;
        });
    });
    let lines = book.0.lock().unwrap().join("\n");
    assert!(lines.contains("/api/open/v1/cups/{cup_id}"), "{lines}");
    assert!(
        lines.contains("huika_http_request_seconds") && lines.contains("huika_http_requests_total"),
        "{lines}"
    );
    assert!(lines.contains("unmatched") && lines.contains("other"), "{lines}");
    for absent in ["0000000000001", "13800138000", "secret", "BREW"] {
        assert!(!lines.contains(absent), "{absent} in {lines}");
    }
}
