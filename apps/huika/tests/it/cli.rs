//! The commands: what they do, what they print, how they end.

use huika_staff::SignedText;
use huika_testing::{Engine, db_test};
use serde_json::json;

use crate::process::Place;

#[test]
fn the_command_line_is_explained_and_misuse_ends_with_two() {
    let place = Place::new();
    let help = place.huika(&["--help"]).done();
    for command in [
        "serve", "worker", "migrate", "demo", "import", "export", "verify", "report", "openapi", "backup",
        "restore", "check",
    ] {
        assert!(help.out.contains(command), "{command}");
        let arguments = if command == "import" {
            vec![command, "purchases", "--help"]
        } else {
            vec![command, "--help"]
        };
        assert!(
            place.huika(&arguments).done().out.contains("--database-url"),
            "{command}"
        );
    }
    for misuse in [
        &["fly"][..],
        &["backup"],
        &["demo", "--members", "0"],
        &["import", "purchases", "x", "--format", "xls"],
    ] {
        let answer = place.huika(misuse);
        assert_eq!((answer.code, answer.out.as_str()), (2, ""), "{misuse:?}");
        assert!(!answer.err.is_empty());
    }
}

#[test]
fn errors_are_one_line_in_words_or_one_object() {
    let place = Place::new();
    let verify = ["verify", "--database-url", "sqlite:new.db"];
    let answer = place.huika(&verify);
    assert!(
        answer.code == 1 && answer.err.contains("database.file_missing"),
        "{}",
        answer.err
    );
    place.write("new.db", "");
    let answer = place.huika(&verify);
    assert_eq!((answer.code, answer.out.as_str()), (1, ""));
    assert_eq!(answer.err.lines().count(), 1, "{}", answer.err);
    assert!(
        answer.err.contains("huika migrate") && answer.err.contains("database.migrations_pending"),
        "{}",
        answer.err
    );

    let chinese = place.huika_with(&verify, &[("LANG", "zh_CN.UTF-8")]);
    assert!(chinese.err.contains("请先运行"), "{}", chinese.err);

    let answer = place.huika(&[&verify[..], &["--json"]].concat());
    assert_eq!((answer.code, answer.err.as_str()), (1, ""));
    let error = &answer.json()["error"];
    assert_eq!(error["code"], "database.migrations_pending");
    assert!(error["en"].is_string() && error["zh"].is_string());
}

/// What every command says to programs: one object, whether it succeeds or not.
#[tokio::test]
async fn with_json_every_command_prints_one_object() {
    let place = Place::new();
    place.write("orders.csv", &orders_csv(3, ""));
    let listen = ["--listen", "127.0.0.1:0"];
    let commands: [&[&str]; 14] = [
        &["migrate"],
        &["serve", listen[0], listen[1]],
        &["worker", listen[0], listen[1]],
        &["demo", "--members", "5", "--data-dir", "shop"],
        &["demo", "--serve", "--port", "0", "--data-dir", "shop"],
        &["import", "purchases", "orders.csv", "--format", "csv"],
        &["export", "--what", "purchases", "--out", "rows.csv"],
        &["verify"],
        &["report"],
        &["openapi"],
        &["backup", "--out", "backup.gz"],
        &["restore", "backup.gz", "--database-url", "sqlite:restored.db"],
        &["owner", "reset-password"],
        &["check"],
    ];
    let help = place.huika(&["--help"]).done().out;
    let listed = help
        .split("Commands:")
        .nth(1)
        .unwrap()
        .split("Options:")
        .next()
        .unwrap();
    let mut names = listed
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help");
    assert!(names.clone().count() > 10, "{help}");
    let forgotten = names.find(|name| !commands.iter().any(|command| command[0] == *name));
    assert_eq!(forgotten, None, "add it to this test");

    for command in commands {
        let arguments = [command, &["--json"]].concat();
        let broken = place.huika(&[&arguments[..], &["--config", "nowhere.toml"]].concat());
        assert_eq!((broken.code, broken.err.as_str()), (1, ""), "{command:?}");
        assert_eq!(broken.json()["error"]["code"], "config.invalid", "{command:?}");
        if matches!(command[0], "serve" | "worker") || command.contains(&"--serve") {
            let mut server = place.serve(command, &[]);
            assert!(server.said["base_url"].is_string(), "{command:?}");
            server.process.terminate();
            assert_eq!(server.said_more(), "", "{command:?}");
            assert!(server.process.ended().await.success(), "{command:?}");
        } else {
            if command[0] == "owner" {
                std::fs::remove_file(place.path("data/owner-login.json")).unwrap();
            }
            let answer = place.huika(&arguments).done();
            assert!(answer.json().is_object(), "{command:?}");
        }
    }
}

