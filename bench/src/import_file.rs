//! A year of a shop that never was, in the format of the Online Retail data: so that the import can be measured
//! where the real file is not. Its shape is that of the real one: mostly wholesale, a quarter of the rows without a
//! customer, one invoice in seven a cancellation, descriptions with commas and quotes.

use std::{
    fs::File,
    io::{BufReader, BufWriter, Read, Write},
    path::Path,
};

use anyhow::Context as _;
use flate2::read::MultiGzDecoder;

use crate::chance::Chance;

const HEADER: &str = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n";
const FIRST_INVOICE: u64 = 536_365;
const FIRST_CUSTOMER: u64 = 12_346;
const DAYS_PER_MONTH: [u64; 12] = [31, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30];
const WORDS: [&str; 16] = [
    "WHITE",
    "HANGING",
    "HEART",
    "METAL",
    "LANTERN",
    "VINTAGE",
    "RED",
    "\"RETRO\" SPOT",
    "CAKE STAND",
    "SET/3",
    "TEA, COFFEE",
    "JUMBO BAG",
    "WOODEN",
    "PICTURE FRAME",
    "GLASS",
    "CHRISTMAS",
];

/// What to make.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) invoices: u64,
    pub(crate) customers: u64,
    pub(crate) seed: u64,
}

impl Shape {
    /// With as many customers as the real shop would have.
    pub(crate) fn of(invoices: u64, seed: u64) -> Self {
        Self {
            invoices,
            customers: (invoices * 4_372 / 25_900).max(1),
            seed,
        }
    }
}

/// What was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) rows: u64,
    pub(crate) cancellations: u64,
}

/// Writes the file. The same shape gives the same bytes.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write_file(path: &Path, shape: &Shape) -> anyhow::Result<Made> {
    let file = File::create(path).with_context(|| format!("{} cannot be written", path.display()))?;
    let mut out = BufWriter::new(file);
    let made = write(&mut out, shape)?;
    out.flush()?;
    Ok(made)
}

/// Rows of a file, plain or gzip, its header left out.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn count_rows(path: &Path) -> anyhow::Result<u64> {
    let file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let input: Box<dyn Read> = match path.extension() {
        Some(extension) if extension == "gz" => Box::new(MultiGzDecoder::new(file)),
        _ => Box::new(file),
    };
    let mut reader = csv::Reader::from_reader(BufReader::new(input));
    let mut rows = 0;
    let mut row = csv::ByteRecord::new();
    while reader.read_byte_record(&mut row)? {
        rows += 1;
    }
    Ok(rows)
}

fn write(out: &mut impl Write, shape: &Shape) -> std::io::Result<Made> {
    let mut chance = Chance::new(shape.seed);
    let mut made = Made {
        rows: 0,
        cancellations: 0,
    };
    out.write_all(HEADER.as_bytes())?;
    for number in 0..shape.invoices {
        let cancels = chance.percent(14);
        let lines = if cancels {
            chance.between(1, 4)
        } else {
            lines(&mut chance)
        };
        let customer = (!chance.percent(15)).then(|| FIRST_CUSTOMER + chance.below(shape.customers));
        let at = date(number, shape.invoices, &mut chance);
        made.cancellations += u64::from(cancels);
        for _ in 0..lines {
            let article = 10_000 + chance.below(4_000);
            let mut name = WORDS[chance.index(WORDS.len())].to_owned();
            for _ in 0..chance.between(1, 3) {
                name.push(' ');
                name.push_str(WORDS[chance.index(WORDS.len())]);
            }
            let quantity = chance.between(1, 24);
            // One row in two hundred is given away.
            let pence = if chance.below(200) == 0 {
                0
            } else {
                chance.between(19, 1_295)
            };
            let (prefix, sign) = if cancels { ("C", "-") } else { ("", "") };
            write!(out, "{prefix}{},{article},", FIRST_INVOICE + number)?;
            write_text(out, &name)?;
            write!(out, ",{sign}{quantity},{at},{}.{:02},", pence / 100, pence % 100)?;
            if let Some(customer) = customer {
                write!(out, "{customer}.0")?;
            }
            out.write_all(b",United Kingdom\n")?;
            made.rows += 1;
        }
    }
    Ok(made)
}

/// Twenty-five on average, with a long tail as wholesale has.
fn lines(chance: &mut Chance) -> u64 {
    match chance.below(10) {
        0..=2 => chance.between(1, 6),
        3..=7 => chance.between(8, 32),
        _ => chance.between(30, 106),
    }
}

/// Invoices lie in order over the year from December 2010.
fn date(number: u64, of: u64, chance: &mut Chance) -> String {
    let year_days: u64 = DAYS_PER_MONTH.iter().sum();
    let mut day = number * year_days / of.max(1);
    let mut month = 0;
    while let Some(days) = DAYS_PER_MONTH.get(month).filter(|days| day >= **days) {
        day -= days;
        month += 1;
    }
    // The list begins in December.
    let (year, month) = if month == 0 { (2010, 12) } else { (2011, month) };
    format!(
        "{year}-{month:02}-{:02} {:02}:{:02}:00",
        day + 1,
        chance.between(8, 17),
        chance.below(60)
    )
}

/// Quoted where CSV demands it.
fn write_text(out: &mut impl Write, text: &str) -> std::io::Result<()> {
    if text.contains([',', '"']) {
        write!(out, "\"{}\"", text.replace('"', "\"\""))
    } else {
        out.write_all(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_the_shape_of_the_real_one_and_repeats() {
        let shape = Shape::of(2_500, 1);
        let make = || {
            let mut bytes = Vec::new();
            let made = write(&mut bytes, &shape).unwrap();
            (made, bytes)
        };
        let (made, bytes) = make();
        assert_eq!((made, &bytes), (make().0, &make().1));
        assert!((50_000..58_000).contains(&made.rows), "{made:?}");
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
        let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert_eq!(rows.len() as u64, made.rows);
        assert!(rows.iter().all(|row| row.len() == 8));
        let anonymous = rows.iter().filter(|row| row[6].is_empty()).count();
        assert!((10..20).contains(&(100 * anonymous / rows.len())), "{anonymous}");
        assert!(
            rows.iter()
                .all(|row| row[0].starts_with('C') == row[3].starts_with('-'))
        );
        let (first, last) = (&rows[0][4], &rows[rows.len() - 1][4]);
        assert!(
            first.starts_with("2010-12-01") && last.starts_with("2011-11-30"),
            "{first} {last}"
        );
    }
}
