//! The server as its callers meet it: killed in the middle of work, and told to stop in the middle of an answer.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use huika_core::{Clock, Timestamp};
use huika_testing::{TestDb, db_test};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::process::{Place, Server, owner_token, until};

const CLIENTS: usize = 16;
const PURCHASES_EACH: usize = 20;
/// After how many answers the server is killed.
const KILLS: [usize; 2] = [60, 180];
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// A caller gives up on an answer and asks again.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Tries of one purchase, while the server is away for a second or two.
const TRIES: usize = 2_000;

fn body_of(number: usize, member: &str) -> Value {
    json!({
        "source": "test", "external_order_no": format!("K-{number}"), "member": {"member_id": member},
        "paid": {"minor": 10_000 + number, "currency": "CNY"},
    })
}

/// Sends one purchase until it is answered, as a till does: the same number and the same key each time.
async fn record(http: reqwest::Client, url: String, token: String, number: usize, body: Value) -> Value {
    for _ in 0..TRIES {
        let request = http
            .post(&url)
            .bearer_auth(&token)
            .header("idempotency-key", format!("key-{number}"))
            .timeout(ANSWER_WITHIN)
            .json(&body);
        let answer = match request.send().await {
            Ok(response) => {
                let status = response.status().as_u16();
                response.json::<Value>().await.map(|body| (status, body))
            }
            Err(error) => Err(error),
        };
        match answer {
            Ok((200 | 201, receipt)) => return receipt,
            // Busy, or stopping: the words say to send the same again.
            Ok((503, _)) | Err(_) => Clock::system().sleep(LOOK_AGAIN).await,
            Ok((status, problem)) => panic!("purchase {number}: {status} {problem}"),
        }
    }
    panic!("purchase {number} is never answered");
}

async fn register(server: &Server, token: &str, number: usize) -> String {
    let body = json!({"phone": format!("1380013{number:04}"), "channel": "pos"});
    let sent = server
        .send(token, reqwest::Method::POST, "/api/open/v1/members", Some(body))
        .await;
    let (status, member) = sent.unwrap();
    assert_eq!(status, 201, "{member}");
    member["id"].as_str().unwrap().to_owned()
}

