//! Every difference between the engines, as pure functions from our SQL to theirs.
//!
//! Our SQL uses `?` for a parameter, `IN (??)` for a list parameter, a trailing `FOR UPDATE` for a row lock
//! (SQLite has one writer and needs none), a trailing `FOR CURRENT` for rows as they are committed now and not as
//! an older snapshot of the transaction shows them, and `{int}` for the type that sums are cast to.

use std::borrow::Cow;

use data_encoding::BASE64;
use serde::Serialize;

use crate::{Engine, Param, Params, ToParam};

/// Multi-row statements have one of these row counts, so that each is prepared once and found again: the digits of
/// a number of rows in base 8. Up to 319 rows take at most three statements, each a round trip.
const CHUNKS: [usize; 18] = [256, 192, 128, 64, 56, 48, 40, 32, 24, 16, 8, 7, 6, 5, 4, 3, 2, 1];

/// The types of a `JSON_TABLE`'s columns on MySQL and MariaDB.
const MYSQL_INT: &str = "BIGINT";
const MYSQL_KEY: &str = "VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin";
const MYSQL_TEXT: &str = "LONGTEXT";

/// A statement in the words of one engine with its parameters laid out.
pub(crate) struct Rendered {
    pub(crate) sql: String,
    pub(crate) params: Params,
}

/// Translates a statement.
pub(crate) fn render(engine: Engine, sql: &str, params: Params) -> Rendered {
    let sql = sql.replace("{int}", integer_type(engine));
    let sql = match sql.strip_suffix("FOR UPDATE") {
        Some(rest) if engine == Engine::Sqlite => rest.to_owned(),
        _ => sql,
    };
    // MySQL's default snapshot is as old as the first plain read of the transaction: rows that a lock waited for are
    // read past it. PostgreSQL reads anew with each statement, and refuses the lock where it does not.
    let sql = match (sql.strip_suffix("FOR CURRENT"), engine) {
        (Some(rest), Engine::Mysql) => format!("{rest}LOCK IN SHARE MODE"),
        (Some(rest), _) => rest.to_owned(),
        (None, _) => sql,
    };
    let mut out = String::with_capacity(sql.len() + 16);
    let mut laid_out = Vec::with_capacity(params.len());
    let mut params = params.into_iter();
    let mut rest = sql.as_str();
    while let Some(at) = rest.find('?') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let list = rest.starts_with('?');
        if list {
            rest = &rest[1..];
        }
        let Some(param) = params.next() else { break };
        match (engine, list) {
            (Engine::Postgres, true) => {
                // `x IN (??)` becomes `x = ANY($n)`: one plan for every length.
                let opened = out
                    .trim_end()
                    .strip_suffix('(')
                    .map(str::trim_end)
                    .map(str::len)
                    .unwrap_or(out.len());
                out.truncate(opened);
                let before_in = out.strip_suffix("IN").map(str::len).unwrap_or(out.len());
                out.truncate(before_in);
                laid_out.push(param);
                out.push_str(&format!("= ANY(${}", laid_out.len()));
            }
            (_, true) => push_list(&mut out, &mut laid_out, param),
            (Engine::Postgres, false) => {
                laid_out.push(param);
                out.push_str(&format!("${}", laid_out.len()));
            }
            (_, false) => {
                laid_out.push(param);
                out.push('?');
            }
        }
    }
    out.push_str(rest);
    Rendered {
        sql: out,
        params: laid_out,
    }
}

/// Lays out a list parameter, padded to a power of two with its last element: repeating an element of an
/// IN list changes nothing, and few lengths mean few prepared statements.
fn push_list(out: &mut String, laid_out: &mut Params, param: Param) {
    let mut elements: Vec<Param> = match param {
        Param::Ints(numbers) => numbers
            .into_iter()
            .map(|number| Param::Int(Some(number)))
            .collect(),
        Param::Texts(texts) => texts.into_iter().map(|text| Param::Text(Some(text))).collect(),
        single => vec![single],
    };
    let Some(last) = elements.last().cloned() else {
        out.push_str("NULL");
        return;
    };
    elements.resize(elements.len().next_power_of_two(), last);
    out.push_str(&placeholders(elements.len()));
    laid_out.extend(elements);
}

