//! Lists in pages. A cursor names the last row that was seen, so that pages neither skip nor repeat a row while
//! others are added.

use std::{fmt, str::FromStr};

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page begins: pass it as `cursor`. Null on the last page.
    #[schema(required, example = "AAABk2uH-AAAAAGTa4f4AA")]
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// Cuts a page out of `limit + 1` rows that were asked for: the row too many tells that there are more.
    /// `cursor_of` names a row by what the list is sorted by.
    pub fn cut(mut rows: Vec<T>, limit: u32, cursor_of: impl FnOnce(&T) -> Cursor) -> Self {
        let limit = limit as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = rows
            .last()
            .filter(|_| more)
            .map(|last| cursor_of(last).to_string());
        Self {
            items: rows,
            next_cursor,
        }
    }

    /// The same page with other rows, for example domain types turned into bodies.
    pub fn map<U>(self, map: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(map).collect(),
            next_cursor: self.next_cursor,
        }
    }
}

/// Which page of a list is asked for.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams, garde::Validate)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// `next_cursor` of the page before. Absent for the first page.
    #[garde(skip)]
    #[param(value_type = Option<String>, nullable = false)]
    pub cursor: Option<Cursor>,
    /// How many rows at most.
    #[serde(default = "PageQuery::default_limit")]
    #[garde(range(min = 1, max = PageQuery::MAX_LIMIT))]
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub limit: u32,
}

impl PageQuery {
    /// The most rows of one page.
    pub const MAX_LIMIT: u32 = 200;

    fn default_limit() -> u32 {
        50
    }
}

/// A place in a list that is sorted by two numbers, such as (created_at, id). Opaque to callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Cursor(pub i64, pub i64);

/// The text is no cursor of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidCursor;

impl fmt::Display for InvalidCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected the next_cursor of the page before")
    }
}
impl std::error::Error for InvalidCursor {}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.0.to_be_bytes());
        bytes[8..].copy_from_slice(&self.1.to_be_bytes());
        f.write_str(&BASE64URL_NOPAD.encode(&bytes))
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let bytes = BASE64URL_NOPAD
            .decode(text.as_bytes())
            .map_err(|_| InvalidCursor)?;
        let bytes: [u8; 16] = bytes.try_into().map_err(|_| InvalidCursor)?;
        let number = u128::from_be_bytes(bytes);
        Ok(Self((number >> 64) as i64, number as i64))
    }
}

impl TryFrom<String> for Cursor {
    type Error = InvalidCursor;
    fn try_from(text: String) -> Result<Self, InvalidCursor> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_and_garbage_is_refused() {
        for cursor in [
            Cursor(0, 0),
            Cursor(1_763_700_000_000, i64::MAX),
            Cursor(-1, i64::MIN),
        ] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        let valid = Cursor(1, 2).to_string();
        for garbage in [
            "",
            "1",
            "!!!!",
            &valid[1..],
            &format!("{valid}A"),
            &valid.replace('A', "="),
        ] {
            assert_eq!(garbage.parse::<Cursor>(), Err(InvalidCursor), "{garbage}");
        }
    }

    #[test]
    fn only_a_full_page_with_a_row_beyond_has_a_next_one() {
        let page = |rows: std::ops::Range<i64>| Page::cut(rows.collect(), 3, |row| Cursor(*row, 0));
        assert_eq!(page(0..0).next_cursor, None);
        assert_eq!(page(0..3).next_cursor, None);
        let cut = page(0..4);
        assert_eq!(
            (cut.items, cut.next_cursor),
            (vec![0, 1, 2], Some(Cursor(2, 0).to_string()))
        );
    }
}
