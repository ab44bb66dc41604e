//! Card numbers: what stands under the bar code and is typed at the till when the scanner fails.

use std::{fmt, str::FromStr};

use huika_core::Rng;

use crate::MembersError;

/// Tells our cards from bank cards, whose numbers begin with 3 to 6.
const PREFIX: &str = "88";
const DRAWN_DIGITS: usize = 13;
const DIGITS: usize = PREFIX.len() + DRAWN_DIGITS + 1;

/// The number of a member's card: 88, thirteen drawn digits and a check digit (Luhn), so that a slip of
/// the finger is noticed and a neighbour's number cannot be guessed from one's own.
///
/// It identifies a member and never proves that the member is there: it must not be enough to spend.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CardNumber(String);

impl CardNumber {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Draws a number. Whether it is free is known once it is claimed.
    pub(crate) fn draw(rng: &Rng) -> Self {
        let drawn = rng.below(10_u64.pow(DRAWN_DIGITS as u32));
        let body = format!("{PREFIX}{drawn:0width$}", width = DRAWN_DIGITS);
        let check = (10 - luhn_sum(&body, true) % 10) % 10;
        Self(format!("{body}{check}"))
    }
}

impl FromStr for CardNumber {
    type Err = MembersError;

    /// Reads a number as people type it, with or without spaces and dashes.
    fn from_str(text: &str) -> Result<Self, MembersError> {
        let digits: String = text
            .chars()
            .filter(|letter| !matches!(letter, ' ' | '-'))
            .take(DIGITS + 1)
            .collect();
        let valid = digits.len() == DIGITS
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && digits.starts_with(PREFIX)
            && luhn_sum(&digits, false).is_multiple_of(10);
        if valid {
            Ok(Self(digits))
        } else {
            Err(MembersError::CardNumberInvalid)
        }
    }
}

impl fmt::Display for CardNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The sum of Luhn's check (ISO/IEC 7812-1): every second digit doubled, counted from the right, beginning
/// with the last one where the check digit is still missing.
fn luhn_sum(digits: &str, check_missing: bool) -> u32 {
    let doubled_at = usize::from(!check_missing);
    let mut sum = 0;
    for (at, digit) in digits
        .bytes()
        .rev()
        .map(|byte| u32::from(byte - b'0'))
        .enumerate()
    {
        sum += match (at % 2 == doubled_at, digit) {
            (false, digit) => digit,
            (true, digit @ 0..5) => digit * 2,
            (true, digit) => digit * 2 - 9,
        };
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_numbers_read_back_and_every_single_slip_is_noticed() {
        let rng = Rng::seeded(7);
        for _ in 0..50 {
            let card = CardNumber::draw(&rng);
            assert_eq!(card.as_str().parse::<CardNumber>().unwrap(), card);
            for at in 0..DIGITS {
                let mut slipped = card.as_str().as_bytes().to_vec();
                slipped[at] = b'0' + (slipped[at] - b'0' + 1) % 10;
                let slipped = String::from_utf8(slipped).unwrap();
                assert!(slipped.parse::<CardNumber>().is_err(), "{slipped}");
            }
        }
    }

    #[test]
    fn numbers_are_read_as_people_type_them_and_nothing_else() {
        // The check digit of 8800 0000 0000 001: 1 doubled is 2, two eights at odd places from the right
        // count 8, at even places 16 − 9 = 7.
        let typed: CardNumber = "8800-0000 0000 0013".parse().unwrap();
        assert_eq!(typed.as_str(), "8800000000000013");
        for text in [
            "",
            "8800000000000014",
            "880000000000001",
            "88000000000000130",
            "6200000000000005",
            "88aaaaaaaaaaaaaa",
        ] {
            assert!(text.parse::<CardNumber>().is_err(), "{text}");
        }
    }
}
