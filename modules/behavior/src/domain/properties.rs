//! What an event carries beside its name: little, flat, and without personal data.

use serde_json::{Map, Value};

use crate::BehaviorError;

const MOST_KEYS: usize = 16;
const KEY_CHARS: usize = 32;
const VALUE_CHARS: usize = 128;
/// Words that name personal data wherever they stand in a key.
const PERSONAL_KEYS: [&str; 16] = [
    "phone",
    "mobile",
    "email",
    "mail",
    "address",
    "birthday",
    "birth",
    "id_card",
    "idcard",
    "id_no",
    "openid",
    "unionid",
    "real_name",
    "nickname",
    "password",
    "token",
];
/// Digits of a mainland mobile number, and of an identity number.
const PHONE_DIGITS: usize = 11;
const IDENTITY_CHARS: usize = 18;

/// A flat JSON object of texts, whole numbers and truth values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Properties(Option<String>);

impl Properties {
    /// Takes an object that is small, flat and holds no personal data, as far as its form shows.
    ///
    /// # Errors
    /// [`BehaviorError::PropertiesInvalid`], [`BehaviorError::PersonalData`].
    pub fn try_new(object: &Map<String, Value>) -> Result<Self, BehaviorError> {
        let invalid = |en: &str, zh: &str| {
            Err(BehaviorError::PropertiesInvalid {
                en: en.to_owned(),
                zh: zh.to_owned(),
            })
        };
        if object.len() > MOST_KEYS {
            return invalid("give at most 16 of them.", "最多 16 个属性。");
        }
        for (key, value) in object {
            let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            if !(1..=KEY_CHARS).contains(&key.len()) || !key.bytes().all(allowed) {
                return invalid(
                    "a key has 1 to 32 small letters, digits or underscores.",
                    "属性名应为 1 至 32 位小写字母、数字或下划线。",
                );
            }
            if PERSONAL_KEYS.iter().any(|word| key.contains(word)) {
                return Err(BehaviorError::PersonalData {
                    field: format!("properties.{key}"),
                });
            }
            match value {
                Value::Bool(_) => {}
                Value::Number(number) if number.is_i64() => {
                    if looks_personal(&number.to_string()) {
                        return Err(BehaviorError::PersonalData {
                            field: format!("properties.{key}"),
                        });
                    }
                }
                Value::String(text) if text.chars().count() <= VALUE_CHARS => {
                    if looks_personal(text) {
                        return Err(BehaviorError::PersonalData {
                            field: format!("properties.{key}"),
                        });
                    }
                }
                _ => {
                    return invalid(
                        "a value is a text of at most 128 characters, a whole number, true or false.",
                        "属性值应为不超过 128 字的文本、整数或布尔值。",
                    );
                }
            }
        }
        if object.is_empty() {
            return Ok(Self(None));
        }
        // An object of plain values has a text.
        Ok(Self(serde_json::to_string(object).ok()))
    }

    /// The object as JSON; absent where there is nothing.
    pub fn as_json(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

/// The path of a page: what follows a question mark or a hash is where personal data stands.
///
/// # Errors
/// [`BehaviorError::PersonalData`] when the path itself holds some.
pub(crate) fn clean_page(page: &str) -> Result<Option<String>, BehaviorError> {
    let path = page.split(['?', '#']).next().unwrap_or_default();
    if looks_personal(path) {
        return Err(BehaviorError::PersonalData {
            field: "page".to_owned(),
        });
    }
    Ok((!path.is_empty()).then(|| path.to_owned()))
}

/// Whether a text holds what has the form of a phone number, an identity number or an e-mail address.
fn looks_personal(text: &str) -> bool {
    let address = text
        .split(|letter: char| letter.is_whitespace() || letter == '/')
        .any(|word| {
            let Some((before, after)) = word.split_once('@') else {
                return false;
            };
            !before.is_empty() && after.contains('.')
        });
    let is_part = |letter: char| letter.is_ascii_digit() || matches!(letter, 'x' | 'X' | '-' | ' ' | '+');
    let numbers = text.split(|letter: char| !is_part(letter)).any(|run| {
        let digits: String = run
            .chars()
            .filter(|letter| !matches!(letter, '-' | ' ' | '+'))
            .collect();
        let national = digits.strip_prefix("86").unwrap_or(&digits);
        let phone = |number: &str| {
            number.len() == PHONE_DIGITS
                && number.starts_with('1')
                && !number.starts_with("10")
                && number.bytes().all(|byte| byte.is_ascii_digit())
        };
        let identity = digits.len() == IDENTITY_CHARS
            && digits[..IDENTITY_CHARS - 1]
                .bytes()
                .all(|byte| byte.is_ascii_digit());
        phone(&digits) || phone(national) || identity
    });
    address || numbers
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn code(value: Value) -> Option<&'static str> {
        use huika_core::Refusal as _;
        Properties::try_new(value.as_object().unwrap())
            .err()
            .map(|error| error.problem().code)
    }

    #[test]
    fn small_flat_objects_without_personal_data_pass() {
        let long = "x".repeat(129);
        let many: Map<String, Value> = (0..17).map(|n| (format!("k{n}"), json!(n))).collect();
        let (shape, personal) = (
            Some("behavior.properties_invalid"),
            Some("behavior.personal_data"),
        );
        for (value, expected) in [
            (json!({}), None),
            (json!({"sku": "LATTE-L", "position": 3, "first": true}), None),
            (json!({"amount": 12_345_678_901_i64 % 10_000_000}), None),
            (json!({"Sku": "x"}), shape),
            (json!({"a": {"b": 1}}), shape),
            (json!({"a": [1]}), shape),
            (json!({"a": 1.5}), shape),
            (json!({"a": null}), shape),
            (json!({"a": long}), shape),
            (Value::Object(many), shape),
            (json!({"user_phone": "x"}), personal),
            (json!({"note": "call 138 0013 8000"}), personal),
            (json!({"note": "+86-13800138000"}), personal),
            (json!({"note": 13_800_138_000_i64}), personal),
            (json!({"note": "11010519491231002X"}), personal),
            (json!({"note": "a@b.cn"}), personal),
        ] {
            assert_eq!(code(value.clone()), expected, "{value}");
        }
    }

    #[test]
    fn a_page_keeps_its_path_alone() {
        assert_eq!(
            clean_page("/menu/latte?openid=o1#top").unwrap().as_deref(),
            Some("/menu/latte")
        );
        assert_eq!(clean_page("?a=1").unwrap(), None);
        assert!(clean_page("/u/13800138000").is_err());
    }
}
