//! `huika check`: of every setting whether it is sound.

use std::process::ExitCode;

use huika_core::Bilingual;
use serde_json::json;

use super::Context;
use crate::{checks, error::Failure};

pub(crate) async fn run(context: Context) -> Result<ExitCode, Failure> {
    let mut verdicts = checks::of_settings(&context.config);
    // A check makes no database.
    let db = match context.refuse_missing_file() {
        Err(missing) => Err(missing.to_string().trim_end_matches('.').to_owned()),
        Ok(()) => context.connect().await.map_err(|failure| failure.en),
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
