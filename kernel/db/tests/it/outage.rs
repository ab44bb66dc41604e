//! Connections that are cut, and connections that die without a word.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use huika_core::Clock;
use huika_db::{Db, DbError, DbOptions, Engine, Executor as _, params};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::support::eventually;

/// What asks for the number of a connection, waits, and what cuts it, on the engines that are servers.
fn words(engine: Engine) -> Option<(&'static str, &'static str, &'static str)> {
    match engine {
        Engine::Sqlite => None,
        Engine::Postgres => Some((
            "SELECT CAST(pg_backend_pid() AS BIGINT) AS n",
            "SELECT pg_sleep(20)",
            "SELECT pg_terminate_backend(",
        )),
        Engine::Mysql => Some((
            "SELECT CAST(CONNECTION_ID() AS SIGNED) AS n",
            "SELECT SLEEP(20)",
            "KILL (",
        )),
    }
}

async fn ask_for(mut db: &Db, sql: &str) -> Result<(), DbError> {
    db.fetch_all(sql, params![]).await.map(drop)
}

huika_testing::db_test! {
    /// Between two statements and in the middle of one: an administrator, a proxy or a fail-over cuts connections.
    async fn a_transaction_whose_connection_is_cut_runs_again(cx) {
        let Some((ask, wait, cut)) = words(cx.db.engine()) else { return };
        let other = &cx.second_pool().await;
        for in_a_statement in [false, true] {
            let runs = &AtomicU32::new(0);
            let done: Result<(), DbError> = cx.db.run_tx("test.cut", |tx| Box::pin(async move {
                let number: i64 = tx.fetch_one(ask, params![]).await?.get("n")?;
                if runs.fetch_add(1, Ordering::SeqCst) > 0 {
                    return Ok(());
                }
                // What it answers differs, and nobody needs it.
                let cut = async { drop(ask_for(other, &format!("{cut}{number})")).await) };
                if in_a_statement {
                    let (cut_off, ()) = tokio::join!(tx.fetch_all(wait, params![]), cut);
                    cut_off?;
                } else {
                    cut.await;
                }
                tx.fetch_all(ask, params![]).await?;
                panic!("the connection is cut");
            })).await;
            assert!(done.is_ok(), "{done:?}");
            assert_eq!(runs.load(Ordering::SeqCst), 2);
        }
    }

    /// Behind a firewall that forgets, or a host that loses power: nothing comes back, not even a refusal.
    async fn a_dead_connection_keeps_nobody_for_ever(cx) {
        let Some((ask, ..)) = words(cx.db.engine()) else { return };
        let line = Line::to(cx.url()).await;
        let options = DbOptions { max_connections: 2 };
        let db = &Db::connect(&line.url, &options, Clock::system(), cx.rng.clone()).await.unwrap();
        // Connections exist before the line goes dead.
        let opened = tokio::join!(ask_for(db, ask), ask_for(db, ask));
        assert!(opened.0.is_ok() && opened.1.is_ok());
        line.dead.send(true).unwrap();
        let stopwatch = cx.clock.stopwatch();
        let (read, written) = tokio::join!(
            ask_for(db, ask),
            db.run_tx("test.dead", |tx| Box::pin(async move { tx.fetch_one(ask, params![]).await.map(drop) })),
        );
        for result in [read, written] {
            // Busy, or unavailable where a new connection was tried.
            assert!(result.as_ref().is_err_and(DbError::is_retryable), "{result:?}");
        }
        assert!(stopwatch.elapsed() < Duration::from_secs(25), "{:?}", stopwatch.elapsed());
        // They give their places in the pool back, after the seconds that closing them may take.
        line.dead.send(false).unwrap();
        eventually(async || {
            let alive = tokio::join!(ask_for(db, ask), ask_for(db, ask));
            (alive.0.is_ok() && alive.1.is_ok()).then_some(())
        }).await;
    }
}

/// A way to a server that can go dead: what is sent meanwhile is lost, and nobody is told.
struct Line {
    url: String,
    dead: watch::Sender<bool>,
}

impl Line {
    async fn to(url: &str) -> Self {
        let mut url: url::Url = url.parse().unwrap();
        let usual = if url.scheme().starts_with("postgres") {
            5432
        } else {
            3306
        };
        let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(usual));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        url.set_ip_host("127.0.0.1".parse().unwrap()).unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        let (dead, died) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, server.clone(), died.clone()));
            }
        });
        Self {
            url: url.to_string(),
            dead,
        }
    }
}

/// Carries bytes until the line goes dead; then both ends are held open in silence.
async fn carry(mut near: TcpStream, server: String, mut died: watch::Receiver<bool>) {
    let Ok(mut far) = TcpStream::connect(server).await else {
        return;
    };
    let dead = async { drop(died.wait_for(|dead| *dead).await) };
    tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => {}
        () = dead => std::future::pending().await,
    }
}
