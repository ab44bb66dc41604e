//! The tables and columns that a list of migrations leaves behind, read from their SQL.
//!
//! Understands the portable DDL that migrations are written in, and refuses what would make it guess.

use crate::{DbError, Migration, migrate::statements};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Int,
    Text,
    Bytes,
}

/// A table with its columns in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) columns: Vec<(&'static str, Kind)>,
}

impl Table {
    pub(super) fn column_names(&self) -> Vec<&'static str> {
        self.columns.iter().map(|(name, _)| *name).collect()
    }
}

/// What begins a part of a table's definition that is no column.
const NOT_A_COLUMN: [&str; 7] = [
    "CONSTRAINT",
    "PRIMARY",
    "UNIQUE",
    "CHECK",
    "FOREIGN",
    "KEY",
    "INDEX",
];

/// The tables in the order in which they were created.
pub(super) fn tables(migrations: &[Migration]) -> Result<Vec<Table>, DbError> {
    let mut tables: Vec<Table> = Vec::new();
    for migration in migrations {
        for statement in statements(migration.sql) {
            apply(&mut tables, statement).map_err(|reason| {
                DbError::Setup(format!(
                    "migration {} {}: {reason}",
                    migration.module, migration.number
                ))
            })?;
        }
    }
    Ok(tables)
}

fn apply(tables: &mut Vec<Table>, statement: &'static str) -> Result<(), String> {
    let words = words(statement);
    let mut rest = words.as_slice();
    if skip(&mut rest, &["CREATE", "TABLE"]) {
        skip(&mut rest, &["IF", "NOT", "EXISTS"]);
        let name = take(&mut rest)?;
        if !skip(&mut rest, &["("]) {
            return Err(format!("the columns of {name} do not follow its name"));
        }
        let mut columns = Vec::new();
        for part in parts(rest) {
            if !part.first().is_some_and(|word| is_any(word, &NOT_A_COLUMN)) {
                columns.push(column(part)?);
            }
        }
        tables.push(Table { name, columns });
    } else if skip(&mut rest, &["ALTER", "TABLE"]) {
        let name = take(&mut rest)?;
        let table = tables
            .iter_mut()
            .find(|table| table.name == name)
            .ok_or(format!("{name} does not exist"))?;
        for part in parts(rest) {
            alter(table, part)?;
        }
    } else if skip(&mut rest, &["DROP", "TABLE"]) {
        skip(&mut rest, &["IF", "EXISTS"]);
        let name = take(&mut rest)?;
        tables.retain(|table| table.name != name);
    }
    Ok(())
}

