//! What belongs to the request at hand and must reach a Problem made deep inside: its trace id and language.
//!
//! It is task-local, because an error is made by `?` where no request is in sight. Tasks that a handler spawns
//! do not inherit it.

use std::{fmt, future::Future};

use axum::http::{HeaderMap, header::ACCEPT_LANGUAGE};
use data_encoding::HEXLOWER;
use huika_core::{Language, Rng};

const TRACE_BYTES: usize = 16;
const TRACE_DIGITS: usize = 2 * TRACE_BYTES;

/// The id that joins the log lines, the answer and the spans of one request: 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceId([u8; TRACE_DIGITS]);

impl TraceId {
    /// Takes the id of the caller's W3C `traceparent` (`00-<32>-<16>-<2>`) or makes one.
    pub(crate) fn of_request(headers: &HeaderMap, rng: &Rng) -> Self {
        headers
            .get("traceparent")
            .and_then(|value| Self::of_traceparent(value.as_bytes()))
            .unwrap_or_else(|| {
                let mut digits = [0; TRACE_DIGITS];
                HEXLOWER.encode_mut(&rng.bytes::<TRACE_BYTES>(), &mut digits);
                Self(digits)
            })
    }

    fn of_traceparent(text: &[u8]) -> Option<Self> {
        let mut parts = text.split(|byte| *byte == b'-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let lower_hex = |part: &[u8], length: usize| {
            part.len() == length && part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let well_formed = lower_hex(version, 2)
            && version != b"ff"
            && (version != b"00" || parts.next().is_none())
            && lower_hex(trace, TRACE_DIGITS)
            && trace.iter().any(|byte| *byte != b'0')
            && lower_hex(span, 16)
            && span.iter().any(|byte| *byte != b'0')
            && lower_hex(flags, 2);
        if well_formed {
            trace.try_into().ok().map(Self)
        } else {
            None
        }
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Context {
    pub(crate) trace_id: TraceId,
    pub(crate) language: Language,
}

tokio::task_local! {
    static CONTEXT: Context;
}

impl Context {
    pub(crate) fn of_request(headers: &HeaderMap, rng: &Rng) -> Self {
        let language = headers
            .get(ACCEPT_LANGUAGE)
            .and_then(|value| value.to_str().ok())
            .map(preferred_language);
        Self {
            trace_id: TraceId::of_request(headers, rng),
            language: language.unwrap_or(Language::Chinese),
        }
    }

    pub(crate) async fn scope<F: Future>(self, future: F) -> F::Output {
        CONTEXT.scope(self, future).await
    }
}

/// The trace id of the request that this task serves; absent outside a request.
pub fn trace_id() -> Option<TraceId> {
    CONTEXT.try_with(|context| context.trace_id).ok()
}

/// The language that the caller of this request reads: Chinese unless English was preferred.
pub fn language() -> Language {
    CONTEXT
        .try_with(|context| context.language)
        .unwrap_or(Language::Chinese)
}

/// Picks from an `Accept-Language` header. What names neither language means Chinese, the default.
fn preferred_language(header: &str) -> Language {
    let mut best = (0, Language::Chinese);
    for range in header.split(',') {
        let mut parts = range.split(';');
        let tag = parts.next().unwrap_or_default().trim();
        let weight = parts
            .find_map(|part| part.trim().strip_prefix("q="))
            .map_or(1_000, thousandths);
        let language = match tag.split('-').next() {
            Some(primary) if primary.eq_ignore_ascii_case("en") => Language::English,
            Some(primary) if primary.eq_ignore_ascii_case("zh") => Language::Chinese,
            _ => continue,
        };
        if weight > best.0 {
            best = (weight, language);
        }
    }
    best.1
}

/// Reads a quality value (`0.8`, at most three decimals) without floats; nonsense counts as zero.
fn thousandths(text: &str) -> u32 {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{decimals:0<3}");
    match (whole.parse::<u32>(), digits.get(..3).map(str::parse::<u32>)) {
        (Ok(whole), Some(Ok(decimals))) if whole <= 1 => (whole * 1_000 + decimals).min(1_000),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_with_the_highest_weight_wins_and_chinese_is_the_default() {
        for (header, expected) in [
            ("", Language::Chinese),
            ("fr", Language::Chinese),
            ("en", Language::English),
            ("en-GB,en;q=0.9", Language::English),
            ("zh-CN,zh;q=0.9,en;q=0.8", Language::Chinese),
            ("zh;q=0.5, en;q=0.75", Language::English),
            ("zh;q=0.85,en;q=0.8", Language::Chinese),
            ("en;q=0", Language::Chinese),
            ("en;q=x", Language::Chinese),
            ("EN-us", Language::English),
            ("*", Language::Chinese),
        ] {
            assert_eq!(preferred_language(header), expected, "{header}");
        }
    }

    #[test]
    fn a_traceparent_is_taken_only_when_it_is_well_formed() {
        let rng = Rng::seeded(1);
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let of = |text: &str| TraceId::of_traceparent(text.as_bytes()).map(|id| id.to_string());
        assert_eq!(
            of(&format!("00-{trace}-00f067aa0ba902b7-01")).as_deref(),
            Some(trace)
        );
        assert_eq!(
            of(&format!("01-{trace}-00f067aa0ba902b7-01-later")).as_deref(),
            Some(trace)
        );
        for wrong in [
            String::new(),
            format!("00-{trace}-00f067aa0ba902b7"),
            format!("ff-{trace}-00f067aa0ba902b7-01"),
            format!("00-{trace}-00f067aa0ba902b7-01-more"),
            format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
        ] {
            assert_eq!(of(&wrong), None, "{wrong}");
        }
        let made = TraceId::of_request(&HeaderMap::new(), &rng);
        assert_eq!(made.as_str().len(), 32);
        assert_ne!(made, TraceId::of_request(&HeaderMap::new(), &rng));
    }
}
