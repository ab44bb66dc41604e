//! `huika migrate`: bring the tables up to date.

use std::process::ExitCode;

use huika_core::Bilingual;
use serde_json::json;

use super::Context;
use crate::{
    compose::{self, Migrate},
    error::Failure,
};

pub(crate) async fn run(context: Context) -> Result<ExitCode, Failure> {
    let db = context.connect().await?;
    let applied = compose::prepare(&db, Migrate::Apply).await?;
    let engine = db.engine().name();
    db.close().await;
    let words = if applied == 0 {
        Bilingual::new("表结构已是最新。", "The tables are up to date.")
    } else {
        Bilingual::new(
            format!("已执行 {applied} 个迁移。"),
            format!("{applied} migrations were applied."),
        )
    };
    context
        .output
        .result(&json!({ "engine": engine, "applied": applied }), &words);
    Ok(ExitCode::SUCCESS)
}