fn alter(table: &mut Table, part: &[&'static str]) -> Result<(), String> {
    let mut rest = part;
    if skip(&mut rest, &["ADD"]) {
        skip(&mut rest, &["COLUMN"]);
        if !rest.first().is_some_and(|word| is_any(word, &NOT_A_COLUMN)) {
            table.columns.push(column(rest)?);
        }
    } else if skip(&mut rest, &["DROP", "COLUMN"]) {
        let name = take(&mut rest)?;
        table.columns.retain(|(column, _)| *column != name);
    } else if skip(&mut rest, &["RENAME"]) {
        return Err(format!(
            "{} is renamed: old programs still use the old name, so add a new one",
            table.name
        ));
    }
    Ok(())
}

fn column(part: &[&'static str]) -> Result<(&'static str, Kind), String> {
    let [name, kind, ..] = part else {
        return Err("a column has no type".into());
    };
    let kind = match kind.split(['(', '}']).next().unwrap_or_default() {
        "BIGINT" => Kind::Int,
        "{key" | "{text" | "{long_text" => Kind::Text,
        "{bytes" => Kind::Bytes,
        other => {
            return Err(format!(
                "the type {other} of {name} is none of the portable types"
            ));
        }
    };
    Ok((name, kind))
}

/// The words of a statement: names, portable types in braces, texts in quotes, single signs. No comments.
fn words(statement: &'static str) -> Vec<&'static str> {
    let mut words = Vec::new();
    for line in statement.lines() {
        let mut rest = line.split("--").next().unwrap_or_default().trim_start();
        while let Some(first) = rest.chars().next() {
            let length = match first {
                '{' => rest.find('}').map_or(rest.len(), |at| at + 1),
                '\'' => rest[1..].find('\'').map_or(rest.len(), |at| at + 2),
                _ if is_of_name(first) => rest.find(|sign| !is_of_name(sign)).unwrap_or(rest.len()),
                _ => first.len_utf8(),
            };
            words.push(&rest[..length]);
            rest = rest[length..].trim_start();
        }
    }
    words
}

fn is_of_name(sign: char) -> bool {
    sign.is_ascii_alphanumeric() || sign == '_'
}

fn is_any(word: &str, names: &[&str]) -> bool {
    names.iter().any(|name| name.eq_ignore_ascii_case(word))
}

/// Goes past the expected words, or stays where it is.
fn skip(rest: &mut &[&'static str], expected: &[&str]) -> bool {
    let met = rest.len() >= expected.len()
        && rest
            .iter()
            .zip(expected)
            .all(|(word, expected)| word.eq_ignore_ascii_case(expected));
    if met {
        *rest = &rest[expected.len()..];
    }
    met
}

fn take(rest: &mut &[&'static str]) -> Result<&'static str, String> {
    let (first, others) = rest.split_first().ok_or("the statement ends too early")?;
    *rest = others;
    Ok(first)
}

/// Cuts at commas outside brackets, up to the bracket that closes the list.
fn parts<'a>(words: &'a [&'static str]) -> Vec<&'a [&'static str]> {
    let mut parts = Vec::new();
    let (mut depth, mut start, mut end) = (0, 0, words.len());
    for (at, word) in words.iter().enumerate() {
        match *word {
            "(" => depth += 1,
            ")" if depth == 0 => {
                end = at;
                break;
            }
            ")" => depth -= 1,
            "," if depth == 0 => {
                parts.push(&words[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if start < end {
        parts.push(&words[start..end]);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables_of(sql: &'static str) -> Result<Vec<Table>, DbError> {
        tables(&[Migration {
            module: "test",
            number: 1,
            name: "test",
            sql,
        }])
    }

    #[test]
    fn tables_and_columns_are_read_from_migrations() {
        let found = tables_of(
            "-- A comment, with (signs); first
CREATE TABLE test_cup (
  cup_id BIGINT NOT NULL,
  -- Not a column BIGINT,
  name {text(40)} NOT NULL DEFAULT 'a, (b)', -- trailing, too
  picture {bytes(64)},
  left_over BIGINT NOT NULL CHECK (left_over >= 0 AND left_over <= 10),
  CONSTRAINT pk_test_cup PRIMARY KEY (cup_id, name),
  CONSTRAINT uq_test_cup UNIQUE (name)
) {clustered};

CREATE UNIQUE INDEX ix_test_cup ON test_cup (name, cup_id);
CREATE TABLE test_gone (x BIGINT NOT NULL);
ALTER TABLE test_cup ADD COLUMN note {long_text};
ALTER TABLE test_cup DROP COLUMN picture, ADD CONSTRAINT ck CHECK (cup_id > 0), ADD code {key(8)};
UPDATE test_cup SET note = 'CREATE TABLE';
DROP TABLE IF EXISTS test_gone;
",
        )
        .unwrap();
        let cup = Table {
            name: "test_cup",
            columns: vec![
                ("cup_id", Kind::Int),
                ("name", Kind::Text),
                ("left_over", Kind::Int),
                ("note", Kind::Text),
                ("code", Kind::Text),
            ],
        };
        assert_eq!(found, [cup]);
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        for sql in [
            "CREATE TABLE t AS SELECT 1",
            "CREATE TABLE t (a DECIMAL(10, 2))",
            "ALTER TABLE unknown ADD COLUMN a BIGINT",
            "CREATE TABLE t (a BIGINT);\nALTER TABLE t RENAME TO u",
        ] {
            assert!(tables_of(sql).is_err(), "{sql}");
        }
    }

    #[test]
    fn the_kernel_itself_is_understood() {
        let names: Vec<&str> = tables(&crate::kernel_migrations())
            .unwrap()
            .into_iter()
            .map(|table| table.name)
            .collect();
        assert!(
            names.contains(&"kernel_job") && names.contains(&"kernel_audit"),
            "{names:?}"
        );
    }
}