/// A mistyped address must not leave an empty shop behind that the next command finds.
#[test]
fn what_only_reads_makes_no_database() {
    let place = Place::new();
    for command in [
        &["verify"][..],
        &["report"],
        &["worker"],
        &["export", "--what", "members", "--out", "rows.csv"],
        &["backup", "--out", "backup.gz"],
        &["owner", "reset-password"],
        &["check"],
    ] {
        for url in ["sqlite:typo.db", "sqlite://typo.db?mode=rwc"] {
            let refused = place.huika(&[command, &["--json", "--database-url", url]].concat());
            assert_eq!(refused.code, 1, "{command:?}");
            assert!(
                refused.out.contains("no database file typo.db"),
                "{}",
                refused.out
            );
        }
    }
    assert_eq!(std::fs::read_dir(place.path(".")).unwrap().count(), 0);
}

#[test]
fn a_server_that_does_not_answer_leaves_no_half_backup() {
    let place = Place::new();
    let url = "postgres://u:secret@127.0.0.1:1/d";
    let refused = place.huika(&["backup", "--out", "backup.gz", "--database-url", url]);
    assert!(
        refused.code == 1 && refused.err.contains("database.unusable"),
        "{}",
        refused.err
    );
    assert!(!refused.err.contains("secret"), "{}", refused.err);
    assert_eq!(std::fs::read_dir(place.path(".")).unwrap().count(), 0);
}

#[test]
fn unknown_settings_are_errors_in_every_layer() {
    let place = Place::new();
    place.write(
        "huika.toml",
        "[database]\nurl = \"sqlite:x.db\"\npasword = \"secret\"\n",
    );
    let answer = place.huika(&["check"]);
    assert_eq!(answer.code, 1);
    assert!(
        answer.err.contains("huika.toml") && answer.err.contains("pasword"),
        "{}",
        answer.err
    );
    assert!(!answer.err.contains("secret"), "{}", answer.err);

    place.write("huika.toml", "");
    let answer = place.huika_with(&["check"], &[("HUIKA_DATABSE__URL", "sqlite:x.db")]);
    assert_eq!(answer.code, 1);
    assert!(answer.err.contains("HUIKA_DATABSE__URL"), "{}", answer.err);

    let answer = place.huika(&["check", "--config", "other.toml"]);
    assert!(
        answer.code == 1 && answer.err.contains("other.toml"),
        "{}",
        answer.err
    );

    // What is known is taken, and the later layer wins.
    place.write("huika.toml", "[database]\nurl = \"sqlite:file.db\"\n");
    let seen = |answer: crate::process::Answer| answer.json()["verdicts"][1]["value"].clone();
    assert_eq!(seen(place.huika(&["check", "--json"])), "sqlite:file.db");
    let variables = [
        ("HUIKA_DATABASE__URL", "sqlite:variable.db"),
        ("HUIKA_TEST_ANYTHING", "1"),
    ];
    assert_eq!(
        seen(place.huika_with(&["check", "--json"], &variables)),
        "sqlite:variable.db"
    );
    let flag = ["check", "--json", "--database-url", "sqlite:flag.db"];
    assert_eq!(seen(place.huika_with(&flag, &variables)), "sqlite:flag.db");
}

#[test]
fn check_says_what_is_missing_and_serve_refuses_what_is_unsafe() {
    let place = Place::new();
    let answer = place.huika(&["check"]);
    assert_eq!(answer.code, 1, "there is no database yet: {}", answer.out);
    assert!(!place.path("data/huika.db").exists(), "a check makes nothing");
    place.huika(&["migrate"]).done();
    place.huika(&["check"]).done();

    place.write(
        "huika.toml",
        "environment = \"production\"\n[server]\nlisten = \"0.0.0.0:0\"\n[redis]\nurl = \"redis://127.0.0.1:1\"\n",
    );
    let answer = place.huika(&["check", "--json"]);
    assert_eq!(answer.code, 1);
    let codes: Vec<String> = answer.json()["verdicts"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|verdict| verdict["level"] == "unsafe")
        .map(|verdict| verdict["code"].as_str().unwrap().to_owned())
        .collect();
    let unsafe_settings = [
        "check.open_without_https",
        "check.key_file_beside_data",
        "check.key_file_missing",
    ];
    assert_eq!(
        codes,
        [&unsafe_settings[..], &["check.redis_unreachable"]].concat()
    );

    let refused = place.huika(&["serve"]);
    assert_eq!(refused.code, 1);
    for code in unsafe_settings {
        assert!(refused.err.contains(code), "{code}: {}", refused.err);
    }
    assert!(
        !place.path("data/huika.key").exists(),
        "production makes no key file"
    );
}

