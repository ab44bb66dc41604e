//! Which servers the tests reach, and which of them must answer.

use std::{
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

use url::Url;

const REDIS_URL: &str = "redis://127.0.0.1:6379";
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// The address of a Redis for tests, from `HUIKA_TEST_REDIS_URL`. Absent when nothing listens there.
///
/// # Panics
/// When nothing listens and `HUIKA_TEST_DEMAND` names redis.
pub fn redis_url() -> Option<String> {
    let address = setting("HUIKA_TEST_REDIS_URL", REDIS_URL);
    let listens = Url::parse(&address).is_ok_and(|url| {
        let host = url.host_str().unwrap_or("127.0.0.1");
        (host, url.port().unwrap_or(6379))
            .to_socket_addrs()
            .is_ok_and(|mut found| found.any(|at| TcpStream::connect_timeout(&at, ANSWER_TIMEOUT).is_ok()))
    });
    if listens {
        return Some(address);
    }
    skip("redis", "nothing listens there");
    None
}

/// Reads an environment variable.
#[expect(
    clippy::disallowed_methods,
    reason = "tests have no composition root that could pass settings down"
)]
pub(crate) fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

/// Says that a test is skipped, or fails it when its server is demanded.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
pub(crate) fn skip(server: &str, why: &str) {
    let demanded = setting("HUIKA_TEST_DEMAND", "")
        .split(',')
        .any(|name| name.trim() == server);
    assert!(
        !demanded,
        "{server} is demanded by HUIKA_TEST_DEMAND and does not answer: {why}"
    );
    eprintln!("*** SKIPPED: {server} does not answer: {why}");
}
