//! `huika export`: rows for spreadsheets and other programs.
//!
//! Phones are masked. A text that a spreadsheet would run as a formula is made a text (CWE-1236).

mod rows;
mod table;

use std::{
    io::{BufWriter, Write},
    path::Path,
    process::ExitCode,
};

use huika_core::Bilingual;
use serde_json::json;

use self::table::Writer;
use super::Context;
use crate::{
    cli::{ExportArgs, ExportWhat},
    compose::Migrate,
    error::{CommandError, Failure},
    files::Unfinished,
};

pub(crate) async fn run(context: Context, args: ExportArgs) -> Result<ExitCode, Failure> {
    let Some(out) = args.out.clone() else {
        if context.output.json {
            let reason = "with --json the rows need a file of their own: add --out FILE".into();
            return Err(CommandError::ConfigInvalid { reason }.into());
        }
        write(&context, &args, std::io::stdout()).await?;
        return Ok(ExitCode::SUCCESS);
    };
    // Rows about people: for whoever exports them alone.
    let (unfinished, file) = Unfinished::create(&out)?;
    let rows = write(&context, &args, &file).await?;
    unfinished.finish(&file)?;
    tell(&context, rows, &out);
    Ok(ExitCode::SUCCESS)
}

async fn write(context: &Context, args: &ExportArgs, sink: impl Write + Send) -> Result<u64, Failure> {
    let (place, services) = context.open(Migrate::Refuse).await?;
    let label = Bilingual::new("导出行", "Exporting rows");
    let progress = context.output.progress(&context.clock, label, None);
    let mut writer = Writer::new(BufWriter::new(sink), args.format, |rows| progress.at(rows));
    let db = place.db.clone();
    place
        .during(async {
            match args.what {
                ExportWhat::Members => rows::members(&db, &services.members, &mut writer).await?,
                ExportWhat::Purchases => rows::purchases(&db, &mut writer).await?,
                ExportWhat::Refunds => rows::refunds(&db, &mut writer).await?,
                ExportWhat::Entries => rows::entries(&db, &mut writer).await?,
            }
            Ok(())
        })
        .await?;
    let rows = writer.finish()?;
    progress.finish();
    Ok(rows)
}

fn tell(context: &Context, rows: u64, out: &Path) {
    let place = out.display().to_string();
    let words = Bilingual::new(
        format!("已导出 {rows} 行到 {place}。"),
        format!("Exported {rows} rows to {place}."),
    );
    context
        .output
        .result(&json!({ "rows": rows, "file": place }), &words);
}
