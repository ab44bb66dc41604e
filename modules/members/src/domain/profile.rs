//! What a member tells about the person: one validated text per field, never in clear by accident.

use std::{fmt, str::FromStr};

use huika_core::{BusinessDate, Timestamp};

use crate::MembersError;

/// Beijing time, which has had no clock change since 1991. Law counts ages by it, wherever the shop is.
const BEIJING_OFFSET_MS: i64 = 8 * 60 * 60 * 1_000;
/// Nobody who is alive was born before.
const FIRST_BIRTH_YEAR: i16 = 1900;
/// Below this age a guardian decides (PIPL article 31).
const AGE_OF_CONSENT: i16 = 14;

/// The date in Beijing.
pub(crate) fn date_in_beijing(now: Timestamp) -> BusinessDate {
    let text = now.plus_millis(BEIJING_OFFSET_MS).to_string();
    let date = text.get(..10).and_then(|date| date.parse().ok());
    // A timestamp always begins with a date; the epoch makes nobody older than they are.
    date.or_else(|| BusinessDate::try_new(1970, 1, 1).ok())
        .unwrap_or_else(|| unreachable!("1970 has a first of January"))
}

/// A field of personal data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PersonalField {
    /// The date of birth.
    Birthday,
    /// female, male or other.
    Gender,
    /// The name in documents.
    RealName,
    /// The number of the resident identity card.
    IdNumber,
    /// Where parcels go.
    Address,
    /// The mail address.
    Email,
    /// Where the picture lies.
    Avatar,
}

impl PersonalField {
    /// Every field.
    pub const ALL: [Self; 7] = [
        Self::Birthday,
        Self::Gender,
        Self::RealName,
        Self::IdNumber,
        Self::Address,
        Self::Email,
        Self::Avatar,
    ];

    /// The name in the database and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Birthday => "birthday",
            Self::Gender => "gender",
            Self::RealName => "real_name",
            Self::IdNumber => "id_number",
            Self::Address => "address",
            Self::Email => "email",
            Self::Avatar => "avatar",
        }
    }
}

/// The text names no field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a field is one of birthday, gender, real_name, id_number, address, email, avatar")]
pub struct UnknownField;

impl FromStr for PersonalField {
    type Err = UnknownField;

    fn from_str(name: &str) -> Result<Self, UnknownField> {
        let mut all = Self::ALL.into_iter();
        all.find(|field| field.name() == name).ok_or(UnknownField)
    }
}

/// A month and a day of birth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BirthDay {
    /// 1 to 12.
    pub month: i8,
    /// 1 to 31.
    pub day: i8,
}

impl BirthDay {
    /// `05-17`: what the blind index of birthdays is made of.
    pub(crate) fn text(self) -> String {
        format!("{:02}-{:02}", self.month, self.day)
    }
}

/// A validated value of one field. `Debug` names the field alone.
#[derive(Clone, PartialEq, Eq)]
pub struct PersonalValue {
    field: PersonalField,
    text: String,
}

impl PersonalValue {
    /// The longest value in characters; the column of its encrypted form has room for as many of four bytes.
    pub const MAX_CHARS: usize = 255;

    /// Checks a value. `now` tells which birthdays lie in the future.
    ///
    /// # Errors
    /// The refusal of the field, such as [`MembersError::BirthdayInvalid`].
    pub fn try_new(field: PersonalField, text: &str, now: Timestamp) -> Result<Self, MembersError> {
        let text = text.trim();
        let text = match field {
            PersonalField::Birthday => birthday(text, now)?.to_string(),
            PersonalField::Gender if ["female", "male", "other"].contains(&text) => text.to_owned(),
            PersonalField::Gender => return Err(MembersError::GenderInvalid),
            PersonalField::RealName => one_line(text, 50).ok_or(MembersError::RealNameInvalid)?,
            PersonalField::IdNumber => id_number(text, now).ok_or(MembersError::IdNumberInvalid)?,
            PersonalField::Address => one_line(text, Self::MAX_CHARS).ok_or(MembersError::AddressInvalid)?,
            PersonalField::Email => email(text).ok_or(MembersError::EmailInvalid)?,
            PersonalField::Avatar => avatar(text).ok_or(MembersError::AvatarInvalid)?,
        };
        Ok(Self { field, text })
    }

    /// Takes a value that was checked when it was stored.
    pub(crate) fn stored(field: PersonalField, text: String) -> Self {
        Self { field, text }
    }

    /// Which field.
    pub fn field(&self) -> PersonalField {
        self.field
    }