fn placeholders(count: usize) -> String {
    let mut text = "?,".repeat(count);
    text.pop();
    text
}

/// A value that can stand second in a pair of [`pair_condition`].
pub trait PairValue: Clone + ToParam + Serialize {
    /// All second values as one array parameter.
    fn array(values: Vec<Self>) -> Param;
    /// The PostgreSQL type of the array's elements.
    const ELEMENT: &'static str;
    /// The type of the column on MySQL: compared as another type it goes past the index.
    const MYSQL_TYPE: &'static str;
}
impl PairValue for i64 {
    fn array(values: Vec<Self>) -> Param {
        Param::Ints(values)
    }
    const ELEMENT: &'static str = "bigint";
    const MYSQL_TYPE: &'static str = "BIGINT";
}
/// For columns of type `{key(n)}`.
impl PairValue for String {
    fn array(values: Vec<Self>) -> Param {
        Param::Texts(values)
    }
    const ELEMENT: &'static str = "text";
    const MYSQL_TYPE: &'static str = MYSQL_KEY;
}

/// `(a, b) IN (…)` over pairs that begin with an integer, in the form that each engine answers by its index.
/// Returns the condition and its parameters.
pub fn pair_condition<T: PairValue>(
    engine: Engine,
    columns: (&str, &str),
    pairs: &[(i64, T)],
) -> (String, Params) {
    let (first, second) = columns;
    if pairs.is_empty() {
        return ("1 = 0".to_owned(), Params::new());
    }
    if engine == Engine::Postgres {
        let (numbers, seconds) = pairs.iter().cloned().unzip();
        let condition = format!(
            "({first}, {second}) IN (SELECT * FROM UNNEST(?::bigint[], ?::{}[]))",
            T::ELEMENT
        );
        return (condition, vec![Param::Ints(numbers), T::array(seconds)]);
    }
    if engine == Engine::Mysql {
        // MariaDB reads a list of row values as a full scan, and takes milliseconds to plan a hundred conditions
        // with OR between them. This it joins by the index.
        let columns = json_columns([MYSQL_INT, T::MYSQL_TYPE]);
        let condition = format!(
            "({first}, {second}) IN (SELECT c0, c1 FROM JSON_TABLE(?, '$[*]' COLUMNS ({columns})) v)"
        );
        return (
            condition,
            vec![Param::Text(Some(serde_json::json!(pairs).to_string()))],
        );
    }
    let mut padded = pairs.to_vec();
    if let Some(last) = pairs.last() {
        padded.resize(pairs.len().next_power_of_two(), last.clone());
    }
    // SQLite seeks its index for a list of row values only when it is a VALUES clause.
    let condition = format!(
        "({first}, {second}) IN (VALUES {})",
        vec!["(?,?)"; padded.len()].join(",")
    );
    let params = padded
        .into_iter()
        .flat_map(|(number, second)| [Param::Int(Some(number)), second.to_param()])
        .collect();
    (condition, params)
}

/// The columns of a `JSON_TABLE` over rows that are JSON arrays.
fn json_columns(types: impl IntoIterator<Item = &'static str>) -> String {
    let columns: Vec<String> = types
        .into_iter()
        .enumerate()
        .map(|(at, kind)| format!("c{at} {kind} PATH '$[{at}]'"))
        .collect();
    columns.join(", ")
}

/// The type that integer sums are cast to, since SUM answers with a decimal on some engines.
fn integer_type(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => "INTEGER",
        Engine::Postgres => "BIGINT",
        Engine::Mysql => "SIGNED",
    }
}