/// A key that was lost must not be replaced by a new one, which would look as if all were well.
#[tokio::test]
async fn a_lost_key_file_is_not_made_anew() {
    let place = Place::new();
    let arguments = ["serve", "--listen", "127.0.0.1:0"];
    place.serve(&arguments, &[]).stop().await;
    std::fs::remove_file(place.path("data/huika.key")).unwrap();
    let refused = place.huika(&arguments);
    assert!(
        refused.code == 1 && refused.err.contains("key_file.missing"),
        "{}",
        refused.err
    );
    assert!(place.huika(&["check"]).out.contains("check.key_file_lost"));
}

db_test! { unmigrated,
    /// Elsewhere than on SQLite several versions may run side by side, so nothing migrates by itself.
    async fn servers_migrate_on_sqlite_and_when_told_to(cx) {
        let place = Place::new();
        let listen = ["serve", "--listen", "127.0.0.1:0", "--database-url", cx.url()];
        if cx.db.engine() != Engine::Sqlite {
            let refused = place.huika(&listen);
            assert!(refused.code == 1 && refused.err.contains("--migrate"), "{}", refused.err);
        }
        let migrated = [&listen[..], &["--migrate"]].concat();
        let server = place.serve(&migrated, &[]);
        let response = server.http.get(format!("{}/readyz", server.base_url)).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        server.stop().await;

        let worker = place.huika(&["migrate", "--json", "--database-url", cx.url()]).done();
        assert_eq!(worker.json(), json!({"engine": cx.db.engine().name(), "applied": 0}));
    }

    async fn purchases_are_imported_once_and_reported(cx) {
        let place = Place::new();
        let url = ["--json", "--database-url", cx.url()];
        place.huika(&[&["migrate"], &url[..]].concat()).done();
        place.write("orders.csv", &orders_csv(40, ""));
        let import = ["import", "purchases", "orders.csv", "--format", "csv", "--source", "shop"];
        let summary = place.huika(&[&import[..], &url].concat()).done().json();
        assert_eq!((&summary["documents_imported"], &summary["rows_refused"]), (&json!(40), &json!(0)), "{summary}");
        let again = place.huika(&[&import[..], &url].concat()).done().json();
        assert_eq!((&again["documents_imported"], &again["finished_before"]), (&json!(0), &json!(true)), "{again}");

        // A broken row refuses itself alone, and the exit code says so.
        place.write("more.csv", &orders_csv(41, "purchase,X-1,yesterday,c1,1.00\n"));
        let import = ["import", "purchases", "more.csv", "--format", "csv", "--source", "shop"];
        let bad = place.huika(&[&import[..], &url].concat());
        let summary = bad.json();
        assert_eq!((bad.code, &summary["documents_imported"], &summary["rows_refused"]), (1, &json!(1), &json!(1)), "{summary}");
        assert_eq!(summary["refused"][0]["line"], 43, "{summary}");

        let report = place.huika(&[&["report"], &url[..]].concat()).done().json();
        assert_eq!((&report["sales"], &report["buyers"]), (&json!(41), &json!(10)), "{report}");
        let verified = place.huika(&[&["verify"], &url[..]].concat()).done().json();
        assert_eq!((&verified["clean"], &verified["orders"]["documents"]), (&json!(true), &json!(41)), "{verified}");
    }
}

/// Ten customers in turn.
fn orders_csv(orders: usize, last: &str) -> String {
    let mut text = "kind,order_no,at,customer_no,amount\n".to_owned();
    for number in 1..=orders {
        text.push_str(&format!(
            "purchase,A-{number},2026-03-01T10:00:00+08:00,c{},{number}.50\n",
            number % 10
        ));
    }
    text + last
}

