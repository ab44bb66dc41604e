//! What is committed under docs/generated/ is what the code says.

use huika_core::{Clock, Rng};
use huika_testing::{Engine, TestDb, db_test};

#[tokio::test]
async fn the_committed_documents_are_current() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/generated");
    let documents = huika::generated::documents(&Clock::system(), &Rng::system())
        .await
        .unwrap();
    for (name, text) in documents {
        let committed = std::fs::read_to_string(format!("{folder}/{name}")).unwrap_or_default();
        let hint =
            "run `cargo run -p huika -- openapi --write docs/generated`, read the difference, commit it";
        assert!(committed == text, "docs/generated/{name} is stale: {hint}");
    }
}

#[tokio::test]
async fn the_same_code_gives_the_same_documents() {
    let once = huika::generated::documents(&Clock::system(), &Rng::seeded(1))
        .await
        .unwrap();
    let again = huika::generated::documents(&Clock::system(), &Rng::seeded(2))
        .await
        .unwrap();
    assert_eq!(once, again);
}

#[test]
fn codes_of_problems_and_names_of_permissions_are_unique() {
    let mut codes: Vec<&str> = huika::compose::problem_kinds()
        .iter()
        .flat_map(|(_, kinds)| kinds.iter())
        .map(|kind| kind.code)
        .collect();
    codes.sort_unstable();
    // The ledger and orders stop in the same words.
    codes.dedup_by(|a, b| a == b && *a == "system.stopping");
    let repeated: Vec<_> = codes.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert!(repeated.is_empty(), "{repeated:?}");

    let mut names: Vec<&str> = huika::compose::permissions()
        .iter()
        .map(|permission| permission.name)
        .collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

/// The tables as they are: every column with its type, and every index with its columns.
async fn tables(cx: &TestDb) -> Vec<String> {
    let (columns, indexes) = match cx.db.engine() {
        Engine::Sqlite => (
            "SELECT sql AS line FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'kernel_migration%' ORDER BY name",
            "SELECT '' AS line",
        ),
        Engine::Postgres => (
            "SELECT CONCAT_WS(' ', table_name, column_name, data_type, character_maximum_length, collation_name, is_nullable) AS line \
             FROM information_schema.columns WHERE table_schema = current_schema() AND table_name <> 'kernel_migration' \
             ORDER BY table_name, ordinal_position",
            "SELECT indexdef AS line FROM pg_indexes WHERE schemaname = current_schema() AND tablename <> 'kernel_migration' \
             ORDER BY indexname",
        ),
        Engine::Mysql => (
            "SELECT CAST(CONCAT_WS(' ', table_name, column_name, column_type, collation_name, is_nullable) AS CHAR) AS line \
             FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name <> 'kernel_migration' \
             ORDER BY table_name, ordinal_position",
            "SELECT CAST(CONCAT_WS(' ', table_name, index_name, seq_in_index, column_name, non_unique) AS CHAR) AS line \
             FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name <> 'kernel_migration' \
             ORDER BY table_name, index_name, seq_in_index",
        ),
    };
    let mut lines = Vec::new();
    for sql in [columns, indexes] {
        for row in cx.fetch_all(sql).await {
            lines.push(row.get::<String>("line").unwrap());
        }
    }
    lines
}

/// SQLite keeps the comments of a statement.
fn without_comments(sql: &str) -> String {
    let lines = sql
        .lines()
        .map(|line| line.split("--").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// The part of schema.sql for an engine, statement by statement, without comments.
fn statements(schema: &str, engine: Engine) -> Vec<String> {
    let rule = "=".repeat(20);
    let title = format!("-- {rule} {} {rule}\n", engine.name());
    let part = schema.split(&title).nth(1).unwrap();
    let part = part.split(&format!("-- {rule} ")).next().unwrap();
    let code = without_comments(part);
    let statements = code.split(';').map(|statement| statement.trim().to_owned());
    statements.filter(|statement| !statement.is_empty()).collect()
}

db_test! { unmigrated,
    /// What is written down is rendered apart from what is run: they must say the same on every engine.
    async fn the_written_schema_makes_the_tables_that_migrations_make(cx) {
        let documents = huika::generated::documents(&Clock::system(), &Rng::system()).await.unwrap();
        let (_, schema) = documents.into_iter().find(|(name, _)| *name == "schema.sql").unwrap();
        for statement in statements(&schema, cx.db.engine()) {
            cx.execute(&statement, vec![]).await;
        }
        let written = tables(&cx).await;
        let migrated = TestDb::open(cx.db.engine()).await.unwrap();
        migrated.migrate(&huika::compose::migrations()[huika_db::kernel_migrations().len()..]).await;
        let made = tables(&migrated).await;
        assert!(made.len() > 20, "{} lines", made.len());
        for (written, made) in written.iter().zip(&made) {
            let spaceless = |text: &str| without_comments(text).split_whitespace().collect::<String>();
            assert_eq!(spaceless(written), spaceless(made));
        }
        assert_eq!(written.len(), made.len());
    }
}
