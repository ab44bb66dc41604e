//! Phone numbers: many ways to write one, one canonical form, and never a clear one by accident.
//!
//! `Display` and `Debug` are masked, so that a number that strays into a log or an error stays unknown.
//! The clear form is asked for by name: [`PhoneNumber::reveal`].

use std::{fmt, str::FromStr};

use crate::MembersError;

/// The longest text that is looked at: the longest number with generous separators.
const MAX_INPUT_CHARS: usize = 40;
/// Digits of an international number after the plus sign (ITU-T E.164).
const E164_DIGITS: std::ops::RangeInclusive<usize> = 8..=15;
const MAINLAND_DIGITS: usize = 11;

/// A phone number that can receive messages, in its international form.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PhoneNumber(String);

impl PhoneNumber {
    /// The clear number in its canonical form, `+8613800138000`. For encryption, blind indexes and those
    /// who may see it; never for logs, events or messages of errors.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for PhoneNumber {
    type Err = MembersError;

    /// Reads mainland mobile numbers with or without +86, 86 or 0086, and every other number with its
    /// country code. Spaces, dashes, brackets and full-width characters do not matter.
    fn from_str(text: &str) -> Result<Self, MembersError> {
        canonical(text).map(Self).ok_or(MembersError::PhoneInvalid)
    }
}

fn canonical(text: &str) -> Option<String> {
    if text.chars().count() > MAX_INPUT_CHARS {
        return None;
    }
    let mut digits = String::with_capacity(E164_DIGITS.end() + 2);
    let mut international = false;
    for letter in text.trim().chars() {
        match half_width(letter) {
            '+' if digits.is_empty() && !international => international = true,
            digit if digit.is_ascii_digit() => digits.push(digit),
            ' ' | '\u{a0}' | '-' | '‐' | '‑' | '–' | '—' | '(' | ')' => {}
            _ => return None,
        }
    }
    if !international && let Some(rest) = digits.strip_prefix("00") {
        digits = rest.to_owned();
        international = true;
    }
    let local = if international {
        None
    } else {
        Some(digits.as_str())
    };
    if let Some(number) = local {
        let number = number
            .strip_prefix("86")
            .filter(|rest| rest.len() == MAINLAND_DIGITS)
            .unwrap_or(number);
        return is_mainland_mobile(number).then(|| format!("+86{number}"));
    }
    // Taiwanese numbers are often written with the zero that is dialled inside the country.
    if let Some(number) = digits.strip_prefix("8860") {
        digits = format!("886{number}");
    }
    let valid = match (digits.get(..2), digits.get(..3)) {
        (Some("86"), _) => is_mainland_mobile(&digits[2..]),
        // Hong Kong and Macau have eight digits, Taiwanese mobile numbers nine that begin with 9.
        (_, Some("852" | "853")) => digits.len() == 3 + 8,
        (_, Some("886")) => digits.len() == 3 + 9 && digits[3..].starts_with('9'),
        _ => E164_DIGITS.contains(&digits.len()) && !digits.starts_with('0'),
    };
    valid.then(|| format!("+{digits}"))
}

/// Full-width forms of ASCII, as Chinese keyboards write them, and the ideographic space.
fn half_width(letter: char) -> char {
    match letter {
        '\u{3000}' => ' ',
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(letter) - 0xfee0).unwrap_or(letter),
        other => other,
    }
}

fn is_mainland_mobile(number: &str) -> bool {
    let mut bytes = number.bytes();
    number.len() == MAINLAND_DIGITS
        && bytes.next() == Some(b'1')
        && bytes.next().is_some_and(|second| (b'3'..=b'9').contains(&second))
        && bytes.all(|byte| byte.is_ascii_digit())
}

impl fmt::Display for PhoneNumber {
    /// Masked: `138****8000`, abroad `+852****4567`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.strip_prefix("+86").unwrap_or(&self.0);
        let digits = shown.trim_start_matches('+').len();
        let head = shown.len() - digits + 3;
        let tail = if digits < MAINLAND_DIGITS { 2 } else { 4 };
        write!(f, "{}****{}", &shown[..head], &shown[shown.len() - tail..])
    }
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Masks the mainland mobile numbers in a text that a person wrote, such as the reason of a decision: what
/// goes into the audit log stays there for ever, longer than the member's own data may.
pub(crate) fn mask_phones(text: &str) -> String {
    let letters: Vec<char> = text.chars().map(half_width_digit).collect();
    let mut masked = String::with_capacity(text.len());
    let mut rest = letters.as_slice();
    while !rest.is_empty() {
        if let Some((length, number)) = leading_phone(rest) {
            masked.push_str(&format!("{}****{}", &number[..3], &number[7..]));
            rest = &rest[length..];
        } else {
            // A number begins where its digits begin, never in the middle of a longer figure.
            let skipped = rest
                .iter()
                .take_while(|letter| letter.is_ascii_digit())
                .count()
                .max(1);
            masked.extend(&rest[..skipped]);
            rest = &rest[skipped..];
        }
    }
    masked
}