    /// The value in clear, for those who may see it; never for logs, events or messages of errors.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// The value as everybody who may see members sees it.
    pub fn masked(&self) -> String {
        let letters: Vec<char> = self.text.chars().collect();
        let head = |count: usize| letters.iter().take(count).collect::<String>();
        match self.field {
            PersonalField::Birthday => format!("****{}", self.text.get(4..).unwrap_or_default()),
            PersonalField::Gender | PersonalField::Avatar => self.text.clone(),
            PersonalField::RealName => format!("{}{}", head(1), "*".repeat(letters.len().clamp(2, 3) - 1)),
            PersonalField::IdNumber => {
                let tail = letters.last().copied().unwrap_or_default();
                format!("{}{}{tail}", head(1), "*".repeat(letters.len().saturating_sub(2)))
            }
            PersonalField::Address => format!("{}****", head(6.min(letters.len() / 2))),
            PersonalField::Email => {
                let domain = self.text.split_once('@').map_or("", |(_, domain)| domain);
                format!("{}****@{domain}", head(1))
            }
        }
    }

    /// The month and day of a birthday.
    pub fn birth_day(&self) -> Option<BirthDay> {
        if self.field != PersonalField::Birthday {
            return None;
        }
        let mut parts = self.text.rsplit('-').map(|part| part.parse::<i8>().ok());
        let (day, month) = (parts.next()??, parts.next()??);
        Some(BirthDay { month, day })
    }

    /// Whether a birthday says that the person is below the age at which one consents for oneself.
    pub(crate) fn needs_guardian(&self, now: Timestamp) -> bool {
        let Ok(born) = self.text.parse::<BusinessDate>() else {
            return false;
        };
        // Born on 29 February one is of age on the last day of February.
        let of_age = born.plus_months(12 * i32::from(AGE_OF_CONSENT));
        self.field == PersonalField::Birthday && date_in_beijing(now) < of_age
    }
}

impl fmt::Debug for PersonalValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.field.name())
    }
}

fn birthday(text: &str, now: Timestamp) -> Result<BusinessDate, MembersError> {
    let date: BusinessDate = text.parse().map_err(|_| MembersError::BirthdayInvalid)?;
    if date.year() < FIRST_BIRTH_YEAR || date > date_in_beijing(now) {
        return Err(MembersError::BirthdayInvalid);
    }
    Ok(date)
}