#[tokio::test]
async fn a_demo_is_made_once_and_lets_its_log_ins_in() {
    let place = Place::new();
    let arguments = [
        "demo",
        "--serve",
        "--data-dir",
        "shop",
        "--port",
        "0",
        "--members",
        "25",
        "--seed",
        "3",
    ];
    let server = place.serve(&arguments, &[]);
    let said = server.said.clone();
    let token = server
        .log_in(
            said["owner_email"].as_str().unwrap(),
            said["owner_password"].as_str().unwrap(),
        )
        .await;
    let (status, versions) = server
        .send(
            &token,
            reqwest::Method::GET,
            "/api/admin/v1/program-versions",
            None,
        )
        .await
        .unwrap();
    assert_eq!(
        (status, &versions["items"][0]["rules"]["currency"]),
        (200, &json!("CNY")),
        "{versions}"
    );

    // The API client may do everything that a till does.
    let path = "/api/open/v1/members";
    let body = json!({"phone": "13800138000", "channel": "pos"}).to_string();
    let timestamp = (huika_core::Clock::system().now().as_millis() / 1_000).to_string();
    let text = SignedText {
        method: "POST",
        path,
        query: "",
        timestamp: &timestamp,
        nonce: "0123456789abcdef",
        body: body.as_bytes(),
    };
    let response = server
        .http
        .post(format!("{}{path}", server.base_url))
        .header("content-type", "application/json")
        .header("huika-client", said["client_id"].as_str().unwrap())
        .header("huika-timestamp", &timestamp)
        .header("huika-nonce", text.nonce)
        .header(
            "huika-signature",
            text.sign(said["client_secret"].as_str().unwrap()),
        )
        .body(body.clone())
        .send()
        .await
        .unwrap();
    assert_eq!(response.status().as_u16(), 201);
    server.stop().await;

    // Running it again keeps everything.
    assert!(!place.path("shop/demo.making").exists());
    let again = place
        .huika(&["demo", "--data-dir", "shop", "--json", "--port", "9"])
        .done()
        .json();
    assert_eq!(again["base_url"], "http://127.0.0.1:9");
    for kept in ["owner_password", "client_secret"] {
        assert_eq!(again[kept], said[kept]);
    }
    let url = "sqlite:shop/demo.db";
    let report = place
        .huika(&["report", "--json", "--database-url", url])
        .done()
        .json();
    assert!(report["sales"].as_i64().unwrap() > 100, "{report}");
    assert_eq!(report["members_with_purchases"], 25, "{report}");
    place.huika(&["verify", "--database-url", url]).done();
    #[cfg(unix)]
    for private in ["shop/demo.key", "shop/demo-login.json"] {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(
            std::fs::metadata(place.path(private))
                .unwrap()
                .permissions()
                .mode()
                & 0o777,
            0o600,
            "{private}"
        );
    }
}

#[test]
fn a_demo_that_was_interrupted_is_made_again() {
    let place = Place::new();
    let demo = ["demo", "--members", "5", "--json"];
    let first = place.huika(&demo).done().json();
    place.write("data/demo.making", "");
    std::fs::write(place.path("data/demo.db"), "half a database").unwrap();
    let second = place.huika(&demo).done().json();
    assert_ne!(first["owner_password"], second["owner_password"]);
    place
        .huika(&["verify", "--database-url", "sqlite:data/demo.db"])
        .done();

    let refused = place.huika(&["demo", "--database-url", "sqlite:data/huika.db"]);
    assert!(
        refused.code == 1 && refused.err.contains("--data-dir"),
        "{}",
        refused.err
    );

    // A log-in that was removed is not made up: the shop stays as it is.
    std::fs::remove_file(place.path("data/demo-login.json")).unwrap();
    let refused = place.huika(&["demo"]);
    assert!(
        refused.code == 1 && refused.err.contains("demo-login.json"),
        "{}",
        refused.err
    );
}

#[test]
fn exports_mask_phones_and_defuse_formulas() {
    let place = Place::new();
    place.huika(&["demo", "--members", "20"]).done();
    let export = |what: &str, format: &str| {
        let arguments = [
            "export",
            "--what",
            what,
            "--format",
            format,
            "--database-url",
            "sqlite:data/demo.db",
        ];
        let keys = [("HUIKA_SECURITY__KEY_FILE", "data/demo.key")];
        place.huika_with(&arguments, &keys).done().out
    };
    let members = export("members", "csv");
    assert_eq!(members.lines().count(), 21);
    assert!(members.contains("199****0001"), "{members}");
    assert!(!members.contains("19900000001"), "{members}");
    let purchases = export("purchases", "jsonl");
    let first: serde_json::Value = serde_json::from_str(purchases.lines().next().unwrap()).unwrap();
    assert!(
        first["purchase_id"].as_str().unwrap().starts_with("pur_"),
        "{first}"
    );
    assert!(
        first["member_id"].as_str().unwrap().starts_with("mbr_"),
        "{first}"
    );
    let entries = export("entries", "csv");
    assert!(entries.lines().count() > 100 && entries.contains(",growth,"));
    assert!(export("refunds", "csv").starts_with("\u{feff}refund_id,"));

    let out = [
        "export",
        "--what",
        "entries",
        "--out",
        "entries.csv",
        "--json",
        "--database-url",
        "sqlite:data/demo.db",
    ];
    let told = place
        .huika_with(&out, &[("HUIKA_SECURITY__KEY_FILE", "data/demo.key")])
        .done()
        .json();
    assert_eq!(told["rows"], entries.lines().count() - 1);
    assert_eq!(place.read("entries.csv"), entries);
}