fn half_width_digit(letter: char) -> char {
    if ('０'..='９').contains(&letter) {
        half_width(letter)
    } else {
        letter
    }
}

/// The mobile number that a text begins with, single spaces and dashes between its digits allowed, and how
/// many characters it takes.
fn leading_phone(letters: &[char]) -> Option<(usize, String)> {
    const LONGEST_PREFIX: &str = "0086";
    let is_digit = |at: usize| letters.get(at).is_some_and(char::is_ascii_digit);
    let mut digits = String::with_capacity(LONGEST_PREFIX.len() + MAINLAND_DIGITS);
    for (at, letter) in letters.iter().enumerate() {
        match letter {
            digit if digit.is_ascii_digit() => digits.push(*digit),
            ' ' | '-' if at > 0 && is_digit(at - 1) && is_digit(at + 1) => continue,
            _ => return None,
        }
        if !is_digit(at + 1) {
            let mut numbers = [LONGEST_PREFIX, "86", ""]
                .iter()
                .filter_map(|prefix| digits.strip_prefix(prefix));
            if let Some(number) = numbers.find(|number| is_mainland_mobile(number)) {
                return Some((at + 1, number.to_owned()));
            }
        }
        if digits.len() >= LONGEST_PREFIX.len() + MAINLAND_DIGITS {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_number_has_one_canonical_form() {
        let table = [
            ("13800138000", "+8613800138000"),
            ("138 0013 8000", "+8613800138000"),
            ("138-0013-8000", "+8613800138000"),
            ("8613800138000", "+8613800138000"),
            ("+86 138 0013 8000", "+8613800138000"),
            ("(+86)13800138000", "+8613800138000"),
            ("0086-13800138000", "+8613800138000"),
            ("　１３８００１３８０００ ", "+8613800138000"),
            ("＋８６ １３８００１３８０００", "+8613800138000"),
            ("19912345678", "+8619912345678"),
            ("+852 9123 4567", "+85291234567"),
            ("00852 91234567", "+85291234567"),
            ("+853 6612 3456", "+85366123456"),
            ("+886 0912 345 678", "+886912345678"),
            ("+886912345678", "+886912345678"),
            ("+44 7700 900123", "+447700900123"),
            ("+65 8123 4567", "+6581234567"),
        ];
        for (text, expected) in table {
            let number: PhoneNumber = text.parse().unwrap();
            assert_eq!(number.reveal(), expected, "{text}");
            assert_eq!(number.reveal().parse::<PhoneNumber>().unwrap(), number, "{text}");
        }
    }

    #[test]
    fn what_is_no_mobile_number_is_refused() {
        let long = "1".repeat(200);
        for text in [
            "",
            " ",
            "+",
            "123",
            "12800138000",
            "1380013800",
            "138001380000",
            "010-12345678",
            "+86 10 1234 5678",
            "91234567",
            "+852 912345678",
            "+886 212345678",
            "+0 12345678",
            "+1234567",
            "+1234567890123456",
            "1380013800a",
            "138.0013.8000",
            "++8613800138000",
            "138+00138000",
            "13800138000,13900139000",
            "000086 13800138000",
            "一三八〇〇一三八〇〇〇",
            "'; DROP TABLE",
            &long,
        ] {
            assert!(
                matches!(text.parse::<PhoneNumber>(), Err(MembersError::PhoneInvalid)),
                "{text}"
            );
        }
    }

    #[test]
    fn a_number_shows_itself_masked() {
        for (text, masked) in [
            ("13800138000", "138****8000"),
            ("+852 91234567", "+852****4567"),
            ("+12345678", "+123****78"),
        ] {
            let number: PhoneNumber = text.parse().unwrap();
            assert_eq!(
                (number.to_string(), format!("{number:?}")),
                (masked.to_owned(), masked.to_owned())
            );
        }
    }

    #[test]
    fn numbers_in_a_sentence_are_masked_and_other_figures_stay() {
        for (text, masked) in [
            ("", ""),
            (
                "客人 13800138000（旧号 +86１３９００１３９０００）",
                "客人 138****8000（旧号 +139****9000）",
            ),
            ("008613800138000,8613800138000", "138****8000,138****8000"),
            ("138 0013 8000 或 138-0013-8000", "138****8000 或 138****8000"),
            ("13800138000 13900139000", "138****8000 139****9000"),
            ("20261121 13800138000-2", "20261121 138****8000-2"),
            (
                "订单 202611210001，金额 268.00，2026-11-21 10:00",
                "订单 202611210001，金额 268.00，2026-11-21 10:00",
            ),
            ("913800138000 138001380001", "913800138000 138001380001"),
            ("138  0013 8000", "138  0013 8000"),
        ] {
            assert_eq!(mask_phones(text), masked, "{text}");
        }
    }
}
