//! The service and its routes over a test database, and how the tests talk to them.

use std::sync::Arc;

use axum::{
    Router,
    body::to_bytes,
    http::{HeaderMap, Method, Request},
};
use huika_core::Keyring;
use huika_db::Db;
use huika_http::{BodyLimit, HttpOptions, PeerAddress, authenticated, finish};
use huika_staff::{NonceStore, PERMISSIONS, SignedText, Staff, http};
use huika_testing::TestDb;
use serde_json::{Value, json};
use tower::ServiceExt as _;

pub(crate) const EMAIL: &str = "owner@example.com";
pub(crate) const PASSWORD: &str = "correct horse battery";

/// One node.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) staff: Staff,
    router: Router,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// The code of a problem; the status of anything else.
    pub(crate) fn code(&self) -> String {
        self.body["code"]
            .as_str()
            .map_or_else(|| self.status.to_string(), str::to_owned)
    }

    pub(crate) fn text(&self, pointer: &str) -> String {
        self.body
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    }
}

fn keyring() -> Arc<Keyring> {
    // All nodes of a test read the same key file.
    let rng = huika_core::Rng::seeded(1);
    Arc::new(Keyring::parse(&Keyring::generate(&rng)).unwrap())
}

impl Node {
    pub(crate) fn new(cx: &TestDb) -> Self {
        Self::on(cx, cx.db.clone(), NonceStore::in_process(cx.clock.now()))
    }

    pub(crate) fn on(cx: &TestDb, db: Db, nonces: NonceStore) -> Self {
        let staff = Staff::new(db, cx.ids.clone(), keyring(), PERMISSIONS.iter().copied(), nonces);
        let inside = authenticated(
            http::router(staff.clone()),
            Arc::new(staff.clone()),
            BodyLimit::DEFAULT,
        );
        let (router, _) = http::public_router(staff.clone()).merge(inside).split_for_parts();
        let options = HttpOptions::new(cx.clock.clone(), cx.rng.clone());
        Self {
            staff,
            router: finish(router, options),
        }
    }

    /// With the owner that the tests log in as.
    pub(crate) async fn with_owner(cx: &TestDb) -> Self {
        let node = Self::new(cx);
        node.staff
            .ensure_owner(EMAIL, Some(PASSWORD.to_owned()))
            .await
            .unwrap()
            .unwrap();
        node
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self
            .router
            .clone()
            .oneshot(request.body(axum::body::Body::from(body.to_owned())).unwrap())
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).unwrap()
        };
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        }
    }

    /// A log-in whose connection comes from an address.
    pub(crate) async fn log_in_from(&self, peer: &str, email: &str, password: &str) -> Answer {
        let body = json!({ "email": email, "password": password }).to_string();
        let router = self
            .router
            .clone()
            .layer(axum::Extension(PeerAddress(peer.parse().unwrap())));
        let node = Self {
            router,
            ..self.clone()
        };
        node.send(Method::POST, "/api/admin/v1/sessions", &[], &body)
            .await
    }

    pub(crate) async fn log_in(&self, email: &str, password: &str) -> Answer {
        let body = json!({ "email": email, "password": password }).to_string();
        self.send(Method::POST, "/api/admin/v1/sessions", &[], &body)
            .await
    }

    /// The token of a fresh session of the owner.
    pub(crate) async fn token(&self) -> String {
        let answer = self.log_in(EMAIL, PASSWORD).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.text("/token")
    }

    pub(crate) async fn with_token(&self, method: Method, path: &str, token: &str, body: Value) -> Answer {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.send(
            method,
            path,
            &[("authorization", &format!("Bearer {token}"))],
            &body,
        )
        .await
    }

    pub(crate) async fn me(&self, token: &str) -> Answer {
        self.with_token(Method::GET, "/api/admin/v1/operators/me", token, Value::Null)
            .await
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        self.with_token(Method::GET, path, token, Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, token: &str, body: Value) -> Answer {
        self.with_token(Method::POST, path, token, body).await
    }

    pub(crate) async fn put(&self, path: &str, token: &str, body: Value) -> Answer {
        self.with_token(Method::PUT, path, token, body).await
    }

    pub(crate) async fn delete(&self, path: &str, token: &str) -> Answer {
        self.with_token(Method::DELETE, path, token, Value::Null).await
    }

    /// A role with permissions: its id.
    pub(crate) async fn role(&self, token: &str, permissions: &[&str]) -> String {
        let body = json!({ "name": "店长", "permissions": permissions });
        let answer = self.post("/api/admin/v1/roles", token, body).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.text("/id")
    }

    /// A store.
    pub(crate) async fn store(&self, token: &str, code: &str) {
        let body = json!({ "code": code, "name_zh": "门店" });
        let answer = self.post("/api/admin/v1/stores", token, body).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
    }

    /// An operator who accepted an invitation: id and the token of a session.
    pub(crate) async fn operator(&self, token: &str, email: &str, access: Value) -> (String, String) {
        let body = json!({ "email": email, "display_name": "小王", "access": access });
        let invited = self.post("/api/admin/v1/invitations", token, body).await;
        assert_eq!(invited.status, 201, "{}", invited.body);
        let accepted = self.accept(&invited.text("/token"), PASSWORD).await;
        assert_eq!(accepted.status, 201, "{}", accepted.body);
        let session = self.log_in(email, PASSWORD).await;
        (accepted.text("/id"), session.text("/token"))
    }

    pub(crate) async fn accept(&self, token: &str, password: &str) -> Answer {
        let body = json!({ "token": token, "password": password }).to_string();
        self.send(Method::POST, "/api/admin/v1/invitations/accept", &[], &body)
            .await
    }

    /// A client with permissions: its id and secret.
    pub(crate) async fn client(&self, token: &str, permissions: &[&str]) -> (String, String) {
        let body = json!({ "name": "till", "permissions": permissions });
        let answer = self
            .with_token(Method::POST, "/api/admin/v1/api-clients", token, body)
            .await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        (answer.text("/client/id"), answer.text("/secret"))
    }
}

/// A request of an API client: what it signs and what it sends may differ.
#[derive(Clone)]
pub(crate) struct Signed {
    pub(crate) client: String,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) timestamp: String,
    pub(crate) nonce: String,
    pub(crate) body: String,
    pub(crate) signature: String,
}

impl Signed {
    /// Lists API clients with a right signature.
    pub(crate) fn list(client: &str, secret: &str, timestamp_s: i64, nonce: &str) -> Self {
        Self {
            client: client.to_owned(),
            method: Method::GET,
            path: "/api/admin/v1/api-clients".to_owned(),
            query: "limit=10".to_owned(),
            timestamp: timestamp_s.to_string(),
            nonce: nonce.to_owned(),
            body: String::new(),
            signature: String::new(),
        }
        .sign(secret)
    }

    pub(crate) fn sign(mut self, secret: &str) -> Self {
        let text = SignedText {
            method: self.method.as_str(),
            path: &self.path,
            query: &self.query,
            timestamp: &self.timestamp,
            nonce: &self.nonce,
            body: self.body.as_bytes(),
        };
        self.signature = text.sign(secret);
        self
    }

    pub(crate) async fn send(&self, node: &Node) -> Answer {
        let question = if self.query.is_empty() { "" } else { "?" };
        let uri = format!("{}{question}{}", self.path, self.query);
        let headers = [
            ("huika-client", self.client.as_str()),
            ("huika-timestamp", &self.timestamp),
            ("huika-nonce", &self.nonce),
            ("huika-signature", &self.signature),
        ];
        node.send(self.method.clone(), &uri, &headers, &self.body).await
    }
}
