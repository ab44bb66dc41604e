//! Codes of a device (TOTP, RFC 6238: HMAC-SHA-1, six digits, steps of 30 seconds) and recovery codes.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use huika_core::{Rng, Timestamp};
use sha1::Sha1;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

const STEP_MS: i64 = 30_000;
const MODULUS: u32 = 1_000_000;
/// How many steps a device's clock may be off, in either direction.
const TOLERANCE: i64 = 1;
/// As long as the hash, as RFC 4226 asks for.
const SECRET_BYTES: usize = 20;
/// Recovery codes that an operator gets.
pub(crate) const RECOVERY_CODES: usize = 10;
/// Bytes of one: a multiple of five, so that it is whole in base 32.
const RECOVERY_BYTES: usize = 10;
/// What the device shows above the code.
const ISSUER: &str = "Huika";

/// What a device is set up with. Shown once, to its operator.
#[derive(Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// The secret in base 32, to be typed where nothing can be scanned.
    pub secret: String,
    /// The same as a URI, to be shown as a QR code.
    pub uri: String,
}

impl fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Enrolment")
    }
}

/// Makes a secret.
pub(crate) fn new_secret(rng: &Rng) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(rng.bytes::<SECRET_BYTES>().to_vec())
}

/// What a secret is shown as. The label has no address: screens are photographed.
pub(crate) fn enrolment(secret: &[u8], operator: impl fmt::Display) -> Enrolment {
    let secret = BASE32_NOPAD.encode(secret);
    let uri = format!(
        "otpauth://totp/{ISSUER}:{operator}?secret={secret}&issuer={ISSUER}&algorithm=SHA1&digits=6&period=30"
    );
    Enrolment { secret, uri }
}

/// The code of a step.
fn code_at(secret: &[u8], step: i64) -> String {
    let mut mac = match Hmac::<Sha1>::new_from_slice(secret) {
        Ok(mac) => mac,
        Err(_) => unreachable!("HMAC accepts keys of every length"),
    };
    mac.update(&step.to_be_bytes());
    let hash: [u8; 20] = mac.finalize().into_bytes().into();
    // Four bytes from the place that the last one names, without the sign.
    let at = usize::from(hash[19] & 0x0f);
    let number = u32::from_be_bytes([hash[at] & 0x7f, hash[at + 1], hash[at + 2], hash[at + 3]]);
    format!("{:06}", number % MODULUS)
}

/// The step around now whose code this is, if there is one.
pub(crate) fn step_of(secret: &[u8], code: &str, now: Timestamp) -> Option<i64> {
    let present = now.as_millis().div_euclid(STEP_MS);
    (present - TOLERANCE..=present + TOLERANCE)
        .filter(|step| code_at(secret, *step).as_bytes().ct_eq(code.as_bytes()).into())
        // The latest, so that nothing before it is taken any more.
        .max()
}

/// Makes recovery codes.
pub(crate) fn new_recovery_codes(rng: &Rng) -> Vec<String> {
    let code = |_| {
        let text = BASE32_NOPAD.encode(&rng.bytes::<RECOVERY_BYTES>()).to_lowercase();
        let parts: Vec<&str> = [0, 4, 8, 12].map(|at| &text[at..at + 4]).to_vec();
        parts.join("-")
    };
    (0..RECOVERY_CODES).map(code).collect()
}

/// The form of a recovery code however it was typed.
pub(crate) fn normalized(code: &str) -> String {
    code.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .collect()
}

/// What a sealed secret is bound to, so that it opens only for its own operator.
pub(crate) fn secret_context(operator: impl fmt::Display) -> String {
    format!("staff_second_factor/{operator}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The vectors of RFC 6238, appendix B, for SHA-1, with six digits.
    #[test]
    fn the_codes_are_those_of_the_standard() {
        let secret = b"12345678901234567890";
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            let now = Timestamp::from_millis(seconds * 1_000);
            assert_eq!(step_of(secret, code, now), Some(seconds / 30), "{seconds}");
        }
    }

    #[test]
    fn a_code_holds_one_step_before_and_after_its_own() {
        let (secret, code) = (b"12345678901234567890", "287082");
        // It is the code of the step from second 30 to second 60.
        for (millis, taken) in [
            (-1, false),
            (0, true),
            (59_000, true),
            (89_999, true),
            (90_000, false),
        ] {
            let step = step_of(secret, code, Timestamp::from_millis(millis));
            assert_eq!(step, taken.then_some(1), "{millis}");
        }
        for wrong in ["", "287083", "28708", "2870820", "２８７０８２"] {
            assert_eq!(
                step_of(secret, wrong, Timestamp::from_millis(59_000)),
                None,
                "{wrong}"
            );
        }
    }

    #[test]
    fn an_enrolment_is_what_devices_scan() {
        let shown = enrolment(b"12345678901234567890", "opr_1");
        assert_eq!(shown.secret, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert_eq!(
            shown.uri,
            "otpauth://totp/Huika:opr_1?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Huika&algorithm=SHA1&digits=6&period=30"
        );
        assert!(!format!("{shown:?}").contains("GEZD"));
    }

    #[test]
    fn recovery_codes_differ_and_are_one_however_typed() {
        let codes = new_recovery_codes(&Rng::seeded(1));
        let forms: BTreeSet<String> = codes.iter().map(|code| normalized(code)).collect();
        assert_eq!((codes.len(), forms.len()), (RECOVERY_CODES, RECOVERY_CODES));
        assert!(codes.iter().all(|code| code.len() == 19), "{codes:?}");
        assert_eq!(normalized(" AbCd-2345 "), "abcd2345");
    }
}
