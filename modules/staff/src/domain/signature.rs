//! Signatures of requests: what is signed, and when it is taken.
//!
//! Everything that a request says is signed, so that none of it can be altered on the way; a timestamp and a
//! nonce are signed with it, so that none of it can be sent twice.

use data_encoding::HEXLOWER;
use huika_core::{Timestamp, mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

use super::error::StaffError;

/// How far a timestamp may be from our clock, in either direction.
pub(crate) const WINDOW_S: i64 = 300;
/// Digits of a Unix time until the year 5138.
const TIMESTAMP_DIGITS: usize = 11;
const NONCE_CHARS: std::ops::RangeInclusive<usize> = 16..=64;
const MAC_BYTES: usize = 32;

/// The text that a signature covers: six lines joined by a line feed.
#[derive(Debug, Clone, Copy)]
pub struct SignedText<'a> {
    /// The method in upper case.
    pub method: &'a str,
    /// The path, percent-encoded as sent.
    pub path: &'a str,
    /// What stands after the question mark, as sent; empty without one.
    pub query: &'a str,
    /// `Huika-Timestamp` as sent: Unix time in seconds.
    pub timestamp: &'a str,
    /// `Huika-Nonce` as sent.
    pub nonce: &'a str,
    /// The body, whose lower-case hexadecimal SHA-256 is the last line.
    pub body: &'a [u8],
}

impl SignedText<'_> {
    /// The value of `Huika-Signature` under a client's secret.
    pub fn sign(&self, secret: &str) -> String {
        HEXLOWER.encode(&self.mac(secret.as_bytes()))
    }

    /// Compares in constant time.
    pub(crate) fn is_signed_by(&self, secret: &[u8], signature: &Signature) -> bool {
        self.mac(secret).ct_eq(&signature.0).into()
    }

    fn mac(&self, secret: &[u8]) -> [u8; MAC_BYTES] {
        let mut body_hash = [0; 2 * MAC_BYTES];
        HEXLOWER.encode_mut(&Sha256::digest(self.body), &mut body_hash);
        let line = b"\n".as_slice();
        mac(
            secret,
            &[
                self.method.as_bytes(),
                line,
                self.path.as_bytes(),
                line,
                self.query.as_bytes(),
                line,
                self.timestamp.as_bytes(),
                line,
                self.nonce.as_bytes(),
                line,
                &body_hash,
            ],
        )
    }

    /// The moment of signing in Unix seconds, if the text has the form of one.
    pub(crate) fn timestamp_s(&self) -> Option<i64> {
        let digits = self.timestamp.len() <= TIMESTAMP_DIGITS
            && self.timestamp.bytes().all(|byte| byte.is_ascii_digit());
        self.timestamp.parse().ok().filter(|_| digits)
    }

    /// Whether the nonce has 16 to 64 visible ASCII characters.
    pub(crate) fn has_proper_nonce(&self) -> bool {
        NONCE_CHARS.contains(&self.nonce.len()) && self.nonce.bytes().all(|byte| byte.is_ascii_graphic())
    }
}

/// A signature as it was sent.
pub(crate) struct Signature([u8; MAC_BYTES]);

impl Signature {
    /// Reads 64 lower-case hexadecimal digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; MAC_BYTES];
        let fits = HEXLOWER.decode_len(text.len()) == Ok(MAC_BYTES);
        (fits && HEXLOWER.decode_mut(text.as_bytes(), &mut bytes).is_ok()).then_some(Self(bytes))
    }
}

/// Refuses a timestamp outside the window around now.
pub(crate) fn check_timestamp(timestamp_s: i64, now: Timestamp) -> Result<(), StaffError> {
    let server_time = now.as_millis().div_euclid(1_000);
    if (timestamp_s - server_time).abs() <= WINDOW_S {
        Ok(())
    } else {
        Err(StaffError::TimestampRefused { server_time })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: SignedText<'_> = SignedText {
        method: "POST",
        path: "/api/open/v1/purchases",
        query: "dry_run=true",
        timestamp: "1795226400",
        nonce: "0123456789abcdef",
        body: b"{}",
    };

    /// Made with the commands of this module's README, by another program.
    #[test]
    fn the_signature_is_the_documented_one() {
        let made = "5bd62b85d50290ec5125302ed9e776bff8cedc77d684d588dad37ff856de6727";
        assert_eq!(TEXT.sign("hsk_test"), made);
    }

    #[test]
    fn whatever_is_altered_the_signature_no_longer_fits() {
        let signature = Signature::parse(&TEXT.sign("hsk_test")).unwrap();
        assert!(TEXT.is_signed_by(b"hsk_test", &signature));
        assert!(!TEXT.is_signed_by(b"hsk_tess", &signature));
        for altered in [
            SignedText {
                method: "PUT",
                ..TEXT
            },
            SignedText {
                path: "/api/open/v1/purchases/",
                ..TEXT
            },
            SignedText {
                query: "dry_run=false",
                ..TEXT
            },
            SignedText { query: "", ..TEXT },
            SignedText {
                timestamp: "1795226401",
                ..TEXT
            },
            SignedText {
                nonce: "0123456789abcdeg",
                ..TEXT
            },
            SignedText { body: b"{ }", ..TEXT },
            // Moving a piece from one line to the next is an alteration too.
            SignedText {
                path: "/api/open/v1/purchases\ndry_run=true",
                query: "",
                ..TEXT
            },
        ] {
            assert!(!altered.is_signed_by(b"hsk_test", &signature), "{altered:?}");
        }
    }

    #[test]
    fn forms_are_strict() {
        for wrong in [
            "",
            "1",
            &"A".repeat(64),
            &"g".repeat(64),
            &"0".repeat(63),
            &"0".repeat(66),
        ] {
            assert!(Signature::parse(wrong).is_none(), "{wrong}");
        }
        for wrong in ["", "-1", "+1", "1.5", " 1", "1795226400000000"] {
            assert_eq!(
                SignedText {
                    timestamp: wrong,
                    ..TEXT
                }
                .timestamp_s(),
                None,
                "{wrong}"
            );
        }
        for wrong in [
            "",
            "short",
            &"x".repeat(65),
            "0123456789 abcdef",
            "0123456789abcdé",
        ] {
            assert!(!SignedText { nonce: wrong, ..TEXT }.has_proper_nonce(), "{wrong}");
        }
        assert!(TEXT.has_proper_nonce());
    }

    #[test]
    fn the_window_is_five_minutes_in_both_directions() {
        let now = Timestamp::from_millis(1_795_226_400_999);
        for (timestamp, taken) in [(0, true), (300, true), (-300, true), (301, false), (-301, false)] {
            assert_eq!(
                check_timestamp(1_795_226_400 + timestamp, now).is_ok(),
                taken,
                "{timestamp}"
            );
        }
    }
}
