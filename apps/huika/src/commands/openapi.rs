//! `huika openapi`: the description of the API, and what else is generated from the code.

use std::process::ExitCode;

use huika_core::Bilingual;
use serde_json::json;

use super::Context;
use crate::{cli::OpenapiArgs, error::Failure, generated};

pub(crate) async fn run(context: Context, args: OpenapiArgs) -> Result<ExitCode, Failure> {
    let documents = generated::documents(&context.clock, &context.rng).await?;
    let Some(folder) = args.write else {
        crate::output::print(documents[0].1.trim_end());
        return Ok(ExitCode::SUCCESS);
    };
    std::fs::create_dir_all(&folder).map_err(|error| Failure::file(&folder, error))?;
    let mut written = Vec::new();
    for (name, text) in documents {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|error| Failure::file(&path, error))?;
        written.push(path.display().to_string());
    }
    let words = Bilingual::new(
        format!("已写入 {}。", written.join("、")),
        format!("Wrote {}.", written.join(", ")),
    );
    context.output.result(&json!({ "written": written }), &words);
    Ok(ExitCode::SUCCESS)
}
