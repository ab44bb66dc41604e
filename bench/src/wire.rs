//! HTTP/1.1 by hand: the bytes of a request and the head of an answer.
//!
//! A general client costs more processor time per request than the server's answer does; on a machine of two
//! cores that would be measured instead of the server. Understood is what Huika and the baseline send: a status
//! line, headers, and a body of a declared length.

use std::{
    io::Write as _,
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::chance::scramble;

/// Longest head of an answer that is read before it is given up.
const MAX_HEAD_BYTES: usize = 64 * 1024;
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// A request, its parts kept for the next one.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    /// The idempotency key; empty for none.
    pub(crate) key: String,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(method: &'static str, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            key: String::new(),
            body: Vec::new(),
        }
    }

    /// With a body.
    pub(crate) fn json(mut self, body: &serde_json::Value) -> Self {
        self.body = body.to_string().into_bytes();
        self
    }

    /// With an idempotency key.
    pub(crate) fn key(mut self, key: impl Into<String>) -> Self {
        self.key = key.into();
        self
    }
}

/// How a request shows who sends it.
pub(crate) enum Credentials {
    /// Not at all: the baseline does not ask.
    None,
    /// By the token of a session.
    Bearer(String),
    /// By a signature.
    Signed(Signer),
}

/// Signs requests of one API client.
pub(crate) struct Signer {
    client: String,
    /// The state after the key, so that each signature saves two blocks of hashing.
    keyed: Hmac<Sha256>,
    /// Nonces are this number scrambled, counted up: never twice, and not guessable from one another.
    nonces: AtomicU64,
}

impl Signer {
    pub(crate) fn new(client: impl Into<String>, secret: &str) -> anyhow::Result<Self> {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH)?;
        Ok(Self {
            client: client.into(),
            keyed: Hmac::new_from_slice(secret.as_bytes()).map_err(|error| anyhow::anyhow!("{error}"))?,
            nonces: AtomicU64::new(since_epoch.as_nanos() as u64),
        })
    }

    fn nonce(&self) -> [u8; 16] {
        let number = scramble(self.nonces.fetch_add(1, Ordering::Relaxed));
        let mut text = [0; 16];
        HEXLOWER.encode_mut(&number.to_be_bytes(), &mut text);
        text
    }

    /// The signature over six lines: method, path, query, timestamp, nonce, hash of the body.
    fn sign(&self, method: &str, path: &str, timestamp: &str, nonce: &[u8], body: &[u8]) -> [u8; 64] {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut body_hash = [0; 64];
        HEXLOWER.encode_mut(&Sha256::digest(body), &mut body_hash);
        let mut mac = self.keyed.clone();
        for part in [
            method.as_bytes(),
            path.as_bytes(),
            query.as_bytes(),
            timestamp.as_bytes(),
            nonce,
        ] {
            mac.update(part);
            mac.update(b"\n");
        }
        mac.update(&body_hash);
        let mut signature = [0; 64];
        HEXLOWER.encode_mut(&mac.finalize().into_bytes(), &mut signature);
        signature
    }
}

/// Writes a request into `out`, replacing what was there.
pub(crate) fn write_request(out: &mut Vec<u8>, request: &Request, credentials: &Credentials) {
    out.clear();
    let Request {
        method,
        path,
        key,
        body,
    } = request;
    // Writing into a vector cannot fail.
    let _ = write!(out, "{method} {path} HTTP/1.1\r\nHost: bench\r\n");
    if !key.is_empty() {
        let _ = write!(out, "Idempotency-Key: {key}\r\n");
    }
    if !body.is_empty() {
        let _ = write!(
            out,
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        );
    } else if *method == "POST" {
        out.extend_from_slice(b"Content-Length: 0\r\n");
    }
    match credentials {
        Credentials::None => {}
        Credentials::Bearer(token) => {
            let _ = write!(out, "Authorization: Bearer {token}\r\n");
        }
        Credentials::Signed(signer) => {
            let seconds = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs();
            let timestamp = seconds.to_string();
            let nonce = signer.nonce();
            let signature = signer.sign(method, path, &timestamp, &nonce, body);
            let _ = write!(
                out,
                "Huika-Client: {}\r\nHuika-Timestamp: {timestamp}\r\nHuika-Nonce: ",
                signer.client
            );
            out.extend_from_slice(&nonce);
            out.extend_from_slice(b"\r\nHuika-Signature: ");
            out.extend_from_slice(&signature);
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
}

/// What the head of an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// Bytes of the head, the empty line included.
    pub(crate) head_bytes: usize,
    pub(crate) body_bytes: usize,
    /// Whether the server closes the connection after this answer.
    pub(crate) closes: bool,
}

/// The bytes are no answer that this program understands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed(&'static str);

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}
impl std::error::Error for Malformed {}

