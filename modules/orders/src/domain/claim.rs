//! Claim codes: what is printed on the receipt of an anonymous purchase, and proves that somebody holds it.

use std::{fmt, str::FromStr};

use data_encoding::HEXLOWER;
use huika_core::Rng;
use sha2::{Digest as _, Sha256};

use crate::OrdersError;

/// Without letters that are taken for digits.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Five bits each: 80 bits that nobody guesses.
const LETTERS: usize = 16;
/// As it is printed.
const GROUP: usize = 4;

/// A code. It is shown once, on the receipt; only its hash is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct ClaimCode(String);

impl ClaimCode {
    /// Draws a code.
    pub(crate) fn draw(rng: &Rng) -> Self {
        let letters = rng.bytes::<LETTERS>();
        // The alphabet has 32 letters, so that the low five bits of a byte draw each of them alike.
        Self(
            letters
                .iter()
                .map(|byte| char::from(ALPHABET[usize::from(byte & 31)]))
                .collect(),
        )
    }

    /// What is stored of it.
    pub(crate) fn hash(&self) -> String {
        let hash = Sha256::new()
            .chain_update(b"huika.orders.claim")
            .chain_update([0])
            .chain_update(&self.0)
            .finalize();
        HEXLOWER.encode(&hash)
    }

    /// As it is printed, in groups of four.
    pub fn printed(&self) -> String {
        let groups: Vec<&str> = (0..LETTERS)
            .step_by(GROUP)
            .filter_map(|at| self.0.get(at..at + GROUP))
            .collect();
        groups.join("-")
    }
}

impl fmt::Debug for ClaimCode {
    /// Without the code: whoever has it has the purchase.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("claim code")
    }
}

impl FromStr for ClaimCode {
    type Err = OrdersError;

    /// Reads what somebody types: in any case, with or without dashes, and with letters that look like digits.
    fn from_str(text: &str) -> Result<Self, OrdersError> {
        let letters: String = text
            .chars()
            .filter(|letter| !matches!(letter, '-' | ' '))
            .map(|letter| match letter.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                letter => letter,
            })
            .collect();
        let known = |letter: u8| ALPHABET.contains(&letter);
        if letters.len() == LETTERS && letters.bytes().all(known) {
            Ok(Self(letters))
        } else {
            Err(OrdersError::ClaimNotFound)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_again_however_it_is_typed() {
        let code = ClaimCode::draw(&Rng::seeded(7));
        let printed = code.printed();
        assert_eq!(printed.len(), 19);
        for typed in [printed.clone(), printed.to_lowercase(), printed.replace('-', " ")] {
            assert_eq!(typed.parse::<ClaimCode>().unwrap(), code);
        }
        assert_eq!(
            "oooo-iiii-llll-1111".parse::<ClaimCode>().unwrap().printed(),
            "0000-1111-1111-1111"
        );
        for wrong in [
            "",
            "0000-1111-1111-111",
            "0000-1111-1111-111U",
            "会卡会卡-1111-1111-1111",
        ] {
            assert!(wrong.parse::<ClaimCode>().is_err(), "{wrong}");
        }
        assert_ne!(ClaimCode::draw(&Rng::seeded(8)), code);
        assert_eq!(format!("{code:?}"), "claim code");
    }
}
