//! What would let somebody in is nowhere in the database.

use huika_staff::LogIn;
use huika_testing::db_test;

use crate::rig::{EMAIL, Node, PASSWORD};

/// Every column of every table that this module writes to.
const TABLES: [(&str, &[&str]); 6] = [
    ("staff_operator", &["email", "password_hash", "display_name"]),
    ("staff_first_owner", &[]),
    ("staff_session", &["token_hash"]),
    ("staff_login_attempt", &["email_index"]),
    ("staff_api_client", &["name", "secret_sealed", "permissions"]),
    ("kernel_audit", &["actor", "action", "subject", "detail"]),
];

db_test! { migrations = huika_staff::migrations,
    async fn secrets_are_not_in_the_database_in_clear(cx) {
        let node = Node::with_owner(&cx).await;
        let token = node.token().await;
        let (_, secret) = node.client(&token, &[]).await;
        // People type their password where the address belongs.
        node.log_in("typed-by-mistake-9", "x").await;

        let mut stored = Vec::new();
        for (table, columns) in TABLES {
            for row in cx.fetch_all(&format!("SELECT * FROM {table}")).await {
                for column in columns {
                    match row.get::<String>(column) {
                        Ok(text) => stored.push(text.into_bytes()),
                        Err(_) => stored.push(row.get::<Vec<u8>>(column).unwrap()),
                    }
                }
            }
        }
        let holds = |needle: &str| stored.iter().any(|value| value.windows(needle.len()).any(|part| part == needle.as_bytes()));
        assert!(holds(EMAIL) && holds("$argon2id$"), "the search finds what is there");
        for clear in [PASSWORD, &token, &token[4..], &secret, &secret[4..], "typed-by-mistake-9"] {
            assert!(!holds(clear), "{clear} is stored in clear");
        }
    }

    async fn debug_texts_hold_no_secrets(cx) {
        let node = Node::new(&cx);
        let owner = node.staff.ensure_owner(EMAIL, Some(PASSWORD.into())).await.unwrap().unwrap();
        let session = node.staff.log_in(LogIn { email: EMAIL, password: PASSWORD.into(), code: None, from: None }).await.unwrap();
        let shown = format!("{owner:?} {session:?}");
        assert!(!shown.contains(PASSWORD) && !shown.contains(&session.token), "{shown}");
    }
}
