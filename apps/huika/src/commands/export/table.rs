//! Rows as CSV or JSON lines.

use std::io::{self, Write};

use serde_json::{Map, Value};

use crate::{
    cli::ExportFormat,
    error::{CommandError, Failure},
};

/// Spreadsheets on Chinese systems read a file without it as GBK.
const BYTE_ORDER_MARK: &str = "\u{feff}";
/// What makes a spreadsheet take a text for a formula.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// One value of a row.
pub(super) enum Cell {
    /// Nothing is known.
    Empty,
    /// A whole number.
    Number(i64),
    /// A text.
    Text(String),
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}
impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}
impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Empty, Into::into)
    }
}

/// Writes rows of one kind.
pub(super) struct Writer<W, F> {
    sink: W,
    format: ExportFormat,
    columns: &'static [&'static str],
    rows: u64,
    tell: F,
}

impl<W: Write, F: FnMut(u64)> Writer<W, F> {
    /// Nothing is written before the columns are named.
    pub(super) fn new(sink: W, format: ExportFormat, tell: F) -> Self {
        Self {
            sink,
            format,
            columns: &[],
            rows: 0,
            tell,
        }
    }

    /// Names the columns.
    pub(super) fn begin(&mut self, columns: &'static [&'static str]) -> Result<(), Failure> {
        self.columns = columns;
        if self.format == ExportFormat::Csv {
            let header = format!("{BYTE_ORDER_MARK}{}\r\n", columns.join(","));
            self.sink.write_all(header.as_bytes()).map_err(refused)?;
        }
        Ok(())
    }

    /// Writes one row, its cells in the order of the columns.
    pub(super) fn row(&mut self, cells: Vec<Cell>) -> Result<(), Failure> {
        let line = match self.format {
            ExportFormat::Csv => cells.into_iter().map(csv_field).collect::<Vec<_>>().join(",") + "\r\n",
            ExportFormat::Jsonl => {
                let fields = self.columns.iter().map(|column| (*column).to_owned());
                let object: Map<String, Value> = fields.zip(cells.into_iter().map(json_value)).collect();
                Value::from(object).to_string() + "\n"
            }
        };
        self.sink.write_all(line.as_bytes()).map_err(refused)?;
        self.rows += 1;
        (self.tell)(self.rows);
        Ok(())
    }

    /// Writes what is still held back, and tells how many rows there were.
    pub(super) fn finish(mut self) -> Result<u64, Failure> {
        self.sink.flush().map_err(refused)?;
        Ok(self.rows)
    }
}

fn refused(error: io::Error) -> Failure {
    CommandError::FileUnusable {
        path: "(output)".into(),
        reason: error.to_string(),
    }
    .into()
}

fn csv_field(cell: Cell) -> String {
    match cell {
        Cell::Empty => String::new(),
        Cell::Number(number) => number.to_string(),
        Cell::Text(text) => {
            let text = if text.starts_with(FORMULA) {
                format!("'{text}")
            } else {
                text
            };
            let quoted = text.contains(['"', ',', '\r', '\n']);
            if quoted {
                format!("\"{}\"", text.replace('"', "\"\""))
            } else {
                text
            }
        }
    }
}

fn json_value(cell: Cell) -> Value {
    match cell {
        Cell::Empty => Value::Null,
        Cell::Number(number) => number.into(),
        Cell::Text(text) => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: ExportFormat, cells: Vec<Cell>) -> String {
        let mut sink = Vec::new();
        let mut writer = Writer::new(&mut sink, format, |_| {});
        writer.begin(&["a", "b", "c"]).unwrap();
        writer.row(cells).unwrap();
        assert_eq!(writer.finish().unwrap(), 1);
        String::from_utf8(sink).unwrap()
    }

    #[test]
    fn formulas_become_texts_and_numbers_stay_numbers() {
        for formula in [
            "=1+1",
            "+86",
            "-1",
            "@SUM(A1)",
            "\t=1",
            "=HYPERLINK(\"http://x\",\"y\")",
        ] {
            let text = written(
                ExportFormat::Csv,
                vec![formula.to_owned().into(), (-5).into(), Cell::Empty],
            );
            let row = text.lines().nth(1).unwrap();
            assert!(row.trim_start_matches('"').starts_with('\''), "{row}");
            assert!(row.ends_with(",-5,"), "{row}");
        }
    }

    #[test]
    fn texts_that_need_it_are_quoted() {
        let text = written(
            ExportFormat::Csv,
            vec![
                "a,b".to_owned().into(),
                "say \"hi\"".to_owned().into(),
                "纯".to_owned().into(),
            ],
        );
        assert_eq!(text, "\u{feff}a,b,c\r\n\"a,b\",\"say \"\"hi\"\"\",纯\r\n");
    }

    #[test]
    fn json_lines_name_every_column() {
        let text = written(
            ExportFormat::Jsonl,
            vec!["=1".to_owned().into(), 7.into(), None::<i64>.into()],
        );
        assert_eq!(text, "{\"a\":\"=1\",\"b\":7,\"c\":null}\n");
    }
}