/// Renders one statement of a migration: replaces the portable type names.
pub(crate) fn render_ddl(engine: Engine, sql: &str) -> String {
    let mut out = String::with_capacity(sql.len() + 64);
    let mut rest = sql;
    while let Some(open) = rest.find('{') {
        let Some(close) = rest[open..].find('}').map(|at| open + at) else {
            break;
        };
        out.push_str(&rest[..open]);
        let token = &rest[open + 1..close];
        let (name, size) = token
            .split_once('(')
            .map_or((token, ""), |(name, size)| (name, size.trim_end_matches(')')));
        let replaced = match (name, engine) {
            // Ids, keys and codes: compared byte by byte.
            ("key", Engine::Sqlite) => "TEXT".to_owned(),
            ("key", Engine::Postgres) => format!("VARCHAR({size}) COLLATE \"C\""),
            ("key", Engine::Mysql) => format!("VARCHAR({size}) CHARACTER SET ascii COLLATE ascii_bin"),
            // Words that people wrote, at most `size` characters.
            ("text", Engine::Sqlite) => "TEXT".to_owned(),
            ("text", _) => format!("VARCHAR({size})"),
            // JSON and long texts.
            ("long_text", Engine::Mysql) => "MEDIUMTEXT".to_owned(),
            ("long_text", _) => "TEXT".to_owned(),
            ("bytes", Engine::Sqlite) => "BLOB".to_owned(),
            ("bytes", Engine::Postgres) => "BYTEA".to_owned(),
            ("bytes", Engine::Mysql) => format!("VARBINARY({size})"),
            // After the closing bracket of a table whose rows lie in the order of the primary key.
            ("clustered", Engine::Sqlite) => "WITHOUT ROWID".to_owned(),
            ("clustered", Engine::Postgres) => String::new(),
            ("clustered", Engine::Mysql) => {
                "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin".to_owned()
            }
            _ => format!("{{{token}}}"),
        };
        out.push_str(&replaced);
        rest = &rest[close + 1..];
    }
    out.push_str(rest);
    out
}

/// Rows to insert into one table, all columns given.
pub struct Insert {
    pub(crate) table: &'static str,
    pub(crate) columns: Cow<'static, [&'static str]>,
    pub(crate) rows: Vec<Params>,
    /// What becomes of a row whose key exists.
    existing: Existing,
}

/// What an [`Insert`] does with a row whose key exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Existing {
    Refuse,
    Skip,
    Merge(Merge),
}

/// How a row is merged into the one that has its key. Columns that are neither key, sum nor greatest keep their
/// value. Merging is relative, so that two transactions lose nothing of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merge {
    /// The primary key.
    pub keys: &'static [&'static str],
    /// Columns to which the new value is added.
    pub sums: &'static [&'static str],
    /// Columns that keep the greater value.
    pub greatest: &'static [&'static str],
}

impl Merge {
    fn tail(&self, engine: Engine, table: &str) -> String {
        let sums = self.sums.iter().map(|column| match engine {
            Engine::Mysql => format!("{column} = {column} + VALUES({column})"),
            _ => format!("{column} = {table}.{column} + excluded.{column}"),
        });
        let greatest = self.greatest.iter().map(|column| match engine {
            Engine::Mysql => format!("{column} = GREATEST({column}, VALUES({column}))"),
            Engine::Postgres => format!("{column} = GREATEST({table}.{column}, excluded.{column})"),
            Engine::Sqlite => format!("{column} = MAX({table}.{column}, excluded.{column})"),
        });
        let assign = sums.chain(greatest).collect::<Vec<_>>().join(", ");
        match engine {
            Engine::Mysql => format!(" ON DUPLICATE KEY UPDATE {assign}"),
            _ => format!(" ON CONFLICT ({}) DO UPDATE SET {assign}", self.keys.join(", ")),
        }
    }
}

