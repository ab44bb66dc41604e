//! Every route asks who comes and what they may do. The walk follows the description of the API, so a route that
//! forgets to ask is found when it is added.

use axum::{
    Router,
    body::{Body, to_bytes},
    http::Request,
};
use huika::{Metrics, Probes, compose};
use huika_core::{Actor, Keyring, Timestamp};
use huika_http::{BodyLimit, HttpOptions};
use huika_staff::{NewApiClient, NonceStore, SignedText};
use huika_testing::TestDb;
use serde_json::{Map, Value, json};
use tower::ServiceExt as _;

use crate::process::{Place, owner_token};

/// Routes that ask for no credentials. This list only shrinks.
const PUBLIC: [&str; 2] = [
    "POST /api/admin/v1/invitations/accept",
    "POST /api/admin/v1/sessions",
];
/// How deep an example of a body goes.
const DEPTH: usize = 12;

struct Operation {
    method: String,
    path: String,
    text: Value,
}

impl Operation {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn is_public(&self) -> bool {
        self.text["security"]
            .as_array()
            .is_some_and(|ways| ways.iter().any(|way| way == &json!({})))
    }
}

fn operations(api: &Value) -> Vec<Operation> {
    let mut operations = Vec::new();
    for (path, item) in api["paths"].as_object().unwrap() {
        for method in ["get", "post", "put", "patch", "delete"] {
            if let Some(text) = item.get(method) {
                operations.push(Operation {
                    method: method.to_uppercase(),
                    path: path.clone(),
                    text: text.clone(),
                });
            }
        }
    }
    operations
}

/// A valid value of a schema, from its examples.
fn example(api: &Value, schema: &Value, depth: usize) -> Value {
    assert!(depth > 0, "the schema has no end: {schema}");
    if let Some(example) = schema.get("example").or_else(|| schema["examples"].get(0)) {
        return example.clone();
    }
    if let Some(reference) = schema["$ref"].as_str() {
        return example(
            api,
            api.pointer(reference.trim_start_matches('#')).unwrap(),
            depth - 1,
        );
    }
    if let Some(value) = schema["enum"]
        .get(0)
        .or_else(|| schema.get("const"))
        .or_else(|| schema.get("default"))
    {
        return value.clone();
    }
    for joined in ["oneOf", "anyOf"] {
        if let Some(first) = schema[joined]
            .as_array()
            .and_then(|all| all.iter().find(|one| one["type"] != "null"))
        {
            return example(api, first, depth - 1);
        }
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().find(|kind| *kind != "null").unwrap().clone(),
        kind => kind.clone(),
    };
    match kind.as_str() {
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(json!(1)),
        Some("boolean") => json!(true),
        Some("array") => json!([example(api, &schema["items"], depth - 1)]),
        Some("string") if schema["format"] == "date-time" => json!("2026-11-20T10:00:00Z"),
        Some("string") => json!("x".repeat(schema["minLength"].as_u64().unwrap_or(1).max(1) as usize)),
        _ => {
            let mut object = Map::new();
            for part in schema["allOf"].as_array().into_iter().flatten() {
                object.extend(
                    example(api, part, depth - 1)
                        .as_object()
                        .cloned()
                        .unwrap_or_default(),
                );
            }
            let required: Vec<&str> = schema["required"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                if required.contains(&name.as_str()) {
                    object.insert(name.clone(), example(api, property, depth - 1));
                }
            }
            Value::Object(object)
        }
    }
}

/// The path, the query, the headers and the body of a valid request.
fn request_of(api: &Value, operation: &Operation) -> (String, String, Vec<(String, String)>, String) {
    let (mut path, mut query, mut headers) = (operation.path.clone(), Vec::new(), Vec::new());
    for parameter in operation.text["parameters"].as_array().into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap();
        let value = parameter
            .get("example")
            .cloned()
            .unwrap_or_else(|| example(api, &parameter["schema"], DEPTH));
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match parameter["in"].as_str().unwrap() {
            "path" => path = path.replace(&format!("{{{name}}}"), &value),
            "query" if parameter["required"] == true => query.push(format!("{name}={value}")),
            "header" => headers.push((name.to_owned(), value)),
            _ => {}
        }
    }
    let schema = &operation.text["requestBody"]["content"]["application/json"]["schema"];
    let body = if schema.is_null() {
        String::new()
    } else {
        example(api, schema, DEPTH).to_string()
    };
    if !body.is_empty() {
        headers.push(("content-type".into(), "application/json".into()));
    }
    (path, query.join("&"), headers, body)
}

struct App {
    router: Router,
    client_id: String,
    secret: String,
    now: Timestamp,
    sent: usize,
}

