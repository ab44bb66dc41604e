//! The words of validation in both languages.

use std::{borrow::Cow, fmt::Display};

use garde::{
    Report, Validate,
    i18n::{I18n, InvalidCreditCard, InvalidEmail, InvalidPhoneNumber, InvalidUrl, IpKind, with_i18n},
};
use huika_core::FieldProblem;

/// Stands between the two languages in the message of a custom rule.
const BETWEEN: char = '\u{1f}';

/// Wrong fields that one answer lists at most; a bulk body can have very many.
const MAX_FIELDS: usize = 100;

/// The error of a custom validation rule, in English and Chinese.
pub fn field_error(en: &str, zh: &str) -> garde::Error {
    garde::Error::new(format!("{en}{BETWEEN}{zh}"))
}

/// Validates and lists the wrong fields in both languages. Valid input is looked at once.
pub(crate) fn validate<T: Validate<Context = ()>>(value: &T) -> Result<(), Vec<FieldProblem>> {
    let Err(report) = value.validate() else {
        return Ok(());
    };
    let chinese = with_i18n(Chinese, || value.validate())
        .err()
        .unwrap_or_else(Report::new);
    let english = with_i18n(English, || value.validate()).err().unwrap_or(report);
    let mut chinese = chinese.into_inner().into_iter();
    let fields = english.into_inner().into_iter().map(|(path, en)| {
        // Both runs visit the same rules in the same order.
        let zh = chinese.next().map_or_else(|| en.clone(), |(_, zh)| zh);
        let field = path.to_string();
        FieldProblem {
            field: if field.is_empty() {
                "body".to_owned()
            } else {
                field
            },
            en: en.message().split(BETWEEN).next().unwrap_or_default().to_owned(),
            zh: zh.message().rsplit(BETWEEN).next().unwrap_or_default().to_owned(),
        }
    });
    Err(fields.take(MAX_FIELDS).collect())
}

macro_rules! wording {
    ($language:ident {
        length_at_least $length_min:literal, length_at_most $length_max:literal,
        at_least $min:literal, at_most $max:literal,
        matches $matches:literal, contains $contains:literal, begins $begins:literal, ends $ends:literal,
        same_as $same:literal, card $card:literal, url $url:literal, phone $phone:literal, ip $ip:literal,
        email $email:literal, ascii $ascii:literal, alphanumeric $alphanumeric:literal, required $required:literal
    }) => {
        struct $language;
        impl I18n for $language {
            fn length_lower_than(&self, min: usize) -> Cow<'static, str> {
                format!($length_min, min).into()
            }
            fn length_greater_than(&self, max: usize) -> Cow<'static, str> {
                format!($length_max, max).into()
            }
            fn range_lower_than(&self, min: &dyn Display) -> Cow<'static, str> {
                format!($min, min).into()
            }
            fn range_greater_than(&self, max: &dyn Display) -> Cow<'static, str> {
                format!($max, max).into()
            }
            fn pattern_no_match(&self, pattern: &dyn Display) -> Cow<'static, str> {
                format!($matches, pattern).into()
            }
            fn contains_missing(&self, pattern: &dyn Display) -> Cow<'static, str> {
                format!($contains, pattern).into()
            }
            fn prefix_missing(&self, pattern: &dyn Display) -> Cow<'static, str> {
                format!($begins, pattern).into()
            }
            fn suffix_missing(&self, pattern: &dyn Display) -> Cow<'static, str> {
                format!($ends, pattern).into()
            }
            fn matches_field_mismatch(&self, field: &dyn Display) -> Cow<'static, str> {
                format!($same, field).into()
            }
            fn credit_card_invalid(&self, _: InvalidCreditCard) -> Cow<'static, str> {
                $card.into()
            }
            fn url_invalid(&self, _: InvalidUrl) -> Cow<'static, str> {
                $url.into()
            }
            fn phone_number_invalid(&self, _: InvalidPhoneNumber) -> Cow<'static, str> {
                $phone.into()
            }
            fn ip_invalid(&self, _: IpKind) -> Cow<'static, str> {
                $ip.into()
            }
            fn email_invalid(&self, _: InvalidEmail) -> Cow<'static, str> {
                $email.into()
            }
            fn ascii_invalid(&self) -> Cow<'static, str> {
                $ascii.into()
            }
            fn alphanumeric_invalid(&self) -> Cow<'static, str> {
                $alphanumeric.into()
            }
            fn required_not_set(&self) -> Cow<'static, str> {
                $required.into()
            }
        }
    };
}

wording!(English {
    length_at_least "must have a length of at least {}", length_at_most "must have a length of at most {}",
    at_least "must be at least {}", at_most "must be at most {}",
    matches "must match /{}/", contains "must contain \"{}\"", begins "must begin with \"{}\"",
    ends "must end with \"{}\"", same_as "must be the same as {}", card "must be a card number",
    url "must be a URL", phone "must be a phone number", ip "must be an IP address",
    email "must be an e-mail address", ascii "must be ASCII", alphanumeric "must be letters and digits",
    required "is missing"
});
wording!(Chinese {
    length_at_least "长度不得小于 {}", length_at_most "长度不得大于 {}",
    at_least "不得小于 {}", at_most "不得大于 {}",
    matches "须符合格式 /{}/", contains "须包含“{}”", begins "须以“{}”开头",
    ends "须以“{}”结尾", same_as "须与 {} 一致", card "须为银行卡号",
    url "须为网址", phone "须为电话号码", ip "须为 IP 地址",
    email "须为电子邮箱地址", ascii "只能使用 ASCII 字符", alphanumeric "只能使用字母和数字",
    required "缺少该字段"
});

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Validate)]
    struct Line {
        #[garde(range(min = 1, max = 9))]
        quantity: i64,
        #[garde(length(chars, min = 1), custom(no_spaces))]
        sku: String,
    }
    #[derive(Validate)]
    struct Order {
        #[garde(dive, length(max = 1))]
        lines: Vec<Line>,
    }
    fn no_spaces(text: &str, _: &()) -> garde::Result {
        if text.contains(' ') {
            Err(field_error("must not contain spaces", "不得包含空格"))
        } else {
            Ok(())
        }
    }

    #[test]
    fn every_wrong_field_is_listed_in_both_languages() {
        let line = |quantity, sku: &str| Line {
            quantity,
            sku: sku.into(),
        };
        assert_eq!(
            validate(&Order {
                lines: vec![line(1, "A")]
            }),
            Ok(())
        );
        let fields = validate(&Order {
            lines: vec![line(0, "A"), line(1, "A B")],
        })
        .unwrap_err();
        let shown: Vec<_> = fields
            .iter()
            .map(|f| (f.field.as_str(), f.en.as_str(), f.zh.as_str()))
            .collect();
        assert_eq!(
            shown,
            [
                ("lines[0].quantity", "must be at least 1", "不得小于 1"),
                ("lines[1].sku", "must not contain spaces", "不得包含空格"),
                ("lines", "must have a length of at most 1", "长度不得大于 1"),
            ]
        );
    }
}
