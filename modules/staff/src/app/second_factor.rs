//! The second factor: setting a device up, taking its codes, doing without it again.

use std::fmt;

use huika_core::{Actor, Timestamp};
use huika_db::Tx;
use serde_json::json;
use zeroize::Zeroizing;

use super::{audit_in_tx, operators::load, reach::check_target};
use crate::{
    Enrolment, OPERATORS_MANAGE, OperatorId, Staff, StaffError,
    domain::{
        operator::operator_of,
        password,
        totp::{self, enrolment, normalized, secret_context, step_of},
    },
    store::{self, factors},
};

/// The recovery codes of an operator. Shown once.
#[derive(Clone, PartialEq, Eq)]
pub struct RecoveryCodes(pub Vec<String>);

impl fmt::Debug for RecoveryCodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecoveryCodes({})", self.0.len())
    }
}

/// A password that fitted, and the attempt that was counted for it: cleared with whatever it lets happen, so that a
/// right password does not open the way to guessing codes.
pub(super) struct OwnPassword {
    pub(super) hash: String,
    pub(super) index: String,
}

impl Staff {
    /// Begins to set a device up. Needs no permission but the present password, so that a session that was left open
    /// does not lock its operator out. Nothing is asked for at log-in until the device has shown a code.
    ///
    /// # Errors
    /// [`StaffError::OperatorNeeded`]; [`StaffError::PasswordWrong`]; [`StaffError::Throttled`];
    /// [`StaffError::SecondFactorExists`].
    pub async fn enrol_second_factor(
        &self,
        actor: &Actor,
        password: String,
    ) -> Result<Enrolment, StaffError> {
        let operator = operator_of(actor)?;
        let own = self.check_own_password(operator, password).await?;
        let secret = totp::new_secret(self.rng());
        let context = secret_context(operator);
        let sealed = self.0.keyring.seal(self.rng(), &context, &secret);
        let (sealed, now, ids, own) = (sealed.as_slice(), self.clock().now(), &self.0.ids, &own);
        self.db()
            .run_tx("staff.enrol_second_factor", |tx| {
                Box::pin(async move {
                    if !factors::factor_enrol(tx, operator, sealed, now).await? {
                        return Err(StaffError::SecondFactorExists);
                    }
                    store::login_attempt_clear(tx, &own.index).await?;
                    let (action, subject) = ("staff.enrol_second_factor", operator.to_string());
                    audit_in_tx(tx, ids, actor, action, subject, json!({})).await?;
                    Ok(())
                })
            })
            .await?;
        Ok(enrolment(&secret, operator))
    }

    /// Confirms the device by a code that it shows: from now on one is asked for at log-in. Answers with the recovery
    /// codes, once.
    ///
    /// # Errors
    /// [`StaffError::OperatorNeeded`]; [`StaffError::SecondFactorMissing`]; [`StaffError::SecondFactorExists`];
    /// [`StaffError::CodeRefused`].
    pub async fn confirm_second_factor(
        &self,
        actor: &Actor,
        code: &str,
    ) -> Result<RecoveryCodes, StaffError> {
        let operator = operator_of(actor)?;
        let now = self.clock().now();
        let found = factors::factor_find(&mut self.db(), operator).await?;
        let factor = found.ok_or(StaffError::SecondFactorMissing)?;
        if factor.is_active {
            return Err(StaffError::SecondFactorExists);
        }
        let secret = self.open_factor(operator, &factor.sealed)?;
        let step = step_of(&secret, code, now).ok_or(StaffError::CodeRefused)?;
        let codes = totp::new_recovery_codes(self.rng());
        let indexes: Vec<String> = codes
            .iter()
            .map(|code| self.recovery_index(operator, code))
            .collect();
        let (indexes, ids, enrolled_at) = (indexes.as_slice(), &self.0.ids, factor.created_at);
        self.db()
            .run_tx("staff.confirm_second_factor", |tx| {
                Box::pin(async move {
                    if !factors::factor_confirm(tx, operator, enrolled_at, step, now).await? {
                        return Err(StaffError::SecondFactorMissing);
                    }
                    factors::recovery_set(tx, operator, indexes).await?;
                    let (action, subject) = ("staff.confirm_second_factor", operator.to_string());
                    audit_in_tx(tx, ids, actor, action, subject, json!({})).await?;
                    Ok(())
                })
            })
            .await?;
        Ok(RecoveryCodes(codes))
    }