db_test! { unmigrated,
    /// A till that has its answer may throw its receipt away: what was answered is there, once, whatever happens.
    async fn kill_minus_nine_loses_nothing_answered(cx) {
        let place = Place::new();
        let arguments = |listen: &str| -> Vec<String> {
            ["serve", "--migrate", "--database-url", cx.url(), "--listen", listen].map(str::to_owned).into()
        };
        let start = |listen: &str| {
            let arguments = arguments(listen);
            place.serve(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), &[])
        };
        let mut server = start("127.0.0.1:0");
        let address = server.address();
        let token = owner_token(&place, &server).await;
        let mut members = Vec::new();
        for number in 0..4 {
            members.push(register(&server, &token, number).await);
        }

        // Sixteen tills record, while the server is killed and started again.
        let answered = Arc::new(AtomicUsize::new(0));
        let receipts: Arc<Mutex<HashMap<usize, Value>>> = Arc::default();
        let url = format!("{}/api/open/v1/purchases", server.base_url);
        let mut tills = tokio::task::JoinSet::new();
        for till in 0..CLIENTS {
            let (http, url, token, members) = (reqwest::Client::new(), url.clone(), token.clone(), members.clone());
            let (answered, receipts) = (Arc::clone(&answered), Arc::clone(&receipts));
            tills.spawn(async move {
                for step in 0..PURCHASES_EACH {
                    let number = till * PURCHASES_EACH + step;
                    let body = body_of(number, &members[number % members.len()]);
                    let receipt = record(http.clone(), url.clone(), token.clone(), number, body).await;
                    receipts.lock().unwrap().insert(number, receipt);
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for kill_after in KILLS {
            while answered.load(Ordering::SeqCst) < kill_after {
                Clock::system().sleep(LOOK_AGAIN).await;
            }
            server.process.kill();
            server = start(&address);
        }
        while let Some(till) = tills.join_next().await {
            till.unwrap();
        }

        // Each answer stands: sent once more, the same purchase comes back.
        let receipts = std::mem::take(&mut *receipts.lock().unwrap());
        assert_eq!(receipts.len(), CLIENTS * PURCHASES_EACH);
        for (number, receipt) in &receipts {
            let body = body_of(*number, &members[number % members.len()]);
            let again = record(server.http.clone(), url.clone(), token.clone(), *number, body).await;
            assert_eq!((&again["id"], &again["replayed"]), (&receipt["id"], &json!(true)), "purchase {number}");
        }
        server.stop().await;

        // And nothing is there twice.
        let report = place.huika(&["report", "--json", "--database-url", cx.url()]).done().json();
        assert_eq!(report["sales"], receipts.len(), "{report}");
        let expected: usize = receipts.keys().map(|number| 10_000 + number).sum();
        assert_eq!(report["net_minor"], expected, "{report}");
        let verified = place.huika(&["verify", "--json", "--database-url", cx.url()]).done().json();
        assert_eq!((&verified["clean"], &verified["orders"]["documents"]), (&json!(true), &json!(receipts.len())), "{verified}");
    }

    /// An orchestrator stops a server while people pay.
    async fn graceful_stop_finishes_what_has_begun(cx) {
        let place = Place::new();
        let mut server =
            place.serve(&["serve", "--migrate", "--database-url", cx.url(), "--listen", "127.0.0.1:0"], &[]);
        let token = owner_token(&place, &server).await;
        let member = register(&server, &token, 1).await;
        let address = server.address();

        // A request whose body is still on its way; 100 Continue says that the server waits for it.
        let body = body_of(1, &member).to_string();
        let head = format!(
            "POST /api/open/v1/purchases HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\nidempotency-key: slow\r\nexpect: 100-continue\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        let mut connection = TcpStream::connect(&address).await.unwrap();
        connection.write_all(head.as_bytes()).await.unwrap();
        let mut interim = [0; 25];
        connection.read_exact(&mut interim).await.unwrap();
        assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");

        // From the signal on nobody new is let in.
        server.process.terminate();
        while TcpStream::connect(&address).await.is_ok() {
            Clock::system().sleep(LOOK_AGAIN).await;
        }
        connection.write_all(body.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
        assert!(server.process.ended().await.success());

        // The node number was given back, not left to lapse.
        let rows = cx.fetch_all("SELECT leased_until FROM kernel_node").await;
        for row in &rows {
            let until: Timestamp = row.get("leased_until").unwrap();
            assert!(until <= Clock::system().now(), "leased until {until}");
        }
        assert_eq!(rows.len(), 1);
        let report = place.huika(&["report", "--json", "--database-url", cx.url()]).done().json();
        assert_eq!(report["sales"], 1, "{report}");
    }
}

#[tokio::test]
async fn a_taken_port_is_said_before_anything_is_made() {
    let place = Place::new();
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = place.huika(&["serve", "--json", "--listen", &address]);
    assert_eq!(
        (refused.code, &refused.json()["error"]["code"]),
        (1, &json!("server.cannot_listen"))
    );
    assert!(!place.path("data").exists());
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_and_bulk_routes_take_more() {
    let place = Place::new();
    let variables = [("HUIKA_SERVER__MAX_BODY_BYTES", "2048")];
    let server = place.serve(&["serve", "--listen", "127.0.0.1:0"], &variables);
    let token = owner_token(&place, &server).await;
    let member = register(&server, &token, 1).await;
    let mut purchase = body_of(1, &member);
    purchase["lines"] = json!(vec![
        json!({"name": "x".repeat(150), "quantity": 1, "paid_minor": 0});
        20
    ]);
    let single = server
        .send(
            &token,
            reqwest::Method::POST,
            "/api/open/v1/purchases",
            Some(purchase.clone()),
        )
        .await;
    let (status, problem) = single.unwrap();
    assert_eq!((status, &problem["code"]), (413, &json!("request.too_large")));

    purchase["paid"]["minor"] = json!(0);
    let bulk = json!({"purchases": [purchase]});
    let path = "/api/open/v1/purchases/bulk";
    let (status, answer) = server
        .send(&token, reqwest::Method::POST, path, Some(bulk))
        .await
        .unwrap();
    assert_eq!(status, 200, "{answer}");
    assert!(answer["items"][0]["receipt"].is_object(), "{answer}");
    server.stop().await;
}

/// Two processes with one number would make the same ids.
#[tokio::test]
async fn a_server_that_lost_its_number_stops_at_once() {
    let cx = TestDb::sqlite().await;
    let place = Place::new();
    let mut server = place.serve(
        &["serve", "--database-url", cx.url(), "--listen", "127.0.0.1:0"],
        &[],
    );
    // Somebody else took the number, as happens when a process was cut off from its database for a minute.
    assert_eq!(
        cx.execute("UPDATE kernel_node SET fence = fence + 1", vec![])
            .await,
        1
    );
    assert_eq!(server.process.ended().await.code(), Some(1));
    let log = place.read("server.log");
    assert!(
        log.contains("the node number is lost") && log.contains("node.lease_lost"),
        "{log}"
    );
    assert_eq!(server.said_more(), "", "one object was printed before");
}

#[tokio::test]
async fn a_worker_runs_beside_a_server_and_stops_in_order() {
    let place = Place::new();
    let variables = [("HUIKA_WORKER__ENABLED", "false")];
    let server = place.serve(&["serve", "--listen", "127.0.0.1:0"], &variables);
    let worker = place.serve(&["worker", "--parallel", "2", "--listen", "127.0.0.1:0"], &[]);
    assert_eq!(
        (&worker.said["parallel"], &worker.said["node"]),
        (&json!(2), &json!(1))
    );
    for path in ["/healthz", "/readyz", "/metrics"] {
        let response = worker
            .http
            .get(format!("{}{path}", worker.base_url))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status().as_u16(), 200, "{path}");
    }
    // It serves no API; what it does shows in its metrics.
    let api = format!("{}/api/admin/v1/jobs", worker.base_url);
    assert_eq!(worker.http.get(api).send().await.unwrap().status().as_u16(), 404);
    // The server runs no worker, and says all the same how late the jobs are.
    let metrics = format!("{}/metrics", server.base_url);
    let text = server
        .http
        .get(metrics)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        text.contains("huika_job_lag_seconds") && text.contains("huika_jobs_dead"),
        "{text}"
    );
    let metrics = format!("{}/metrics", worker.base_url);
    let stopwatch = Clock::system().stopwatch();
    while !worker
        .http
        .get(&metrics)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap()
        .contains("huika_tx_seconds")
    {
        assert!(
            stopwatch.elapsed() < ANSWER_WITHIN,
            "nothing shows in the metrics"
        );
        Clock::system().sleep(LOOK_AGAIN).await;
    }
    worker.stop().await;

    // Without an address it runs too.
    let worker = place.start(&["worker"], &[]);
    until("the worker runs", || {
        place.read("server.log").matches("the worker runs").count() == 2
    })
    .await;
    worker.terminate();
    let mut worker = worker;
    assert!(worker.ended().await.success());
    server.stop().await;
}

/// A log may be read by many; a password that nobody was told helps nobody.
#[tokio::test]
async fn the_first_password_is_on_disk_before_it_counts() {
    let place = Place::new();
    std::fs::create_dir(place.path("data")).unwrap();
    place.write("data/owner-login.json", "of an earlier installation");
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    let refused = place.huika(&[&serve[..], &["--json"]].concat());
    assert_eq!(
        (
            refused.code,
            &refused.json()["error"]["code"],
            refused.err.contains("password")
        ),
        (1, &json!("owner.login_unwritable"), false),
        "{}",
        refused.err
    );
    assert_eq!(place.read("data/owner-login.json"), "of an earlier installation");

    // Nobody has become the owner meanwhile, with a password that is lost.
    std::fs::remove_file(place.path("data/owner-login.json")).unwrap();
    let server = place.serve(&serve, &[]);
    let token = owner_token(&place, &server).await;
    assert!(!token.is_empty());
    assert_eq!(server.said["owner_login_file"], "data/owner-login.json");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let file = std::fs::metadata(place.path("data/owner-login.json")).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
    }
    server.stop().await;
}

#[tokio::test]
async fn an_owner_who_lost_the_password_gets_another_one() {
    let place = Place::new();
    let reset = ["owner", "reset-password", "--json"];
    place.huika(&["migrate"]).done();
    let nobody = place.huika(&reset);
    assert_eq!(
        (nobody.code, &nobody.json()["error"]["code"]),
        (1, &json!("owner.missing"))
    );

    let server = place.serve(&["serve", "--listen", "127.0.0.1:0"], &[]);
    let first = place.read("data/owner-login.json");
    // The file may hold what is in force: it is not replaced.
    let refused = place.huika(&reset);
    assert_eq!(
        (refused.code, &refused.json()["error"]["code"]),
        (1, &json!("owner.login_unwritable"))
    );
    owner_token(&place, &server).await;

    std::fs::remove_file(place.path("data/owner-login.json")).unwrap();
    let told = place.huika(&reset).done().json();
    assert_eq!(
        told,
        json!({"email": "owner@localhost", "owner_login_file": "data/owner-login.json"})
    );
    assert_ne!(place.read("data/owner-login.json"), first);
    owner_token(&place, &server).await;
    let url = format!("{}/api/admin/v1/sessions", server.base_url);
    let response = server
        .http
        .post(url)
        .header("content-type", "application/json")
        .body(first)
        .send()
        .await;
    assert_eq!(response.unwrap().status().as_u16(), 401);
    server.stop().await;
}
