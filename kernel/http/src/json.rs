//! JSON in, with errors that a person at the other end can act on.

use huika_core::FieldProblem;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::{ApiError, InvalidInput, RequestError};

/// Parses a whole body. Only a body that fails is parsed again, to find the path of what is wrong.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let error = match serde_json::from_slice(bytes) {
        Ok(value) if !holds_nul(bytes) => return Ok(value),
        Ok(_) => {
            let (en, zh) = (
                "a text holds the character U+0000: leave it out",
                "文本含有 U+0000 字符，请去除",
            );
            return Err(InvalidInput::field("body", en, zh).into());
        }
        Err(error) => error,
    };
    if error.classify() != Category::Data {
        let (line, column) = (error.line(), error.column());
        return Err(RequestError::JsonSyntax {
            line,
            column,
            reason: without_position(&error.to_string()),
        }
        .into());
    }
    let mut again = serde_json::Deserializer::from_slice(bytes);
    let (path, message) = match serde_path_to_error::deserialize::<_, T>(&mut again) {
        Err(error) => (
            error.path().to_string(),
            without_position(&error.inner().to_string()),
        ),
        Ok(_) => (".".to_owned(), without_position(&error.to_string())),
    };
    Err(InvalidInput::body(vec![field_problem(&path, &message)]).into())
}

/// Whether a text in the JSON holds U+0000, which PostgreSQL cannot store. In valid JSON it can only be written
/// as the escape of four zeros.
fn holds_nul(bytes: &[u8]) -> bool {
    if !bytes.contains(&b'\\') {
        return false;
    }
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        if rest[at + 1..].starts_with(b"u0000") {
            return true;
        }
        // The escaped character is skipped, so that an escaped backslash does not begin another escape.
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    false
}

/// serde_json ends its messages with ` at line 1 column 2`.
fn without_position(message: &str) -> String {
    message
        .rsplit_once(" at line ")
        .map_or(message, |(text, _)| text)
        .to_owned()
}

/// A wrong field out of serde's path and message, the message translated as far as its form is known.
pub(crate) fn field_problem(path: &str, message: &str) -> FieldProblem {
    let path = if path == "." { "" } else { shorten(path) };
    let message = shorten(message);
    let named = |prefix: &str| {
        let (name, rest) = message.strip_prefix(prefix)?.strip_prefix('`')?.split_once('`')?;
        Some((name, rest.trim_start_matches([',', ' '])))
    };
    let below = |name: &str| match path {
        "" => name.to_owned(),
        path if path == name || path.ends_with(&format!(".{name}")) => path.to_owned(),
        path => format!("{path}.{name}"),
    };
    let (field, en, zh) = if let Some((name, _)) = named("missing field ") {
        (below(name), "is missing".to_owned(), "缺少该字段".to_owned())
    } else if let Some((name, expected)) = named("unknown field ") {
        (
            below(name),
            format!("is not known; {expected}"),
            format!("未知字段（{expected}）"),
        )
    } else if let Some((name, _)) = named("duplicate field ") {
        (
            below(name),
            "stands there twice".to_owned(),
            "该字段重复".to_owned(),
        )
    } else if let Some((name, expected)) = named("unknown variant ") {
        (
            path.to_owned(),
            format!("`{name}` is not possible; {expected}"),
            format!("不支持 `{name}`（{expected}）"),
        )
    } else if let Some(rest) = message.strip_prefix("invalid type: ") {
        (
            path.to_owned(),
            format!("has the wrong type: {rest}"),
            format!("类型不正确（{rest}）"),
        )
    } else {
        (
            path.to_owned(),
            message.to_owned(),
            format!("值不正确（{message}）"),
        )
    };
    FieldProblem {
        field: if field.is_empty() {
            "body".to_owned()
        } else {
            field
        },
        en,
        zh,
    }
}

/// Messages and paths quote the input, which may be as long as a body.
fn shorten(text: &str) -> &str {
    const MAX_BYTES: usize = 400;
    let mut end = text.len().min(MAX_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_input_is_not_quoted_in_full() {
        let problem = field_problem(
            &"会".repeat(1_000),
            &format!("unknown variant `{}`", "x".repeat(1_000_000)),
        );
        assert!(problem.en.len() + problem.zh.len() + problem.field.len() < 2_000);
    }

    #[test]
    fn only_a_real_nul_escape_is_found() {
        assert!(holds_nul(br#"{"a":"x\u0000"}"#));
        assert!(holds_nul(br#"{"a":"\\\u0000"}"#));
        assert!(!holds_nul(br#"{"a":"\\u0000"}"#));
        assert!(!holds_nul(br#"{"a":"\u0001\n\\"}"#));
        assert!(!holds_nul(b"{}"));
    }

    #[test]
    fn messages_of_serde_name_the_field() {
        let at = |path: &str, message: &str| {
            let FieldProblem { field, en, .. } = field_problem(path, message);
            (field, en)
        };
        assert_eq!(
            at(".", "missing field `name`"),
            ("name".into(), "is missing".into())
        );
        assert_eq!(
            at("lines[0]", "missing field `sku`"),
            ("lines[0].sku".into(), "is missing".into())
        );
        assert_eq!(
            at("lines[0].foo", "unknown field `foo`, expected `sku`"),
            ("lines[0].foo".into(), "is not known; expected `sku`".into())
        );
        assert_eq!(
            at(".", "an id is wrong"),
            ("body".into(), "an id is wrong".into())
        );
    }
}
