//! The migrator: repeatable, refusing, safe for two at once.

use huika_db::{DbError, Engine, Migration, kernel_migrations, migrate, params, pending_migrations};

use crate::support::{CUPS, cups};

fn all() -> Vec<Migration> {
    kernel_migrations().into_iter().chain(cups()).collect()
}

fn is_setup<T>(result: Result<T, DbError>) -> bool {
    matches!(result, Err(DbError::Setup(_)))
}

huika_testing::db_test! { unmigrated,
    async fn each_file_is_applied_once(cx) {
        assert_eq!(pending_migrations(&cx.db, &all()).await.unwrap().len(), all().len());
        assert_eq!(migrate(&cx.db, &kernel_migrations()).await.unwrap(), kernel_migrations().len());
        assert_eq!(migrate(&cx.db, &all()).await.unwrap(), 1);
        assert_eq!(migrate(&cx.db, &all()).await.unwrap(), 0);
        assert_eq!(cx.count("SELECT COUNT(*) AS n FROM test_cup").await, 0);
    }

    /// MySQL commits every statement by itself, so a process that was killed leaves half a file behind.
    async fn a_file_that_stopped_half_way_is_finished(cx) {
        migrate(&cx.db, &kernel_migrations()).await.unwrap();
        if cx.db.engine() == Engine::Mysql {
            let table = CUPS.split(";\n").next().unwrap();
            let table = table.replace("{key(32)}", "VARCHAR(32)").replace("{text(40)}", "VARCHAR(40)");
            let table = table.replace("{bytes(64)}", "VARBINARY(64)").replace("{clustered}", "");
            cx.execute(&table, params![]).await;
        }
        assert_eq!(migrate(&cx.db, &all()).await.unwrap(), 1);
        cx.execute("INSERT INTO test_cup (shop, code, sequence) VALUES (1, 'a', 0)", params![]).await;
    }

    async fn a_newer_database_is_refused(cx) {
        migrate(&cx.db, &all()).await.unwrap();
        assert!(is_setup(migrate(&cx.db, &kernel_migrations()).await));
        assert!(is_setup(pending_migrations(&cx.db, &kernel_migrations()).await));
    }

    async fn an_edited_file_is_refused(cx) {
        migrate(&cx.db, &all()).await.unwrap();
        let mut edited = all();
        edited.last_mut().unwrap().sql = "CREATE TABLE test_cup (shop BIGINT NOT NULL)";
        assert!(is_setup(migrate(&cx.db, &edited).await));
    }

    async fn a_file_that_fails_is_not_taken_for_applied(cx) {
        let mut broken = all();
        broken.last_mut().unwrap().sql = "CREATE TABLE test_cup (shop BIGINT NOT NULL);\nCREATE NONSENSE";
        assert!(migrate(&cx.db, &broken).await.is_err());
        assert_eq!(pending_migrations(&cx.db, &all()).await.unwrap().len(), 1);
    }

    async fn several_migrators_at_once_end_with_one_schema(cx) {
        let others = [cx.second_pool().await, cx.second_pool().await];
        let known = all();
        let (one, two, three) =
            tokio::join!(migrate(&cx.db, &known), migrate(&others[0], &known), migrate(&others[1], &known));
        for result in [one, two, three] {
            result.unwrap();
        }
        let applied = cx.count("SELECT COUNT(*) AS n FROM kernel_migration").await;
        assert_eq!(applied, all().len() as i64);
        assert_eq!(cx.count("SELECT COUNT(*) AS n FROM test_cup").await, 0);
    }
}
