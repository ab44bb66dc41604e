//! Personal data: no phone, name, birthday or identity number is in clear in any file that Huika writes.

use std::io::Read as _;

use flate2::read::MultiGzDecoder;
use huika_testing::{Engine, TestDb, db_test};
use serde_json::json;

use crate::process::Place;

/// What is printed on an identity card, up to its last digit.
const IDENTITY_NUMBER: &str = "11010519491231002";

/// What else a person tells. None of it stands in a file by chance.
const BIRTHDAY: &str = "1949-12-31";
const REAL_NAME: &str = "欧阳无忌";
const ADDRESS: &str = "静安区南京西路1号";
const EMAIL: &str = "wuji@mail.example";

fn assert_holds_none(what: &str, bytes: &[u8], traces: &[String]) {
    assert!(!bytes.is_empty(), "{what} is empty");
    for trace in traces {
        let found = bytes
            .windows(trace.len())
            .position(|window| window == trace.as_bytes());
        let around = found
            .map(|at| String::from_utf8_lossy(&bytes[at.saturating_sub(80)..(at + 40).min(bytes.len())]));
        assert!(found.is_none(), "{what} holds {trace}: {around:?}");
    }
}

/// Every value of every table as a line of text, as a dump shows it; bytes in hexadecimal.
async fn dump_of(cx: &TestDb) -> Vec<u8> {
    let columns = match cx.db.engine() {
        Engine::Sqlite => {
            "SELECT m.name AS t, i.name AS c, CASE i.type WHEN 'BLOB' THEN 'LOWER(HEX(#))' ELSE 'CAST(# AS TEXT)' END AS v \
             FROM sqlite_master m JOIN pragma_table_info(m.name) i WHERE m.type = 'table'"
        }
        Engine::Postgres => {
            "SELECT CAST(table_name AS TEXT) AS t, CAST(column_name AS TEXT) AS c, \
             CASE data_type WHEN 'bytea' THEN 'ENCODE(#, ''hex'')' ELSE 'CAST(# AS TEXT)' END AS v \
             FROM information_schema.columns WHERE table_schema = current_schema()"
        }
        Engine::Mysql => {
            "SELECT CAST(table_name AS CHAR) AS t, CAST(column_name AS CHAR) AS c, \
             CASE data_type WHEN 'varbinary' THEN 'LOWER(HEX(#))' ELSE 'CAST(# AS CHAR)' END AS v \
             FROM information_schema.columns WHERE table_schema = DATABASE()"
        }
    };
    let columns = cx.fetch_all(columns).await;
    assert!(columns.len() > 100, "only {} columns were seen", columns.len());
    let mut dump = Vec::new();
    for column in columns {
        let [table, name, value] = ["t", "c", "v"].map(|part| column.get::<String>(part).unwrap());
        let value = value.replace('#', &name);
        for row in cx.fetch_all(&format!("SELECT {value} AS v FROM {table}")).await {
            let text: Option<String> = row.get("v").unwrap();
            dump.extend(text.unwrap_or_default().bytes().chain([b'\n']));
        }
    }
    dump
}