impl Insert {
    /// Starts with no rows.
    pub fn into_table(table: &'static str, columns: &'static [&'static str]) -> Self {
        Self {
            table,
            columns: Cow::Borrowed(columns),
            rows: Vec::new(),
            existing: Existing::Refuse,
        }
    }

    /// As [`Insert::into_table`], for columns that were found out at run time.
    pub(crate) fn into_columns(table: &'static str, columns: Vec<&'static str>) -> Self {
        Self {
            table,
            columns: Cow::Owned(columns),
            rows: Vec::new(),
            existing: Existing::Refuse,
        }
    }

    /// Leaves rows whose key exists as they are; the affected count tells how many were new.
    pub fn skip_existing(mut self) -> Self {
        self.existing = Existing::Skip;
        self
    }

    /// Merges rows whose key exists into those that are there. One statement holds a key once at most; the
    /// affected count means nothing then.
    pub fn merging(mut self, merge: Merge) -> Self {
        self.existing = Existing::Merge(merge);
        self
    }

    /// Adds a row, its values in the order of the columns.
    pub fn push(&mut self, row: Params) {
        debug_assert_eq!(row.len(), self.columns.len(), "columns of {}", self.table);
        self.rows.push(row);
    }

    /// Whether there is nothing to insert.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// On SQLite a refused row leaves those before it, here and in [`Update`], since nobody can go on in a transaction
    /// in which a statement failed. Otherwise SQLite copies each page that a statement changes, to be able to undo it.
    pub(crate) fn render(self, engine: Engine) -> Vec<Rendered> {
        let columns = self.columns.join(", ");
        let verb = match (engine, self.existing) {
            (Engine::Mysql, Existing::Skip) => "INSERT IGNORE",
            (Engine::Sqlite, Existing::Refuse) => "INSERT OR FAIL",
            _ => "INSERT",
        };
        let tail = match self.existing {
            Existing::Skip if engine != Engine::Mysql => " ON CONFLICT DO NOTHING".to_owned(),
            Existing::Merge(merge) => merge.tail(engine, self.table),
            _ => String::new(),
        };
        let head = format!("{verb} INTO {} ({columns})", self.table);
        if engine == Engine::Postgres {
            let Some(first) = self.rows.first() else {
                return Vec::new();
            };
            let arrays = unnest(first, 1);
            let sql = format!("{head} SELECT * FROM UNNEST({arrays}){tail}");
            return vec![Rendered {
                sql,
                params: transpose(self.rows, self.columns.len()),
            }];
        }
        let row = format!("({})", placeholders(self.columns.len()));
        chunks(self.rows)
            .map(|chunk| Rendered {
                sql: format!(
                    "{head} VALUES {}{tail}",
                    vec![row.as_str(); chunk.len()].join(",")
                ),
                params: chunk.into_iter().flatten().collect(),
            })
            .collect()
    }
}

/// Rows to update in one table: new values by key. A key column may also be set, which makes it a guard:
/// `sequence` as a key holds the value that was read, `sequence` as a set column the next one.
pub struct Update {
    pub(crate) table: &'static str,
    pub(crate) set: &'static [&'static str],
    pub(crate) keys: &'static [&'static str],
    pub(crate) rows: Vec<Params>,
}

