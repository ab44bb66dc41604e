//! Parameters and columns: what goes into a statement and what comes out of a row.

use huika_core::{BusinessDate, Id, IdKind, IdempotencyKey, Timestamp};
use sqlx::{Row as _, mysql::MySqlRow, postgres::PgRow, sqlite::SqliteRow};

use crate::DbError;

/// A typed parameter. Huika stores integers, text and bytes; everything else is one of them.
#[derive(Debug, Clone, PartialEq)]
pub enum Param {
    /// A 64-bit integer or NULL.
    Int(Option<i64>),
    /// Text or NULL.
    Text(Option<String>),
    /// Bytes or NULL.
    Bytes(Option<Vec<u8>>),
    /// Many integers for one `IN (??)`.
    Ints(Vec<i64>),
    /// Many texts for one `IN (??)`.
    Texts(Vec<String>),
    /// One column of many rows, NULLs included. Made by the dialect for PostgreSQL alone.
    Array(Vec<Param>),
}

/// The parameters of one statement, in order. Written with [`crate::params!`].
pub type Params = Vec<Param>;

/// Lists parameters: `params![member_id, now, "text", None::<i64>]`.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        vec![$($crate::ToParam::to_param($value)),*]
    };
}

/// What can be a parameter.
pub trait ToParam {
    /// The parameter.
    fn to_param(self) -> Param;
}

impl ToParam for Param {
    fn to_param(self) -> Param {
        self
    }
}
impl ToParam for i64 {
    fn to_param(self) -> Param {
        Param::Int(Some(self))
    }
}
impl ToParam for bool {
    fn to_param(self) -> Param {
        Param::Int(Some(self.into()))
    }
}
impl ToParam for &str {
    fn to_param(self) -> Param {
        Param::Text(Some(self.to_owned()))
    }
}
impl ToParam for String {
    fn to_param(self) -> Param {
        Param::Text(Some(self))
    }
}
impl ToParam for &String {
    fn to_param(self) -> Param {
        Param::Text(Some(self.clone()))
    }
}
impl ToParam for Vec<u8> {
    fn to_param(self) -> Param {
        Param::Bytes(Some(self))
    }
}
impl<const N: usize> ToParam for [u8; N] {
    fn to_param(self) -> Param {
        Param::Bytes(Some(self.to_vec()))
    }
}
impl<K> ToParam for Id<K> {
    fn to_param(self) -> Param {
        Param::Int(Some(self.as_i64()))
    }
}
impl ToParam for Timestamp {
    fn to_param(self) -> Param {
        Param::Int(Some(self.as_millis()))
    }
}
impl ToParam for BusinessDate {
    fn to_param(self) -> Param {
        Param::Text(Some(self.to_string()))
    }
}
impl ToParam for &IdempotencyKey {
    fn to_param(self) -> Param {
        Param::Text(Some(self.as_str().to_owned()))
    }
}

/// The NULL of a parameter's type.
pub trait NullParam {
    /// NULL.
    fn null() -> Param;
}
impl NullParam for i64 {
    fn null() -> Param {
        Param::Int(None)
    }
}
impl NullParam for Timestamp {
    fn null() -> Param {
        Param::Int(None)
    }
}
impl<K> NullParam for Id<K> {
    fn null() -> Param {
        Param::Int(None)
    }
}
impl NullParam for String {
    fn null() -> Param {
        Param::Text(None)
    }
}
impl NullParam for &str {
    fn null() -> Param {
        Param::Text(None)
    }
}
impl NullParam for &String {
    fn null() -> Param {
        Param::Text(None)
    }
}
impl NullParam for Vec<u8> {
    fn null() -> Param {
        Param::Bytes(None)
    }
}
impl NullParam for BusinessDate {
    fn null() -> Param {
        Param::Text(None)
    }
}
impl<T: ToParam + NullParam> ToParam for Option<T> {
    fn to_param(self) -> Param {
        self.map_or_else(T::null, ToParam::to_param)
    }
}

/// A row of any engine.
pub enum Row {
    /// From SQLite.
    Sqlite(SqliteRow),
    /// From PostgreSQL.
    Postgres(PgRow),
    /// From MySQL or MariaDB.
    Mysql(MySqlRow),
}

impl Row {
    /// Reads a column by its name.
    ///
    /// # Errors
    /// [`DbError::Corrupt`] when the column is missing or holds another type.
    pub fn get<T: FromColumn>(&self, column: &str) -> Result<T, DbError> {
        T::from_column(self, column)
    }
}

/// What can be read from a column.
pub trait FromColumn: Sized {
    /// Reads the column.
    ///
    /// # Errors
    /// [`DbError::Corrupt`] when the column is missing or holds another type.
    fn from_column(row: &Row, column: &str) -> Result<Self, DbError>;
}

macro_rules! driver_columns {
    ($mysql:ident: $($type:ty),*) => {$(
        impl FromColumn for $type {
            fn from_column(row: &Row, column: &str) -> Result<Self, DbError> {
                Ok(match row {
                    Row::Sqlite(row) => row.try_get(column)?,
                    Row::Postgres(row) => row.try_get(column)?,
                    Row::Mysql(row) => row.$mysql(column)?,
                })
            }
        }
    )*};
}
driver_columns!(try_get: i64, Option<i64>, Vec<u8>, Option<Vec<u8>>);
// The driver takes a text column with a binary collation for bytes and refuses it as text; it is UTF-8 all the same.
driver_columns!(try_get_unchecked: String, Option<String>);

impl FromColumn for bool {
    fn from_column(row: &Row, column: &str) -> Result<Self, DbError> {
        match row.get::<i64>(column)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DbError::corrupt(column)),
        }
    }
}
impl<const N: usize> FromColumn for [u8; N] {
    fn from_column(row: &Row, column: &str) -> Result<Self, DbError> {
        row.get::<Vec<u8>>(column)?
            .try_into()
            .map_err(|_| DbError::corrupt(column))
    }
}
impl<K: IdKind> FromColumn for Id<K> {
    fn from_column(row: &Row, column: &str) -> Result<Self, DbError> {
        row.get(column).map(Self::from_i64)
    }
}
impl<K: IdKind> FromColumn for Option<Id<K>> {
    fn from_column(row: &Row, column: &str) -> Result<Self, DbError> {
        Ok(row.get::<Option<i64>>(column)?.map(Id::from_i64))
    }
}
impl FromColumn for Timestamp {
    fn from_column(row: &Row, column: &str) -> Result<Self, DbError> {
        row.get(column).map(Self::from_millis)
    }
}
impl FromColumn for Option<Timestamp> {
    fn from_column(row: &Row, column: &str) -> Result<Self, DbError> {
        Ok(row.get::<Option<i64>>(column)?.map(Timestamp::from_millis))
    }
}
impl FromColumn for BusinessDate {
    fn from_column(row: &Row, column: &str) -> Result<Self, DbError> {
        row.get::<String>(column)?
            .parse()
            .map_err(|_| DbError::corrupt(column))
    }
}