db_test! { unmigrated,
    async fn a_dump_holds_no_phone_in_clear(cx) {
        let place = Place::new();
        let said = place.huika(&["demo", "--members", "30", "--json"]).done().json();
        let demo = "sqlite:data/demo.db";
        place.huika(&["backup", "--out", "demo.gz", "--database-url", demo]).done();
        let url = cx.url();
        place.huika(&["restore", "demo.gz", "--database-url", url]).done();
        let keys = [("HUIKA_SECURITY__KEY_FILE", "data/demo.key")];
        // Whoever looks for a fault turns logs up.
        let variables = [keys[0], ("HUIKA_LOG", "debug")];
        let server = place.serve(&["serve", "--listen", "127.0.0.1:0", "--database-url", url], &variables);
        let token = server
            .log_in(
                said["owner_email"].as_str().unwrap(),
                said["owner_password"].as_str().unwrap(),
            )
            .await;

        // Phones travel through every kind of request: taken, looked up, revealed, refused, and in a reason.
        let phones: Vec<String> = (0..5).map(|number| format!("1384455667{number}")).collect();
        let post = async |path: &str, body: serde_json::Value| {
            server
                .send(&token, reqwest::Method::POST, path, Some(body))
                .await
                .unwrap()
        };
        for phone in &phones {
            let body = json!({"phone": phone, "channel": "pos", "nickname": "小明"});
            let (status, member) = post("/api/open/v1/members", body).await;
            assert_eq!(status, 201);
            let id = member["id"].as_str().unwrap();
            assert_eq!(
                post("/api/open/v1/members/lookup", json!({"phone": phone}))
                    .await
                    .0,
                200
            );
            let purchase = json!({
                "source": "pos", "external_order_no": format!("P-{id}"), "member": {"phone": phone},
                "paid": {"minor": 26_800, "currency": "CNY"},
            });
            assert_eq!(post("/api/open/v1/purchases", purchase).await.0, 201);
            let revealed = server
                .send(
                    &token,
                    reqwest::Method::GET,
                    &format!("/api/open/v1/members/{id}/phone"),
                    None,
                )
                .await;
            assert_eq!(revealed.unwrap().0, 200);
            let profile = json!({"version": 1, "set": {
                "birthday": BIRTHDAY, "real_name": REAL_NAME, "id_number": format!("{IDENTITY_NUMBER}X"),
                "address": ADDRESS, "email": EMAIL,
            }});
            let path = format!("/api/admin/v1/members/{id}/profile");
            let changed = server.send(&token, reqwest::Method::PATCH, &path, Some(profile)).await.unwrap();
            assert_eq!(changed.0, 200, "{changed:?}");
            for field in ["birthday", "real_name", "id_number", "address", "email"] {
                let path = format!("{path}/{field}");
                assert_eq!(server.send(&token, reqwest::Method::GET, &path, None).await.unwrap().0, 200);
            }
            let search = json!({"name": REAL_NAME});
            assert_eq!(post("/api/admin/v1/member-searches", search).await.0, 200);
            // Systems that use phones with a suffix, or identity numbers, as customer numbers.
            for number in [format!("{phone}_wx"), format!("{IDENTITY_NUMBER}{}", &phone[10..])] {
                let person = json!({"external": {"issuer": "shop", "subject": number}, "channel": "pos"});
                assert_eq!(post("/api/open/v1/members", person).await.0, 201);
                let purchase = json!({
                    "source": "shop", "external_order_no": format!("S-{}-{id}", number.len()),
                    "member": {"customer_no": number}, "paid": {"minor": 26_800, "currency": "CNY"},
                });
                assert_eq!(post("/api/open/v1/purchases", purchase).await.0, 201);
            }
            let points = format!("/api/open/v1/members/{id}/points");
            let called = json!({"points": 10, "reason": format!("called from {phone}")});
            assert_eq!(post(&format!("{points}/earnings"), called.clone()).await.0, 201);
            let (status, spent) = post(&format!("{points}/redemptions"), called).await;
            assert_eq!(status, 201, "{spent}");
            let back = json!({
                "points": 5, "reason": format!("{phone} called again"), "posting_id": spent["posting_id"],
            });
            assert_eq!(post(&format!("{points}/returns"), back).await.0, 201);
            let reason = json!({"state": "frozen", "reason": format!("called from {phone}")});
            let path = format!("/api/open/v1/members/{id}/state");
            assert_eq!(
                server
                    .send(&token, reqwest::Method::PUT, &path, Some(reason))
                    .await
                    .unwrap()
                    .0,
                200
            );
            for wrong in [
                json!({"phone": phone, "channel": "门店"}),
                json!({"phone": format!("{phone}00"), "channel": "pos"}),
            ] {
                assert_eq!(post("/api/open/v1/members", wrong).await.0, 422);
            }
            assert_eq!(
                post("/api/open/v1/members/lookup", json!({"card_number": phone}))
                    .await
                    .0,
                422
            );
        }
        let metrics = server
            .http
            .get(format!("{}/metrics", server.base_url))
            .send()
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
        let audit = server
            .send(&token, reqwest::Method::GET, "/api/admin/v1/audit-entries", None)
            .await
            .unwrap();
        assert_eq!(audit.0, 200);

        place
            .huika(&["backup", "--out", "dump.gz", "--database-url", url])
            .done();
        let mut dump = Vec::new();
        MultiGzDecoder::new(std::fs::File::open(place.path("dump.gz")).unwrap())
            .read_to_end(&mut dump)
            .unwrap();
        let mut exported = String::new();
        for what in ["members", "purchases", "refunds", "entries"] {
            exported += &place
                .huika_with(&["export", "--what", what, "--database-url", url], &keys)
                .done()
                .out;
        }

        // The whole numbers of the demo, and of the others also the part that a mask would hide last.
        let demo_phones = (0..30).map(|number| format!("199000{number:05}"));
        let parts: Vec<String> = phones.iter().map(|phone| phone[3..].to_owned()).collect();
        let identity = std::iter::once(IDENTITY_NUMBER.to_owned());
        let told = [BIRTHDAY, REAL_NAME, ADDRESS, EMAIL].map(str::to_owned);
        let traces: Vec<String> =
            phones.into_iter().chain(parts).chain(demo_phones).chain(identity).chain(told).collect();
        // Bytes are shown in hexadecimal in a dump.
        let in_hex: Vec<String> = traces
            .iter()
            .map(|trace| trace.bytes().map(|byte| format!("{byte:02x}")).collect())
            .collect();
        let tables = dump_of(&cx).await;
        assert_holds_none("a table", &tables, &traces);
        assert_holds_none("a table", &tables, &in_hex);
        if cx.db.engine() == Engine::Sqlite {
            let file = url.trim_start_matches("sqlite:");
            assert_holds_none("the database file", &std::fs::read(file).unwrap(), &traces);
            assert_holds_none("the write-ahead log", &std::fs::read(format!("{file}-wal")).unwrap(), &traces);
        }
        let read = |name: &str| std::fs::read(place.path(name)).unwrap();
        assert_holds_none("the backup", &dump, &traces);
        assert_holds_none("the server's log", &read("server.log"), &traces);
        assert_holds_none("the exports", exported.as_bytes(), &traces);
        assert_holds_none("the metrics", &metrics, &traces);
        assert_holds_none("the audit log", audit.1.to_string().as_bytes(), &traces);
        server.stop().await;
    }
}
