//! Points given, spent, held and returned directly, by a till or a connected system. Commands of many
//! callers share transactions.

use std::collections::BTreeMap;

use async_trait::async_trait;
use huika_core::{Actor, Denied, IdGenerator, IdempotencyKey, MemberId, Permission, Timestamp};
use huika_db::{
    RunBatch, Tx,
    audit::{AuditEntry, record_audit_in_tx},
};
use huika_ledger::{
    Asset, Availability, Command, CounterAccount, HoldId, InputHash, Ledger, LedgerError, Need, Operation,
    Outcome, PostingId,
};
use huika_members::{MemberAction, Members, MembersError, Reason};
use serde::Serialize;
use serde_json::{Value, json};

use super::settle::{encode, lapsed_lots};
use crate::{EARN, Loyalty, LoyaltyError, REDEEM, Rules, Trace};

/// Most commands of one bulk request.
pub(crate) const BULK_LIMIT: usize = 500;

/// What can be done with points directly. Reasons stay in the ledger for ever; see [`Reason`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PointsOperation {
    /// Grant points under the programme's dates.
    Earn {
        /// How many.
        points: i64,
        /// Why, in the words of whoever grants.
        reason: Reason,
    },
    /// Spend points.
    Redeem {
        /// How many.
        points: i64,
        /// On what.
        reason: Reason,
    },
    /// Set points aside.
    Hold {
        /// How many.
        points: i64,
        /// After how long they return by themselves.
        ttl_seconds: i64,
    },
    /// Spend from a hold; the rest returns.
    PostHold {
        /// Which.
        hold_id: HoldId,
        /// How many.
        points: i64,
        /// On what.
        reason: Reason,
    },
    /// Return a hold.
    VoidHold {
        /// Which.
        hold_id: HoldId,
    },
    /// Put back points that a posting spent, into their own lots.
    ReturnPoints {
        /// The posting that spent them.
        source: PostingId,
        /// How many.
        points: i64,
        /// Why.
        reason: Reason,
    },
}

/// A command on one member's points.
#[derive(Debug, Clone)]
pub struct PointsCommand {
    /// Whose.
    pub member_id: MemberId,
    /// Made by the caller.
    pub key: IdempotencyKey,
    /// What to do.
    pub operation: PointsOperation,
}

/// The answer to a points command.
#[derive(Debug, Clone)]
pub struct PointsOutcome {
    /// Whose.
    pub member_id: MemberId,
    /// What happened.
    pub outcome: Outcome,
}

/// A command on its way to a batch.
pub(crate) struct Waiting {
    action: MemberAction,
    command: Command,
    /// Who acts by hand, for the audit log. `None` for connected systems.
    operator: Option<Actor>,
}

/// What commands on points are carried out with.
pub(crate) struct Commanding {
    pub(crate) ids: IdGenerator,
    pub(crate) ledger: Ledger,
    pub(crate) members: Members,
}

impl Loyalty {
    /// Carries out a command on a member's points, once per key.
    ///
    /// # Errors
    /// When the actor may not, the member's state forbids it or the ledger refuses.
    pub async fn command_points(
        &self,
        actor: &Actor,
        command: PointsCommand,
    ) -> Result<PointsOutcome, LoyaltyError> {
        let member_id = command.member_id;
        let (permission, _) = demands(&command.operation);
        actor.authorize(&permission)?;
        let program = self.program_now().await?;
        let waiting = prepare(actor, command, &program.rules, self.db.clock().now());
        let outcome = self.commands.submit(waiting).await??;
        Ok(PointsOutcome { member_id, outcome })
    }

