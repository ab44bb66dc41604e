//! `huika import purchases`: take in the history of a shop from a file.

use std::process::ExitCode;

use huika_core::{Actor, Bilingual, Currency};
use huika_loyalty::LoyaltyError;
use huika_orders::{ImportFormat, ImportOptions, ImportSummary};

use super::{Context, ensure_program};
use crate::{
    cli::{ImportPurchasesArgs, PurchaseFormat},
    compose::Services,
    error::{CommandError, Failure},
    output::print_aside,
};

/// Refused rows that are shown on the terminal; `--json` lists more.
const SHOWN_ROWS: usize = 20;

pub(crate) async fn run(context: Context, args: ImportPurchasesArgs) -> Result<ExitCode, Failure> {
    // Before anything is made: the usual mistake is a wrong path.
    std::fs::metadata(&args.file).map_err(|error| Failure::file(&args.file, error))?;
    // The history of that shop is in pounds whatever the programme counts in: the two must not be taken for one.
    let (format, currency) = match args.format {
        PurchaseFormat::OnlineRetail => (ImportFormat::OnlineRetail, Some(Currency::GBP)),
        PurchaseFormat::Csv => (ImportFormat::Csv, None),
        PurchaseFormat::Jsonl => (ImportFormat::Jsonl, None),
    };
    let currency = args.currency.or(currency);
    let source = args
        .source
        .as_deref()
        .unwrap_or(format.name())
        .parse::<huika_members::Code>()?;
    let (place, services) = context.open(context.usual_migrate()?).await?;
    let summary = place
        .during(async {
            let currency = currency_of(&context, &services, currency).await?;
            let options = ImportOptions {
                format,
                path: args.file.clone(),
                source,
                currency,
            };
            let bytes = std::fs::metadata(&args.file).map(|metadata| metadata.len()).ok();
            let label = Bilingual::new("导入（字节）", "Importing, bytes");
            let progress = context.output.progress(&context.clock, label, bytes);
            let actor = Actor::system("import");
            let summary = services
                .orders
                .import(&actor, &options, |at| progress.at(at.bytes_read))
                .await?;
            progress.finish();
            Ok(summary)
        })
        .await?;
    context.output.result(&summary, &words(&summary));
    finish(&context, &summary, args.allow_bad_rows)
}

/// The currency that was asked for or that the format has, or else that of the programme. Where there is no
/// programme yet, the one that every shop begins with is published in it.
async fn currency_of(
    context: &Context,
    services: &Services,
    asked: Option<Currency>,
) -> Result<Currency, Failure> {
    match services.loyalty.program_now().await {
        Ok(program) => Ok(asked.unwrap_or(program.rules.currency)),
        Err(LoyaltyError::NoProgram) => {
            let currency = asked.unwrap_or(context.config.setup.currency);
            ensure_program(&services.loyalty, currency, &context.config.setup.time_zone).await?;
            Ok(currency)
        }
        Err(error) => Err(error.into()),
    }
}

fn finish(context: &Context, summary: &ImportSummary, allow_bad_rows: bool) -> Result<ExitCode, Failure> {
    if !context.output.json {
        for row in summary.refused.iter().take(SHOWN_ROWS) {
            let text = Bilingual::new(&row.zh, &row.en);
            print_aside(&format!(
                "{}: {} ({})",
                row.line,
                text.in_language(context.output.language),
                row.code
            ));
        }
    }
    if summary.rows_refused == 0 || allow_bad_rows {
        return Ok(ExitCode::SUCCESS);
    }
    if !context.output.json {
        let rows = summary.rows_refused.unsigned_abs();
        context.output.failure(&CommandError::RowsRefused { rows }.into());
    }
    Ok(ExitCode::FAILURE)
}

fn words(summary: &ImportSummary) -> Bilingual {
    let ImportSummary {
        rows_read,
        documents_imported,
        documents_known,
        rows_refused,
        finished_before,
        ..
    } = summary;
    if *finished_before {
        return Bilingual::new(
            format!("该文件已导入过（{rows_read} 行），没有变化。"),
            format!("This file was imported before ({rows_read} rows): nothing changed."),
        );
    }
    Bilingual::new(
        format!(
            "读取 {rows_read} 行：新增单据 {documents_imported}，已存在 {documents_known}，拒绝 {rows_refused} 行。"
        ),
        format!(
            "Read {rows_read} rows: {documents_imported} documents were new, {documents_known} known, {rows_refused} \
             rows were refused."
        ),
    )
}