    /// Does without the device again: against the present password and a code of the device, or a recovery code.
    ///
    /// # Errors
    /// [`StaffError::OperatorNeeded`]; [`StaffError::PasswordWrong`]; [`StaffError::Throttled`];
    /// [`StaffError::SecondFactorMissing`]; [`StaffError::CodeRefused`].
    pub async fn remove_second_factor(
        &self,
        actor: &Actor,
        password: String,
        code: &str,
    ) -> Result<(), StaffError> {
        let operator = operator_of(actor)?;
        let own = self.check_own_password(operator, password).await?;
        let (now, ids, own) = (self.clock().now(), &self.0.ids, &own);
        self.db()
            .run_tx("staff.remove_second_factor", |tx| {
                Box::pin(async move {
                    if !self.take_code_in_tx(tx, operator, Some(code), now).await? {
                        return Err(StaffError::SecondFactorMissing);
                    }
                    factors::factor_remove(tx, operator).await?;
                    store::login_attempt_clear(tx, &own.index).await?;
                    let (action, subject) = ("staff.remove_second_factor", operator.to_string());
                    audit_in_tx(tx, ids, actor, action, subject, json!({})).await?;
                    Ok(())
                })
            })
            .await
    }

    /// Lets another operator, who lost device and recovery codes, log in with the password alone. Their sessions end.
    ///
    /// # Errors
    /// When the actor lacks the permission or may do less; [`StaffError::SecondFactorOwn`];
    /// [`StaffError::OperatorUnknown`]; [`StaffError::SecondFactorMissing`].
    pub async fn reset_second_factor(&self, actor: &Actor, operator: OperatorId) -> Result<(), StaffError> {
        actor.authorize(&OPERATORS_MANAGE)?;
        // One's own goes by password and code, or a session that was left open could do without both.
        if actor.id() == operator.to_string() {
            return Err(StaffError::SecondFactorOwn);
        }
        let (now, ids) = (self.clock().now(), &self.0.ids);
        self.db()
            .run_tx("staff.reset_second_factor", |tx| {
                Box::pin(async move {
                    let target = load(tx, operator).await?;
                    check_target(tx, actor, &target).await?;
                    if !factors::factor_remove(tx, operator).await? {
                        return Err(StaffError::SecondFactorMissing);
                    }
                    let sessions = store::session_revoke_all(tx, operator, now).await?;
                    let (action, subject) = ("staff.reset_second_factor", operator.to_string());
                    audit_in_tx(tx, ids, actor, action, subject, json!({ "sessions": sessions })).await?;
                    Ok(())
                })
            })
            .await?;
        self.0.sessions.clear();
        Ok(())
    }

    /// Takes the second factor of an operator who has one; false where there is none. Each code works once: the rows
    /// decide, in the transaction of whatever it lets happen.
    pub(super) async fn take_code_in_tx(
        &self,
        tx: &mut Tx<'_>,
        operator: OperatorId,
        code: Option<&str>,
        now: Timestamp,
    ) -> Result<bool, StaffError> {
        let found = factors::factor_find(tx, operator).await?;
        let Some(factor) = found.filter(|factor| factor.is_active) else {
            return Ok(false);
        };
        let code = code.ok_or(StaffError::CodeNeeded)?.trim();
        let secret = self.open_factor(operator, &factor.sealed)?;
        let taken = match step_of(&secret, code, now) {
            Some(step) => factors::factor_take_step(tx, operator, step).await?,
            None => {
                let index = self.recovery_index(operator, code);
                factors::recovery_take(tx, operator, &index, now).await?
            }
        };
        if taken {
            Ok(true)
        } else {
            Err(StaffError::CodeRefused)
        }
    }

    /// Refuses a password that is not the operator's own, counting the attempt as at log-in.
    pub(super) async fn check_own_password(
        &self,
        operator: OperatorId,
        present: String,
    ) -> Result<OwnPassword, StaffError> {
        let found = store::operator_password(&mut self.db(), operator).await?;
        let (email, hash) = found.ok_or(StaffError::OperatorNeeded)?;
        let index = self.0.keyring.blind_index("staff_login_attempt", &email);
        self.count_attempt(&index, self.clock().now()).await?;
        let checked = hash.clone();
        if !self
            .with_password(move || password::fits(&present, &checked))
            .await?
        {
            return Err(StaffError::PasswordWrong);
        }
        Ok(OwnPassword { hash, index })
    }

    fn open_factor(&self, operator: OperatorId, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, StaffError> {
        let opened = self.0.keyring.open(&secret_context(operator), sealed);
        opened.map_err(|_| StaffError::SecretUnreadable)
    }

    fn recovery_index(&self, operator: OperatorId, code: &str) -> String {
        let context = format!("staff_recovery_code/{operator}");
        self.0.keyring.blind_index(&context, &normalized(code))
    }
}
