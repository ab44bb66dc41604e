//! `huika owner`: for the person at the machine, when the owner cannot log in.

use std::process::ExitCode;

use huika_core::{Actor, Bilingual};
use serde_json::json;

use super::Context;
use crate::{
    compose::Migrate,
    error::{CommandError, Failure},
    owner_login::OwnerLogin,
};

/// `huika owner reset-password`.
pub(crate) async fn reset_password(context: Context) -> Result<ExitCode, Failure> {
    let place = context.enter(Migrate::Refuse).await?;
    // No keys are needed but to forget failed log-ins, and no Redis at all.
    let services = context.start_without_keys(&place)?;
    let (email, file) = place
        .during(async {
            let staff = &services.staff;
            let owner = staff.first_owner().await?.ok_or(CommandError::OwnerMissing)?;
            let login = OwnerLogin::prepare(&context, &owner.email, staff.new_password())?;
            let actor = Actor::system("owner");
            let reset = staff.reset_owner_password(&actor, login.password().to_owned());
            // False only before there is an owner, and there is one.
            if let Err(error) = reset.await {
                login.withdraw();
                return Err(error.into());
            }
            Ok((owner.email, login.hand_over(&context)))
        })
        .await?;
    let words = Bilingual::new(
        format!("{email} 的密码已重置，原有登录已全部失效。"),
        format!("The password of {email} is new, and all of their sessions have ended."),
    );
    let fields = json!({ "email": email, "owner_login_file": file });
    context.output.result(&fields, &words);
    Ok(ExitCode::SUCCESS)
}