/// Reads the head of an answer. `None` while it is not complete.
pub(crate) fn parse_head(bytes: &[u8]) -> Result<Option<Head>, Malformed> {
    let Some(end) = bytes
        .windows(END_OF_HEAD.len())
        .position(|window| window == END_OF_HEAD)
    else {
        return if bytes.len() > MAX_HEAD_BYTES {
            Err(Malformed("the head is too long"))
        } else {
            Ok(None)
        };
    };
    let mut lines = bytes[..end]
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let status = parse_status(lines.next().unwrap_or_default())?;
    let (mut length, mut closes) = (None, false);
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return Err(Malformed("a header has no colon"));
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            length = Some(number.ok_or(Malformed("the length of the body is no number"))?);
        } else if name.eq_ignore_ascii_case(b"connection") {
            closes = value.eq_ignore_ascii_case(b"close");
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Err(Malformed(
                "the body comes in chunks, which this program does not read",
            ));
        }
    }
    let body_bytes = match (status, length) {
        (204 | 304, _) => 0,
        (_, Some(length)) => length,
        (_, None) => return Err(Malformed("the length of the body is not declared")),
    };
    Ok(Some(Head {
        status,
        head_bytes: end + END_OF_HEAD.len(),
        body_bytes,
        closes,
    }))
}

fn parse_status(line: &[u8]) -> Result<u16, Malformed> {
    let digits = line.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3));
    digits
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .and_then(|text| text.parse().ok())
        .ok_or(Malformed("the status line is wrong"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] =
        b"HTTP/1.1 201 Created\r\ncontent-type: application/json\r\nContent-Length: 7\r\ndate: x\r\n\r\n{\"a\":1}";

    #[test]
    fn a_head_is_read_wherever_the_network_cuts_it() {
        let end = ANSWER.len() - 7;
        let whole = Head {
            status: 201,
            head_bytes: end,
            body_bytes: 7,
            closes: false,
        };
        for cut in 0..end {
            assert_eq!(parse_head(&ANSWER[..cut]), Ok(None), "{cut}");
        }
        for cut in end..=ANSWER.len() {
            assert_eq!(parse_head(&ANSWER[..cut]), Ok(Some(whole)), "{cut}");
        }
    }

    #[test]
    fn an_answer_without_a_body_or_with_a_goodbye_is_understood() {
        let head = parse_head(b"HTTP/1.1 204 No Content\r\nConnection: Close\r\n\r\n")
            .unwrap()
            .unwrap();
        assert_eq!((head.status, head.body_bytes, head.closes), (204, 0, true));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for wrong in [
            "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 2\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            assert!(parse_head(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(parse_head(&vec![b'x'; MAX_HEAD_BYTES + 1]).is_err());
    }

    /// The vector of the signature that `modules/staff` documents: the HMAC over six lines.
    #[test]
    fn the_signature_is_the_documented_one() {
        let signer = Signer::new("apc_01q9v7x2k0g00", "hsk_test").unwrap();
        let signature = signer.sign(
            "POST",
            "/api/open/v1/purchases?dry_run=true",
            "1795226400",
            b"0123456789abcdef",
            b"{}",
        );
        let lines = "POST\n/api/open/v1/purchases\ndry_run=true\n1795226400\n0123456789abcdef\n\
                     44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        let expected = HEXLOWER.encode(&huika_core::mac(b"hsk_test", &[lines.as_bytes()]));
        assert_eq!(std::str::from_utf8(&signature).unwrap(), expected);
    }

    #[test]
    fn a_request_has_one_line_per_header_and_its_body_last() {
        let signer = Signer::new("apc_1", "hsk_test").unwrap();
        let request = Request {
            method: "POST",
            path: "/x".to_owned(),
            key: "k-1".to_owned(),
            body: b"{}".to_vec(),
        };
        let mut out = b"left over".to_vec();
        write_request(&mut out, &request, &Credentials::Signed(signer));
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.starts_with("POST /x HTTP/1.1\r\nHost: bench\r\nIdempotency-Key: k-1\r\n"),
            "{text}"
        );
        assert!(
            text.contains("\r\nContent-Length: 2\r\n") && text.ends_with("\r\n\r\n{}"),
            "{text}"
        );
        let value = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name))
                .map(|value| value.trim_start_matches(": "))
        };
        assert_eq!(value("Huika-Nonce").map(str::len), Some(16));
        assert_eq!(value("Huika-Signature").map(str::len), Some(64));
    }

    #[test]
    fn nonces_differ() {
        let signer = Signer::new("apc_1", "hsk_test").unwrap();
        let nonces: std::collections::HashSet<_> = (0..10_000).map(|_| signer.nonce()).collect();
        assert_eq!(nonces.len(), 10_000);
    }
}
