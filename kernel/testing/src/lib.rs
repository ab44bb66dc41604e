//! What tests share: a fresh database on every engine, a clock that stands still, chance that repeats.
//!
//! ```
//! huika_testing::db_test! {
//!     /// A comment says which rule the test holds.
//!     async fn a_fresh_database_holds_no_jobs(cx) {
//!         let rows = cx.fetch_all("SELECT job_id FROM kernel_job").await;
//!         assert!(rows.is_empty());
//!     }
//! }
//! ```
//!
//! SQLite is always tested. A server that does not answer means a test that is skipped with a line on
//! standard error, unless the environment variable `HUIKA_TEST_DEMAND` (for example
//! `postgres,mysql,redis`) names it: then the test fails.

mod database;
mod demand;

pub use database::{START, TestDb};
pub use demand::redis_url;
pub use huika_db::Engine;

use huika_db::Migration;

/// Declares tests that run with the same body on SQLite, PostgreSQL and MySQL: `name::sqlite` and so on.
///
/// The body gets a [`TestDb`] under the name in the brackets. The database holds the kernel's tables, and
/// those of `migrations = path` (a function that returns a `Vec<Migration>` without the kernel's own) when
/// that stands before the tests; `unmigrated,` leaves it empty.
#[macro_export]
macro_rules! db_test {
    (unmigrated, $($tests:tt)*) => {
        $crate::db_test_with! { (|| None) $($tests)* }
    };
    (migrations = $migrations:expr, $($tests:tt)*) => {
        $crate::db_test_with! { (|| Some($migrations())) $($tests)* }
    };
    ($($tests:tt)*) => {
        $crate::db_test_with! { (|| Some(::std::vec::Vec::new())) $($tests)* }
    };
}

/// The expansion of [`db_test!`].
#[doc(hidden)]
#[macro_export]
macro_rules! db_test_with {
    ($migrations:tt $($(#[$meta:meta])* async fn $name:ident($cx:ident $(: $type:ty)?) $body:block)+) => {
        $(
            $(#[$meta])*
            mod $name {
                #[allow(unused_imports, reason = "a body need not use what surrounds it")]
                use super::*;

                async fn body($cx: $crate::TestDb) $body

                #[test]
                fn sqlite() {
                    $crate::run($crate::Engine::Sqlite, $migrations, body);
                }
                #[test]
                fn postgres() {
                    $crate::run($crate::Engine::Postgres, $migrations, body);
                }
                #[test]
                fn mysql() {
                    $crate::run($crate::Engine::Mysql, $migrations, body);
                }
            }
        )+
    };
}

/// Runs one body on one engine. Called by [`db_test!`].
#[doc(hidden)]
pub fn run<F: Future<Output = ()>>(
    engine: Engine,
    migrations: impl FnOnce() -> Option<Vec<Migration>>,
    body: impl FnOnce(TestDb) -> F,
) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap_or_else(|error| panic!("the runtime does not start: {error}"));
    runtime.block_on(async {
        let Some(cx) = TestDb::open(engine).await else {
            return;
        };
        if let Some(migrations) = migrations() {
            cx.migrate(&migrations).await;
        }
        body(cx).await;
    });
}

#[cfg(test)]
mod tests {
    use super::START;

    crate::db_test! {
        /// Also shows that two tests of one engine do not meet: both count on an empty table.
        async fn every_test_has_a_database_and_a_clock_of_its_own(cx) {
            assert_eq!(cx.clock.now(), START);
            let node = huika_db::NodeLease::acquire(&cx.db).await.unwrap();
            assert_eq!(node.node(), 0);
            assert_eq!(cx.count("SELECT COUNT(*) AS n FROM kernel_node").await, 1);
        }
    }

    crate::db_test! { unmigrated,
        async fn tables_exist_only_after_migrating(cx) {
            let missing = huika_db::NodeLease::acquire(&cx.db).await;
            assert!(missing.is_err());
            cx.migrate(&[]).await;
            assert_eq!(cx.count("SELECT COUNT(*) AS n FROM kernel_node").await, 0);
        }
    }

    #[test]
    fn the_clock_of_tests_starts_in_the_morning_in_shanghai() {
        assert_eq!(START.to_string(), "2026-11-21T02:00:00.000Z");
    }
}
