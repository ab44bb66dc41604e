//! Files to import, made by the tests.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use huika_core::Currency;
use huika_orders::{ImportFormat, ImportOptions, ImportSummary, OrdersError};
use tempfile::TempDir;

use crate::shop::Shop;

/// A folder that disappears with the test.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

pub(crate) fn gzipped(content: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content.as_ref()).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn options(format: ImportFormat, path: &Path) -> ImportOptions {
    let (source, currency) = match format {
        ImportFormat::OnlineRetail => ("online-retail", Currency::GBP),
        ImportFormat::Csv | ImportFormat::Jsonl => ("till", Currency::CNY),
    };
    ImportOptions {
        format,
        path: path.to_owned(),
        source: source.parse().unwrap(),
        currency,
    }
}

impl Shop {
    pub(crate) async fn import(
        &self,
        format: ImportFormat,
        path: &Path,
    ) -> Result<ImportSummary, OrdersError> {
        self.orders
            .import(&self.owner, &options(format, path), |_| ())
            .await
    }
}

/// Line and code of each refused row.
pub(crate) fn refused(summary: &ImportSummary) -> Vec<(u64, &str)> {
    summary
        .refused
        .iter()
        .map(|row| (row.line, row.code.as_str()))
        .collect()
}

/// Rows read, documents imported, documents known, rows refused.
pub(crate) fn figures(summary: &ImportSummary) -> (i64, i64, i64, i64) {
    (
        summary.rows_read,
        summary.documents_imported,
        summary.documents_known,
        summary.rows_refused,
    )
}