impl App {
    async fn open(cx: &TestDb) -> (Self, Value) {
        let place = compose::Workplace::enter(cx.db.clone()).await.unwrap();
        let keyring = Keyring::parse(&Keyring::generate(&cx.rng)).unwrap();
        let nonces = NonceStore::in_process(cx.clock.now());
        let services = compose::Services::start(&place, keyring, nonces, &Default::default());
        let owner = Actor::with_all_rights("opr_test");
        let asked = NewApiClient {
            name: "Nobody".into(),
            permissions: Vec::new(),
            stores: huika_core::StoreScope::All,
        };
        let (client, secret) = services.staff.create_api_client(&owner, asked).await.unwrap();
        services
            .loyalty
            .publish_program(&owner, huika_loyalty::default_rules(), None)
            .await
            .unwrap();
        let probes = Probes::new(cx.db.clone(), Metrics::detached(&cx.clock));
        let options = HttpOptions::new(cx.clock.clone(), cx.rng.clone());
        let api = serde_json::to_value(services.description()).unwrap();
        let router = services.router(probes, BodyLimit::DEFAULT, options);
        let (client_id, secret, now) = (client.id.to_string(), secret.to_string(), cx.clock.now());
        (
            Self {
                router,
                client_id,
                secret,
                now,
                sent: 0,
            },
            api,
        )
    }

    async fn send(&mut self, api: &Value, operation: &Operation, signed: bool) -> (u16, Value) {
        let (path, query, headers, body) = request_of(api, operation);
        let uri = if query.is_empty() {
            path.clone()
        } else {
            format!("{path}?{query}")
        };
        let mut request = Request::builder().method(operation.method.as_str()).uri(uri);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if signed {
            self.sent += 1;
            let (timestamp, nonce) = (
                format!("{}", self.now.as_millis() / 1_000),
                format!("nonce-{:016}", self.sent),
            );
            let text = SignedText {
                method: &operation.method,
                path: &path,
                query: &query,
                timestamp: &timestamp,
                nonce: &nonce,
                body: body.as_bytes(),
            };
            request = request
                .header("huika-client", &self.client_id)
                .header("huika-timestamp", &timestamp)
                .header("huika-nonce", &nonce)
                .header("huika-signature", text.sign(&self.secret));
        }
        let response = self
            .router
            .clone()
            .oneshot(request.body(Body::from(body)).unwrap())
            .await
            .unwrap();
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }
}

fn migrations() -> Vec<huika_db::Migration> {
    compose::migrations()
        .into_iter()
        .filter(|migration| migration.module != "kernel")
        .collect()
}

#[tokio::test]
async fn every_route_has_a_permission_case() {
    let cx = TestDb::sqlite().await;
    cx.migrate(&migrations()).await;
    let (mut app, api) = App::open(&cx).await;
    let operations = operations(&api);
    assert!(
        operations.len() > 25,
        "only {} operations were seen",
        operations.len()
    );

    let public: Vec<String> = operations
        .iter()
        .filter(|operation| operation.is_public())
        .map(Operation::name)
        .collect();
    assert_eq!(public, PUBLIC, "routes without credentials");

    for operation in operations.iter().filter(|operation| !operation.is_public()) {
        let name = operation.name();
        let (status, problem) = app.send(&api, operation, false).await;
        assert_eq!(
            (status, &problem["code"]),
            (401, &json!("access.unauthenticated")),
            "{name} without credentials"
        );

        let (status, answer) = app.send(&api, operation, true).await;
        let code = answer["code"].as_str().unwrap_or_default();
        let refused = ["access.denied", "staff.operator_needed"].contains(&code);
        assert!(
            status == 403 && refused,
            "{name} without rights: {status} {answer}"
        );
    }
}

/// What a page says is for everybody; what an operator asks for is not.
#[tokio::test]
async fn pages_and_probes_need_no_credentials_and_show_no_data() {
    let place = Place::new();
    let server = place.serve(&["serve", "--listen", "127.0.0.1:0"], &[]);
    let token = owner_token(&place, &server).await;
    let body = json!({"phone": "13800138123", "channel": "pos", "nickname": "王二麻"});
    let registered = server
        .send(&token, reqwest::Method::POST, "/api/open/v1/members", Some(body))
        .await;
    let member = registered.unwrap().1;
    let id = member["id"].as_str().unwrap();
    let secrets = [
        id,
        member["member"]["card_number"].as_str().unwrap(),
        "8123",
        "王二麻",
        &token,
        "owner@localhost",
    ];

    let (page, card) = (format!("/admin/members/{id}"), format!("/m/{id}"));
    for (path, expected) in [
        ("/", 200),
        ("/healthz", 200),
        ("/readyz", 200),
        ("/metrics", 200),
        ("/openapi.json", 200),
        ("/m", 503),
        ("/m/", 503),
        (&card, 503),
        ("/admin", 503),
        ("/admin/", 503),
        (&page, 503),
        ("/pos", 503),
        ("/pos/", 503),
        ("/nothing", 404),
        ("/api/nothing", 404),
    ] {
        let response = server
            .http
            .get(format!("{}{path}", server.base_url))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status().as_u16(), expected, "{path}");
        let text = response.text().await.unwrap();
        assert_eq!(text.contains("make web"), expected == 503, "{path}");
        for secret in secrets {
            assert!(!text.contains(secret), "{path} shows {secret}");
        }
    }
    server.stop().await;
}