db_test! { unmigrated,
    /// From SQLite to each engine, and back to SQLite: the same rows arrive.
    async fn a_backup_moves_a_shop_to_another_engine(cx) {
        let place = Place::new();
        place.huika(&["demo", "--members", "20"]).done();
        let demo = "sqlite:data/demo.db";
        let taken = place.huika(&["backup", "--out", "there.gz", "--json", "--database-url", demo]).done().json();
        assert_eq!(taken["engine"], "sqlite", "{taken}");

        let restored = place.huika(&["restore", "there.gz", "--json", "--database-url", cx.url()]).done().json();
        assert_eq!((&restored["rows"], &restored["clean"]), (&taken["rows"], &json!(true)), "{restored}");
        let verified = place.huika(&["verify", "--json", "--database-url", cx.url()]).done().json();
        assert_eq!((&restored["ledger"], &restored["orders"]), (&verified["ledger"], &verified["orders"]));
        let figures = |url: &str| place.huika(&["report", "--json", "--database-url", url]).done().json();
        assert_eq!(figures(cx.url()), figures(demo));

        // A second restore would mix two shops.
        let refused = place.huika(&["restore", "there.gz", "--json", "--database-url", cx.url()]);
        assert_eq!((refused.code, &refused.json()["error"]["code"]), (1, &json!("backup.failed")));

        place.huika(&["backup", "--out", "back.gz", "--database-url", cx.url()]).done();
        let told = place.huika(&["restore", "back.gz", "--database-url", "sqlite:back.db"]).done();
        assert!(told.out.contains("Everything adds up"), "{}", told.out);
        assert_eq!(figures("sqlite:back.db"), figures(demo));
        place.huika(&["verify", "--database-url", "sqlite:back.db"]).done();
    }
}

#[test]
fn a_damaged_backup_changes_nothing() {
    let place = Place::new();
    place.huika(&["demo", "--members", "5"]).done();
    place
        .huika(&[
            "backup",
            "--out",
            "whole.gz",
            "--database-url",
            "sqlite:data/demo.db",
        ])
        .done();
    let whole = std::fs::read(place.path("whole.gz")).unwrap();
    std::fs::write(place.path("half.gz"), &whole[..whole.len() / 2]).unwrap();
    let refused = place.huika(&["restore", "half.gz", "--json", "--database-url", "sqlite:new.db"]);
    assert_eq!(refused.code, 1, "{}", refused.out);
    place
        .huika(&["restore", "whole.gz", "--database-url", "sqlite:new.db"])
        .done();

    // Nothing half-written stays where a backup should be.
    let refused = place.huika(&[
        "backup",
        "--out",
        "nowhere/x.gz",
        "--database-url",
        "sqlite:data/demo.db",
    ]);
    assert!(
        refused.code == 1 && refused.err.contains("nowhere"),
        "{}",
        refused.err
    );
    assert!(
        std::fs::read_dir(place.path("."))
            .unwrap()
            .all(|file| { !file.unwrap().file_name().to_string_lossy().ends_with(".partial") })
    );
}

#[test]
fn openapi_is_printed_and_written() {
    let place = Place::new();
    let printed = place.huika(&["openapi"]).done();
    assert_eq!(printed.json()["info"]["title"], "Huika");
    let written = place
        .huika(&["openapi", "--write", "out", "--json"])
        .done()
        .json();
    assert_eq!(written["written"].as_array().unwrap().len(), 4);
    assert_eq!(place.read("out/openapi.json"), printed.out);
    for (name, word) in [
        ("errors.md", "ledger.insufficient"),
        ("permissions.md", "orders.record"),
        ("schema.sql", "CREATE TABLE ledger_lot"),
    ] {
        assert!(place.read(&format!("out/{name}")).contains(word), "{name}");
    }
}