impl Update {
    /// Starts with no rows.
    pub fn table(table: &'static str, set: &'static [&'static str], keys: &'static [&'static str]) -> Self {
        Self {
            table,
            set,
            keys,
            rows: Vec::new(),
        }
    }

    /// Adds a row: the values to set, then the keys.
    pub fn push(&mut self, row: Params) {
        debug_assert_eq!(
            row.len(),
            self.set.len() + self.keys.len(),
            "columns of {}",
            self.table
        );
        self.rows.push(row);
    }

    /// How many rows must be met.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is nothing to update.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn render(self, engine: Engine) -> Vec<Rendered> {
        let Some(first) = self.rows.first() else {
            return Vec::new();
        };
        let width = self.set.len() + self.keys.len();
        let names: Vec<String> = (0..width).map(|at| format!("c{at}")).collect();
        let keys_at = self.set.len();
        let pairs = |columns: &[&str], from: usize, target: &str, between: &str| {
            let pairs: Vec<String> = columns
                .iter()
                .enumerate()
                .map(|(at, column)| match (engine, &first[from + at]) {
                    // JSON holds no bytes.
                    (Engine::Mysql, Param::Bytes(_)) => {
                        format!("{target}{column} = FROM_BASE64(v.c{})", from + at)
                    }
                    _ => format!("{target}{column} = v.c{}", from + at),
                })
                .collect();
            pairs.join(between)
        };
        let target = if engine == Engine::Mysql { "t." } else { "" };
        let assign = pairs(self.set, 0, target, ", ");
        let matched = pairs(self.keys, keys_at, "t.", " AND ");
        let names = names.join(", ");
        let table = self.table;
        match engine {
            Engine::Postgres => {
                let arrays = unnest(first, 1);
                let sql = format!(
                    "UPDATE {table} t SET {assign} FROM UNNEST({arrays}) AS v({names}) WHERE {matched}"
                );
                vec![Rendered {
                    sql,
                    params: transpose(self.rows, width),
                }]
            }
            Engine::Sqlite => {
                let row = format!("({})", placeholders(width));
                chunks(self.rows)
                    .map(|chunk| Rendered {
                        sql: format!(
                            "WITH v({names}) AS (VALUES {}) UPDATE OR FAIL {table} AS t SET {assign} FROM v WHERE {matched}",
                            vec![row.as_str(); chunk.len()].join(",")
                        ),
                        params: chunk.into_iter().flatten().collect(),
                    })
                    .collect()
            }
            Engine::Mysql => {
                let columns = json_columns(first.iter().enumerate().map(|(at, param)| match param {
                    Param::Int(_) => MYSQL_INT,
                    Param::Text(_) if at >= keys_at => MYSQL_KEY,
                    _ => MYSQL_TEXT,
                }));
                let sql = format!(
                    "UPDATE {table} t JOIN JSON_TABLE(?, '$[*]' COLUMNS ({columns})) v ON {matched} SET {assign}"
                );
                let rows: Vec<Vec<serde_json::Value>> = self
                    .rows
                    .into_iter()
                    .map(|row| row.into_iter().map(json_of).collect())
                    .collect();
                vec![Rendered {
                    sql,
                    params: vec![Param::Text(Some(serde_json::json!(rows).to_string()))],
                }]
            }
        }
    }
}

/// A value of a row as JSON, bytes in base64.
fn json_of(param: Param) -> serde_json::Value {
    match param {
        Param::Int(number) => number.into(),
        Param::Text(text) => text.into(),
        Param::Bytes(bytes) => bytes.map(|bytes| BASE64.encode(&bytes)).into(),
        // Lists stand in conditions, never in rows.
        Param::Ints(_) | Param::Texts(_) | Param::Array(_) => serde_json::Value::Null,
    }
}

/// `$1::bigint[], $2::text[], …` by the types of a row.
fn unnest(row: &Params, from: usize) -> String {
    let arrays: Vec<String> = row
        .iter()
        .enumerate()
        .map(|(at, param)| {
            let element = match param {
                Param::Int(_) | Param::Ints(_) => "bigint",
                Param::Text(_) | Param::Texts(_) => "text",
                Param::Bytes(_) | Param::Array(_) => "bytea",
            };
            format!("${}::{element}[]", at + from)
        })
        .collect();
    arrays.join(", ")
}

/// Turns rows into columns, each one array parameter. Only for PostgreSQL, which binds them as arrays.
fn transpose(rows: Vec<Params>, width: usize) -> Params {
    let mut columns: Vec<Vec<Param>> = (0..width).map(|_| Vec::with_capacity(rows.len())).collect();
    for row in rows {
        for (column, value) in columns.iter_mut().zip(row) {
            column.push(value);
        }
    }
    columns.into_iter().map(Param::Array).collect()
}

/// Splits rows into runs of the sizes in [`CHUNKS`].
fn chunks(rows: Vec<Params>) -> impl Iterator<Item = Vec<Params>> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let size = CHUNKS.into_iter().find(|size| *size <= rest.len())?;
        let tail = rest.split_off(size);
        Some(std::mem::replace(&mut rest, tail))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params;

    #[test]
    fn placeholders_locks_and_lists_are_translated() {
        let sql = "SELECT * FROM t WHERE a = ? AND b IN (??) ORDER BY a FOR UPDATE";
        let params = || params![1_i64, Param::Ints(vec![1, 2, 3])];
        let postgres = render(Engine::Postgres, sql, params());
        assert_eq!(
            postgres.sql,
            "SELECT * FROM t WHERE a = $1 AND b = ANY($2) ORDER BY a FOR UPDATE"
        );
        let sqlite = render(Engine::Sqlite, sql, params());
        assert_eq!(
            sqlite.sql,
            "SELECT * FROM t WHERE a = ? AND b IN (?,?,?,?) ORDER BY a "
        );
        assert_eq!(sqlite.params.len(), 5, "padded to a power of two");
    }

    #[test]
    fn rows_are_cut_into_few_sizes() {
        let rows = vec![params![1_i64]; 150];
        let sizes: Vec<usize> = chunks(rows).map(|chunk| chunk.len()).collect();
        assert_eq!(sizes, [128, 16, 6]);
    }
}
