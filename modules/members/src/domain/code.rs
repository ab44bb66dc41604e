//! The rotating code of a card: what proves that the card is there, and not a picture of it from last week.
//!
//! 25 digits: the version 1; the card number without its 88; the time step modulo 100; eight digits of an HMAC. The key
//! of a card follows from a key of the shop that is good for one day, so that a till that was given the day's key can
//! check codes without a network. docs/guides/card-codes.md has the format and test vectors.

use huika_core::{Keyring, Timestamp, mac};
use zeroize::Zeroizing;

use crate::{CardNumber, MembersError};

/// How long one code is shown.
pub(crate) const STEP_MS: i64 = 30_000;
const STEPS_PER_DAY: i64 = 24 * 60 * 60 * 1_000 / STEP_MS;
const VERSION: char = '1';
const CARD_PREFIX: &str = "88";
const CARD_DIGITS: usize = 14;
const STEP_DIGITS: usize = 2;
const MAC_DIGITS: usize = 8;
const DIGITS: usize = 1 + CARD_DIGITS + STEP_DIGITS + MAC_DIGITS;

/// The time step of a moment.
pub(crate) fn step_of(now: Timestamp) -> i64 {
    now.as_millis().div_euclid(STEP_MS)
}

/// The UTC day of a step, counted from 1970: each has a key of its own.
pub(crate) fn day_of(step: i64) -> i64 {
    step.div_euclid(STEPS_PER_DAY)
}

/// The key of all cards for one day, under a generation of index keys.
pub(crate) fn day_key(keyring: &Keyring, day: i64, generation: u32) -> Option<Zeroizing<[u8; 32]>> {
    keyring.derived_key(&format!("card_code/{day}"), generation)
}

/// The code that a card shows in a step.
pub(crate) fn code_of(day_key: &[u8; 32], card: &CardNumber, step: i64) -> String {
    let digits = card.as_str().strip_prefix(CARD_PREFIX).unwrap_or_default();
    let shown = step.rem_euclid(10_i64.pow(STEP_DIGITS as u32));
    format!(
        "{VERSION}{digits}{shown:02}{}",
        digits_of_mac(day_key, card, step)
    )
}

fn digits_of_mac(day_key: &[u8; 32], card: &CardNumber, step: i64) -> String {
    let card_key = Zeroizing::new(mac(day_key, &[card.as_str().as_bytes()]));
    let tag = mac(&*card_key, &[VERSION.to_string().as_bytes(), &step.to_be_bytes()]);
    let mut head = [0; 8];
    head.copy_from_slice(&tag[..8]);
    let number = u64::from_be_bytes(head) % 10_u64.pow(MAC_DIGITS as u32);
    format!("{number:08}")
}

/// A code as it was read, not yet checked.
pub(crate) struct ShownCode {
    pub(crate) card: CardNumber,
    text: String,
}

impl ShownCode {
    /// Reads a code.
    ///
    /// # Errors
    /// [`MembersError::CodeUnreadable`].
    pub(crate) fn parse(text: &str) -> Result<Self, MembersError> {
        let text = text.trim();
        let valid = text.len() == DIGITS
            && text.starts_with(VERSION)
            && text.bytes().all(|byte| byte.is_ascii_digit());
        if !valid {
            return Err(MembersError::CodeUnreadable);
        }
        let card = format!("{CARD_PREFIX}{}", &text[1..=CARD_DIGITS]);
        Ok(Self {
            card: card.parse().map_err(|_| MembersError::CodeUnreadable)?,
            text: text.to_owned(),
        })
    }

    /// The step that the code is of: this one, the one before or the one after, since clocks differ.
    ///
    /// # Errors
    /// [`MembersError::CodeExpired`].
    pub(crate) fn check(&self, keyring: &Keyring, now: Timestamp) -> Result<i64, MembersError> {
        let this = step_of(now);
        for step in [this, this - 1, this + 1] {
            for generation in keyring.index_generations() {
                let key = day_key(keyring, day_of(step), generation);
                if key.is_some_and(|key| code_of(&key, &self.card, step) == self.text) {
                    return Ok(step);
                }
            }
        }
        Err(MembersError::CodeExpired)
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    /// The vectors of docs/guides/card-codes.md.
    #[test]
    fn codes_are_those_of_the_guide() {
        let keyring = Keyring::parse(&format!("index:{0}\n1:{0}\n", "A".repeat(43) + "=")).unwrap();
        let card: CardNumber = "8800000000000013".parse().unwrap();
        let now: Timestamp = "2026-11-21T02:00:00Z".parse().unwrap();
        let step = step_of(now);
        assert_eq!((step, day_of(step)), (59_840_880, 20_778));
        let key = day_key(&keyring, day_of(step), 1).unwrap();
        let vector = format!("{} {}", HEXLOWER.encode(&*key), code_of(&key, &card, step));
        assert_eq!(
            vector,
            "6be2bbbff7d22e9dfc1fa60010e36c9720370b17dd4982dca417a1a2f0cce895 1000000000000138057938964"
        );
        assert_eq!(
            ShownCode::parse(&code_of(&key, &card, step))
                .unwrap()
                .check(&keyring, now)
                .unwrap(),
            step
        );
    }

    #[test]
    fn a_code_holds_for_its_step_and_the_ones_beside_it_also_across_midnight() {
        let keyring = Keyring::parse(&Keyring::generate(&huika_core::Rng::seeded(1))).unwrap();
        let card: CardNumber = "8800000000000013".parse().unwrap();
        for shown_at in [
            "2026-11-21T02:00:00Z",
            "2026-11-20T23:59:45Z",
            "2026-11-21T00:00:00Z",
        ] {
            let shown_at: Timestamp = shown_at.parse().unwrap();
            let step = step_of(shown_at);
            let key = day_key(&keyring, day_of(step), 1).unwrap();
            let code = ShownCode::parse(&code_of(&key, &card, step)).unwrap();
            for (steps, holds) in [
                (-2, false),
                (-1, true),
                (0, true),
                (1, true),
                (2, false),
                (100, false),
            ] {
                let at = shown_at.plus_millis(steps * STEP_MS);
                assert_eq!(code.check(&keyring, at).is_ok(), holds, "{shown_at} {steps}");
            }
        }
        for text in [
            "",
            "8800000000000013",
            &"1".repeat(25),
            &"2".repeat(25),
            &"x".repeat(25),
        ] {
            assert!(ShownCode::parse(text).is_err(), "{text}");
        }
    }
}
