//! `huika check`: of every setting whether it is sound.

use std::process::ExitCode;

use huika_core::Bilingual;
use serde_json::json;

use super::Context;
use crate::{checks, error::Failure};

pub(crate) async fn run(context: Context) -> Result<ExitCode, Failure> {
    let mut verdicts = checks::of_settings(&context.config);
    let db = match missing_file(&context) {
        Some(reason) => Err(reason),
        None => context.connect().await.map_err(|failure| failure.en),
    };
    verdicts.extend(checks::of_surroundings(&context.config, db).await);
    let unsafe_settings = checks::count_unsafe(&verdicts);
    let safe = unsafe_settings == 0;
    let output = context.output;
    if !output.json {
        for verdict in &verdicts {
            crate::output::print(&verdict.line(output.language));
        }
    }
    let words = if safe {
        Bilingual::new("没有不安全的配置。", "Nothing is unsafe.")
    } else {
        Bilingual::new(
            format!("{unsafe_settings} 项不安全或无法使用。"),
            format!("{unsafe_settings} settings are unsafe or cannot be used."),
        )
    };
    output.result(
        &json!({ "safe": safe, "unsafe": unsafe_settings, "verdicts": verdicts }),
        &words,
    );
    Ok(if safe {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Connecting to SQLite makes the file; a check must not.
fn missing_file(context: &Context) -> Option<String> {
    let address = context.config.database.url.reveal();
    let path = address.strip_prefix("sqlite:")?;
    let path = path
        .trim_start_matches("//")
        .split('?')
        .next()
        .unwrap_or_default();
    (path != ":memory:" && !std::path::Path::new(path).exists())
        .then(|| format!("there is no file {path} yet; `huika migrate` or the first start makes it"))
}