    /// Carries out many commands in one transaction; a refused one refuses itself alone.
    ///
    /// # Errors
    /// When the actor may do nothing of it, [`LoyaltyError::BulkTooLarge`], or when the database fails for all of
    /// them.
    pub async fn command_points_in_bulk(
        &self,
        actor: &Actor,
        commands: Vec<PointsCommand>,
    ) -> Result<Vec<Result<PointsOutcome, LoyaltyError>>, LoyaltyError> {
        if commands.len() > BULK_LIMIT {
            return Err(LoyaltyError::BulkTooLarge { most: BULK_LIMIT });
        }
        let rights: Vec<Result<(), Denied>> = commands
            .iter()
            .map(|one| actor.authorize(&demands(&one.operation).0))
            .collect();
        if rights.iter().all(Result::is_err)
            && let Some(Err(denied)) = rights.first()
        {
            return Err(denied.clone().into());
        }
        let program = self.program_now().await?;
        let now = self.db.clock().now();
        let mut results: Vec<Option<Result<PointsOutcome, LoyaltyError>>> =
            Vec::with_capacity(commands.len());
        let mut waiting = Vec::with_capacity(commands.len());
        for (command, right) in commands.into_iter().zip(rights) {
            match right {
                Ok(()) => {
                    waiting.push(prepare(actor, command, &program.rules, now));
                    results.push(None);
                }
                Err(denied) => results.push(Some(Err(denied.into()))),
            }
        }
        let mut done = self
            .commands
            .run(&waiting)
            .await
            .into_iter()
            .zip(&waiting)
            .map(|(result, one)| {
                result.map(|outcome| PointsOutcome {
                    member_id: one.command.member_id,
                    outcome,
                })
            });
        Ok(results
            .into_iter()
            .map(|refused| {
                refused
                    .or_else(|| done.next())
                    .unwrap_or(Err(LedgerError::Stopping.into()))
            })
            .collect())
    }
}

/// For an actor who may.
fn prepare(actor: &Actor, command: PointsCommand, rules: &Rules, now: Timestamp) -> Waiting {
    Waiting {
        action: demands(&command.operation).1,
        command: to_command(actor, command, rules, now),
        operator: actor.is_operator().then(|| actor.clone()),
    }
}

/// The right that an operation asks of the actor, and what the member's state must allow.
fn demands(operation: &PointsOperation) -> (Permission, MemberAction) {
    match operation {
        PointsOperation::Earn { .. } => (EARN, MemberAction::Earn),
        PointsOperation::Redeem { .. } | PointsOperation::Hold { .. } | PointsOperation::PostHold { .. } => {
            (REDEEM, MemberAction::Burn)
        }
        // What was the member's comes back also to a frozen account.
        PointsOperation::VoidHold { .. } | PointsOperation::ReturnPoints { .. } => {
            (REDEEM, MemberAction::Expire)
        }
    }
}

fn to_command(actor: &Actor, command: PointsCommand, rules: &Rules, now: Timestamp) -> Command {
    let input = InputHash::of(&command.operation);
    let asset = Asset::Points;
    let direct = |points: i64, reason: Reason| {
        let reason = reason.to_string();
        Some(encode(&Trace::Direct { points, reason }))
    };
    let (kind, reference, trace, operation) = match command.operation {
        PointsOperation::Earn { points, reason } => {
            let (available_at, expires_at) = rules.dates(now);
            let operation = Operation::Earn {
                asset,
                amount: points,
                counter_account: CounterAccount::Issuance,
                availability: available_at.map_or(Availability::Now, Availability::At),
                expires_at,
            };
            ("earn", String::new(), direct(points, reason), operation)
        }
        PointsOperation::Redeem { points, reason } => {
            let operation = Operation::Spend {
                asset,
                amount: points,
                counter_account: CounterAccount::Redemption,
            };
            (
                "redeem",
                String::new(),
                direct(points.saturating_neg(), reason),
                operation,
            )
        }
        PointsOperation::Hold { points, ttl_seconds } => {
            let lapses_at = now.plus_millis(ttl_seconds.saturating_mul(1_000));
            (
                "hold",
                String::new(),
                None,
                Operation::Hold {
                    asset,
                    amount: points,
                    lapses_at,
                },
            )
        }
        PointsOperation::PostHold {
            hold_id,
            points,
            reason,
        } => {
            let operation = Operation::PostHold {
                hold_id,
                amount: points,
                counter_account: CounterAccount::Redemption,
            };
            (
                "post_hold",
                hold_id.to_string(),
                direct(points.saturating_neg(), reason),
                operation,
            )
        }
        PointsOperation::VoidHold { hold_id } => (
            "void_hold",
            hold_id.to_string(),
            None,
            Operation::VoidHold { hold_id },
        ),
        PointsOperation::ReturnPoints {
            source,
            points,
            reason,
        } => {
            let lapsed = lapsed_lots(rules, now);
            let operation = Operation::ReverseSpend {
                source,
                asset,
                amount: points,
                lapsed,
            };
            let reason = reason.to_string();
            let trace = Some(encode(&Trace::Returned { points, reason }));
            ("return", source.to_string(), trace, operation)
        }
    };
    Command {
        member_id: command.member_id,
        key: command.key,
        input,
        kind,
        reference,
        actor: actor.id().to_owned(),
        effective_at: now,
        trace,
        operations: vec![operation],
    }
}

