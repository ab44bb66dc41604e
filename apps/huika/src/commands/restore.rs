//! `huika restore`: read a backup into an empty database, and prove afterwards that everything adds up.

use std::{fs::File, io::BufReader, process::ExitCode};

use flate2::read::MultiGzDecoder;
use huika_core::Bilingual;
use huika_db::backup::restore;
use serde_json::json;

use super::{Context, verify};
use crate::{
    cli::RestoreArgs,
    compose,
    error::{CommandError, Failure, backup_failure},
};

pub(crate) async fn run(context: Context, args: RestoreArgs) -> Result<ExitCode, Failure> {
    // Before a database file is made for nothing.
    File::open(&args.file).map_err(|error| Failure::file(&args.file, error))?;
    let db = context.connect().await?;
    let label = Bilingual::new("恢复后核验账户", "Restoring, then verifying accounts");
    let progress = context.output.progress(&context.clock, label, None);
    let file = args.file.clone();
    let report = restore(&db, &compose::migrations(), move || {
        Ok(Box::new(BufReader::with_capacity(
            1 << 16,
            MultiGzDecoder::new(BufReader::new(File::open(&file)?)),
        )))
    })
    .await
    .map_err(backup_failure)?;
    let (verified, loyalty, orders, audit) = verify::whole(&db, |accounts| progress.at(accounts)).await?;
    progress.finish();
    let engine = db.engine().name();
    db.close().await;

    let (tables, rows, taken_at, from) = (report.tables, report.rows, report.created_at, &report.engine);
    let figures = verify::figures(&verified, &loyalty, &orders, &audit);
    let words = Bilingual::new(
        format!(
            "已将 {taken_at} 自 {from} 备份的 {tables} 张表、{rows} 行恢复到 {engine}。请使用当时的密钥文件启动。\n{}",
            figures.zh
        ),
        format!(
            "Restored {rows} rows of {tables} tables to {engine}, taken on {from} at {taken_at}. Start with the key \
             file of that installation.\n{}",
            figures.en
        ),
    );
    let fields = json!({
        "engine": engine, "from_engine": from, "taken_at": taken_at, "tables": tables, "rows": rows,
        "clean": verified.is_clean(), "ledger": verified, "loyalty": loyalty, "orders": orders,
        "audit": audit,
    });
    context.output.result(&fields, &words);
    if verified.is_clean() {
        return Ok(ExitCode::SUCCESS);
    }
    if !context.output.json {
        context.output.failure(
            &CommandError::NotClean {
                findings: verified.findings,
            }
            .into(),
        );
    }
    Ok(ExitCode::FAILURE)
}