fn one_line(text: &str, max: usize) -> Option<String> {
    let fits = (1..=max).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

/// The number of a resident identity card (GB 11643-1999): six digits of a region, the date of birth, a serial
/// number, and a check character by ISO 7064 MOD 11-2.
fn id_number(text: &str, now: Timestamp) -> Option<String> {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    const CHECKS: &[u8; 11] = b"10X98765432";
    let number = text.to_ascii_uppercase();
    let (body, check) = number.split_at_checked(17)?;
    if !body.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = body.bytes().map(|byte| u32::from(byte - b'0'));
    let sum: u32 = digits.zip(WEIGHTS).map(|(digit, weight)| digit * weight).sum();
    let born = format!("{}-{}-{}", &body[6..10], &body[10..12], &body[12..14]);
    let valid = check.as_bytes() == [CHECKS[(sum % 11) as usize]] && birthday(&born, now).is_ok();
    valid.then_some(number)
}

/// Masks what looks like the number of an identity card in a text that a person wrote: eighteen characters with a date
/// of birth in the middle, whether or not the check character is right, since people mistype.
pub(crate) fn mask_id_numbers(text: &str) -> String {
    const LENGTH: usize = 18;
    let letters: Vec<char> = text.chars().collect();
    let mut masked = String::with_capacity(text.len());
    let mut at = 0;
    while at < letters.len() {
        let digits = letters[at..]
            .iter()
            .take_while(|letter| letter.is_ascii_digit())
            .count();
        let ends_in_x = letters
            .get(at + digits)
            .is_some_and(|letter| matches!(letter, 'x' | 'X'));
        let run = digits + usize::from(digits == LENGTH - 1 && ends_in_x);
        if run == LENGTH && has_birth_date(&letters[at..at + LENGTH]) {
            masked.push(letters[at]);
            masked.push_str(&"*".repeat(LENGTH - 2));
            masked.push(letters[at + LENGTH - 1]);
            at += LENGTH;
        } else {
            let passed = run.max(1);
            masked.extend(&letters[at..at + passed]);
            at += passed;
        }
    }
    masked
}

/// Whether a date between 1800 and 2099 stands where an identity number has the date of birth.
fn has_birth_date(number: &[char]) -> bool {
    let part = |range: std::ops::Range<usize>| -> Option<u32> {
        number.get(range)?.iter().collect::<String>().parse().ok()
    };
    part(6..10).is_some_and(|year| (1800..2100).contains(&year))
        && part(10..12).is_some_and(|month| (1..=12).contains(&month))
        && part(12..14).is_some_and(|day| (1..=31).contains(&day))
}

fn email(text: &str) -> Option<String> {
    let (name, domain) = text.rsplit_once('@')?;
    let labels = domain.split('.');
    let label = |label: &str| {
        !label.is_empty()
            && label
                .chars()
                .all(|letter| letter.is_alphanumeric() || letter == '-')
    };
    let valid = text.chars().count() <= 254
        && !name.is_empty()
        && domain.contains('.')
        && labels.clone().all(label)
        && !text
            .chars()
            .any(|letter| letter.is_whitespace() || letter.is_control());
    valid.then(|| format!("{name}@{}", domain.to_lowercase()))
}

fn avatar(text: &str) -> Option<String> {
    let path = text.strip_prefix("https://")?;
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    (visible && !path.is_empty() && text.len() <= PersonalValue::MAX_CHARS).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The morning of 21 November 2026 in Shanghai.
    fn now() -> Timestamp {
        "2026-11-21T02:00:00Z".parse().unwrap()
    }

    #[test]
    fn each_field_takes_what_the_table_says() {
        let table = [
            ("birthday", "1990-05-17", "1990-05-17", "****-05-17"),
            ("birthday", "2000-02-29", "2000-02-29", "****-02-29"),
            ("birthday", "1900-02-29", "members.birthday_invalid", ""),
            ("birthday", "1899-12-31", "members.birthday_invalid", ""),
            ("birthday", "1900-01-01", "1900-01-01", "****-01-01"),
            ("birthday", "2026-11-21", "2026-11-21", "****-11-21"),
            ("birthday", "2026-11-22", "members.birthday_invalid", ""),
            ("birthday", "17.5.1990", "members.birthday_invalid", ""),
            ("gender", "female", "female", "female"),
            ("gender", "F", "members.gender_invalid", ""),
            ("real_name", " 王小明 ", "王小明", "王**"),
            ("real_name", "李", "李", "李*"),
            ("real_name", "a\nb", "members.real_name_invalid", ""),
            (
                "id_number",
                "11010519491231002x",
                "11010519491231002X",
                "1****************X",
            ),
            ("id_number", "110105194912310021", "members.id_number_invalid", ""),
            ("id_number", "110105194913310020", "members.id_number_invalid", ""),
            ("id_number", "11010519491231002", "members.id_number_invalid", ""),
            ("id_number", "一二三四五六", "members.id_number_invalid", ""),
            (
                "address",
                "上海市静安区南京西路1号",
                "上海市静安区南京西路1号",
                "上海市静安区****",
            ),
            ("address", "", "members.address_invalid", ""),
            (
                "email",
                "Ming@Example.COM",
                "Ming@example.com",
                "M****@example.com",
            ),
            ("email", "ming@example", "members.email_invalid", ""),
            ("email", "a b@example.com", "members.email_invalid", ""),
            (
                "avatar",
                "https://a.example/1.png",
                "https://a.example/1.png",
                "https://a.example/1.png",
            ),
            ("avatar", "javascript:alert(1)", "members.avatar_invalid", ""),
        ];
        for (field, text, expected, masked) in table {
            use huika_core::Refusal as _;
            match PersonalValue::try_new(field.parse().unwrap(), text, now()) {
                Ok(value) => assert_eq!((value.reveal(), value.masked().as_str()), (expected, masked)),
                Err(error) => assert_eq!(error.problem().code, expected, "{field} {text}"),
            }
        }
    }

    #[test]
    fn identity_numbers_in_texts_are_masked_and_other_figures_are_not() {
        for (text, expected) in [
            ("证件 11010519491231002X 待核实", "证件 1****************X 待核实"),
            ("110105194912310021", "1****************1"), // mistyped, and still somebody's
            ("x11010519491231002x.", "x1****************x."),
            ("order 202611210000000001", "order 202611210000000001"),
            ("1101051949123100211", "1101051949123100211"),
            ("11010519491231002", "11010519491231002"),
            ("", ""),
        ] {
            assert_eq!(mask_id_numbers(text), expected);
        }
    }

    #[test]
    fn a_guardian_decides_below_fourteen() {
        for (born, needs) in [
            ("2012-11-21", false),
            ("2012-11-22", true),
            ("2026-01-01", true),
            ("1990-05-17", false),
        ] {
            let value = PersonalValue::try_new(PersonalField::Birthday, born, now()).unwrap();
            assert_eq!(value.needs_guardian(now()), needs, "{born}");
        }
        // 14 years after 29 February 2012 is 28 February 2026, and the day counts in Beijing.
        let born = PersonalValue::try_new(PersonalField::Birthday, "2012-02-29", now()).unwrap();
        for (at, needs) in [("2026-02-27T15:59:59Z", true), ("2026-02-27T16:00:00Z", false)] {
            assert_eq!(born.needs_guardian(at.parse().unwrap()), needs, "{at}");
        }
    }

    #[test]
    fn a_value_stays_out_of_logs() {
        let value = PersonalValue::try_new(PersonalField::RealName, "王小明", now()).unwrap();
        assert_eq!(format!("{value:?}"), "real_name");
    }
}