#[async_trait]
impl RunBatch for Commanding {
    type Command = Waiting;
    type Answer = Outcome;
    type Error = LoyaltyError;
    const NAME: &'static str = "loyalty.points";

    fn key(waiting: &Waiting) -> i64 {
        waiting.command.member_id.as_i64()
    }

    async fn run_in_tx(
        &self,
        tx: &mut Tx<'_>,
        waiting: &[Waiting],
    ) -> Result<Vec<Result<Outcome, LoyaltyError>>, LoyaltyError> {
        let ids: Vec<MemberId> = waiting.iter().map(|one| one.command.member_id).collect();
        let states = self.members.states_in_tx(tx, &ids).await?;
        let needs: Vec<Need> = waiting.iter().map(|one| Need::of(&one.command)).collect();
        let mut book = self.ledger.book_in_tx(tx, &needs).await?;
        let results: Vec<Result<Outcome, LoyaltyError>> = waiting
            .iter()
            .map(|one| {
                let state = states.get(&one.command.member_id).ok_or(MembersError::NotFound)?;
                // A command that was carried out is answered again whatever has become of the member since.
                if let Some(outcome) = book.answered(&one.command)? {
                    return Ok(outcome);
                }
                state.require(one.action)?;
                Ok(book.apply(&one.command)?)
            })
            .collect();
        book.save_in_tx(tx).await?;
        audit_in_tx(tx, &self.ids, waiting, &results).await?;
        Ok(results)
    }
}

/// Records what operators did by hand: one entry for each of them, however many commands it were.
async fn audit_in_tx(
    tx: &mut Tx<'_>,
    ids: &IdGenerator,
    waiting: &[Waiting],
    results: &[Result<Outcome, LoyaltyError>],
) -> Result<(), LoyaltyError> {
    let mut done: BTreeMap<&str, (&Actor, Vec<Value>)> = BTreeMap::new();
    for (one, result) in waiting.iter().zip(results) {
        let (Some(operator), Ok(outcome)) = (&one.operator, result) else {
            continue;
        };
        if outcome.replayed {
            continue;
        }
        let Command { member_id, kind, .. } = &one.command;
        let (_, commands) = done
            .entry(operator.id())
            .or_insert_with(|| (operator, Vec::new()));
        commands.push(json!({
            "member_id": member_id, "kind": kind, "posting_id": outcome.posting_id,
        }));
    }
    for (actor, commands) in done.into_values() {
        let subject = match commands.as_slice() {
            [alone] => alone["member_id"].as_str().unwrap_or_default().to_owned(),
            _ => "points".to_owned(),
        };
        let entry = AuditEntry {
            actor,
            action: "loyalty.points",
            subject,
            detail: json!({ "commands": commands }),
        };
        record_audit_in_tx(tx, ids, entry).await?;
    }
    Ok(())
}
