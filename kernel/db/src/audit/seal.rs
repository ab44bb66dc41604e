//! The chain over the audit log (docs/adr/0008).
//!
//! Entries are written in the transactions that they tell of, where a chain would make everybody wait for everybody.
//! With each entry goes a row that says that it awaits its seal; a job takes these rows, puts the entries into one
//! order and hashes each with the one before. What committed late is met later, and sealed all the same, once.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use data_encoding::HEXLOWER;
use huika_core::Timestamp;
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::AuditId;
use crate::{
    Db, DbError, Executor, Param, Row, Tx,
    dialect::Insert,
    jobs::{Cadence, Job, JobError, JobHandler, Schedule},
    params,
};

/// The queue of [`SealAudit`].
pub const SEAL_QUEUE: &str = "kernel.seal_audit";
/// Entries that one transaction seals or one page of a check reads.
const BATCH: i64 = 150;
/// Rows that a report names.
const MAX_FINDINGS: usize = 20;
/// The hash before the first position.
const START: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// An entry as it is stored, text for text.
struct Stored {
    id: i64,
    actor: String,
    action: String,
    subject: String,
    detail: String,
    trace_id: Option<String>,
    recorded_at: Timestamp,
}

impl Stored {
    const COLUMNS: &str = "a.audit_id, a.actor, a.action, a.subject, a.detail, a.trace_id, a.recorded_at";

    fn from(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.get("audit_id")?,
            actor: row.get("actor")?,
            action: row.get("action")?,
            subject: row.get("subject")?,
            detail: row.get("detail")?,
            trace_id: row.get("trace_id")?,
            recorded_at: row.get("recorded_at")?,
        })
    }

    /// The hash of this entry behind another one. A list of JSON, so that no text can pass for two.
    fn hash_behind(&self, before: &str) -> String {
        let text = json!([
            before,
            self.id,
            self.actor,
            self.action,
            self.subject,
            self.detail,
            self.trace_id,
            self.recorded_at.as_millis(),
        ]);
        HEXLOWER.encode(&Sha256::digest(text.to_string()))
    }
}

/// Says, with an entry, that it awaits its seal.
pub(super) async fn await_seal_in_tx(tx: &mut Tx<'_>, id: AuditId) -> Result<(), DbError> {
    let mut insert = Insert::into_table("kernel_audit_unsealed", &["audit_id"]);
    insert.push(params![id]);
    tx.insert(insert).await.map(drop)
}

/// Seals entries that await it, at most 150 in one transaction, and tells how many. To be called again while that is
/// more than none. Several processes may do it at once: the key of the position decides.
///
/// # Errors
/// When the database fails.
pub async fn seal_audit(db: &Db) -> Result<u64, DbError> {
    let now = db.clock().now();
    db.run_tx("audit.seal", |tx| Box::pin(seal_in_tx(tx, now))).await
}

async fn seal_in_tx(tx: &mut Tx<'_>, now: Timestamp) -> Result<u64, DbError> {
    let sql = "SELECT position, hash FROM kernel_audit_seal ORDER BY position DESC LIMIT 1";
    let head = tx.fetch_optional(sql, params![]).await?;
    let (mut position, mut hash): (i64, String) = match &head {
        Some(row) => (row.get("position")?, row.get("hash")?),
        None => (0, START.to_owned()),
    };
    let sql = format!(
        "SELECT {}, s.position FROM kernel_audit_unsealed u JOIN kernel_audit a ON a.audit_id = u.audit_id \
         LEFT JOIN kernel_audit_seal s ON s.audit_id = u.audit_id ORDER BY u.audit_id LIMIT ?",
        Stored::COLUMNS
    );
    let waiting = tx.fetch_all(&sql, params![BATCH]).await?;
    let mut seals = Insert::into_table(
        "kernel_audit_seal",
        &["position", "audit_id", "hash", "sealed_at"],
    );
    let (mut done, mut sealed) = (Vec::with_capacity(waiting.len()), 0_u64);
    for row in &waiting {
        let entry = Stored::from(row)?;
        done.push(entry.id);
        // Adopted twice: it has its seal, and only the row that asks for one is left over.
        if row.get::<Option<i64>>("position")?.is_some() {
            continue;
        }
        position += 1;
        hash = entry.hash_behind(&hash);
        seals.push(params![position, entry.id, &hash, now]);
        sealed += 1;
    }
    if done.is_empty() {
        return Ok(0);
    }
    let asked = done.len() as u64;
    if sealed > 0 {
        match tx.insert(seals).await {
            // Another process took the position: once more, behind it.
            Err(DbError::Duplicate(_)) => return Err(DbError::Stale("kernel_audit_seal")),
            inserted => inserted?,
        };
    }
    let sql = "DELETE FROM kernel_audit_unsealed WHERE audit_id IN (??)";
    if tx.execute(sql, vec![Param::Ints(done)]).await? != asked {
        return Err(DbError::Stale("kernel_audit_unsealed"));
    }
    Ok(asked)
}

/// Lets entries await their seal that nobody has announced: those of a program older than the chain. Looks at the
/// entries behind `after`, at most 150, and tells where it stopped; nowhere when none is left.
///
/// # Errors
/// When the database fails.
async fn adopt(db: &Db, after: i64) -> Result<Option<i64>, DbError> {
    // One statement, so that an entry is never seen between the two.
    let sql = "SELECT a.audit_id, u.audit_id AS waiting, s.position FROM kernel_audit a \
               LEFT JOIN kernel_audit_unsealed u ON u.audit_id = a.audit_id \
               LEFT JOIN kernel_audit_seal s ON s.audit_id = a.audit_id \
               WHERE a.audit_id > ? ORDER BY a.audit_id LIMIT ?";
    let rows = (&mut &*db).fetch_all(sql, params![after, BATCH]).await?;
    let mut last = None;
    let mut orphans = Vec::new();
    for row in &rows {
        let id: i64 = row.get("audit_id")?;
        last = Some(id);
        let known =
            row.get::<Option<i64>>("waiting")?.is_some() || row.get::<Option<i64>>("position")?.is_some();
        if !known {
            orphans.push(id);
        }
    }
    if !orphans.is_empty() {
        tracing::info!(
            entries = orphans.len(),
            "audit entries of an older program await their seal"
        );
        let orphans = &orphans;
        db.run_tx("audit.adopt", |tx| {
            Box::pin(async move {
                let mut insert = Insert::into_table("kernel_audit_unsealed", &["audit_id"]).skip_existing();
                for id in orphans {
                    insert.push(params![*id]);
                }
                tx.insert(insert).await
            })
        })
        .await?;
    }
    Ok(last)
}

/// Seals what awaits it. With the payload `{"adopt":true}` also what an older program has written.
pub struct SealAudit(pub Db);

#[async_trait]
impl JobHandler for SealAudit {
    fn queue(&self) -> &'static str {
        SEAL_QUEUE
    }

    async fn run(&self, job: &Job) -> Result<(), JobError> {
        let payload: serde_json::Value = job.payload()?;
        if payload["adopt"] == true {
            let mut after = i64::MIN;
            while let Some(last) = adopt(&self.0, after).await? {
                after = last;
            }
        }
        while seal_audit(&self.0).await? > 0 {}
        Ok(())
    }
}

/// When the log is sealed: every minute, and once a day with what an older program has left.
pub fn schedules() -> Vec<Schedule> {
    let schedule = |name, seconds, payload: &str| Schedule {
        name,
        cadence: Cadence::Every(Duration::from_secs(seconds)),
        queue: SEAL_QUEUE,
        payload: payload.to_owned(),
    };
    vec![
        schedule("kernel.seal_audit", 60, "{}"),
        schedule("kernel.adopt_audit", 24 * 60 * 60, "{\"adopt\":true}"),
    ]
}

/// Something in the audit log that its chain does not allow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditFinding {
    /// The row.
    pub row: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// What a check of the audit log found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditVerification {
    /// Entries in the chain.
    pub sealed: u64,
    /// Entries that await their seal.
    pub waiting: u64,
    /// The hash of the last position: who keeps it elsewhere can show later that nothing before it has changed.
    pub digest: String,
    /// How much is wrong.
    pub findings: u64,
    /// The first of it.
    pub first_findings: Vec<AuditFinding>,
}

impl AuditVerification {
    /// Whether every row is what the chain says.
    pub fn is_clean(&self) -> bool {
        self.findings == 0
    }

    fn find(&mut self, row: String, problem: &'static str) {
        self.findings += 1;
        if self.first_findings.len() < MAX_FINDINGS {
            self.first_findings.push(AuditFinding { row, problem });
        }
    }
}

/// Recomputes the chain over the audit log and looks for entries beside it. On a snapshot: [`Db::run_snapshot`].
///
/// # Errors
/// When the database fails.
pub async fn verify_audit_in_tx(tx: &mut Tx<'_>) -> Result<AuditVerification, DbError> {
    let mut report = AuditVerification {
        sealed: 0,
        waiting: 0,
        digest: START.to_owned(),
        findings: 0,
        first_findings: Vec::new(),
    };
    verify_chain(tx, &mut report).await?;
    verify_entries(tx, &mut report).await?;
    Ok(report)
}

/// Position by position: none is missing, and each has the hash of its entry behind the one before.
async fn verify_chain(tx: &mut Tx<'_>, report: &mut AuditVerification) -> Result<(), DbError> {
    let mut last = 0;
    loop {
        let sql = "SELECT position, audit_id, hash FROM kernel_audit_seal WHERE position > ? ORDER BY position LIMIT ?";
        let seals = tx.fetch_all(sql, params![last, BATCH]).await?;
        if seals.is_empty() {
            return Ok(());
        }
        let mut ids = Vec::with_capacity(seals.len());
        for seal in &seals {
            ids.push(seal.get::<i64>("audit_id")?);
        }
        let sql = format!(
            "SELECT {} FROM kernel_audit a WHERE a.audit_id IN (??)",
            Stored::COLUMNS
        );
        let mut entries = BTreeMap::new();
        for row in tx.fetch_all(&sql, vec![Param::Ints(ids)]).await? {
            let entry = Stored::from(&row)?;
            entries.insert(entry.id, entry);
        }
        for seal in seals {
            let (position, id): (i64, i64) = (seal.get("position")?, seal.get("audit_id")?);
            let hash: String = seal.get("hash")?;
            for missing in last + 1..position.min(last + 1 + MAX_FINDINGS as i64) {
                report.find(format!("kernel_audit_seal {missing}"), "the position is missing");
            }
            match entries.get(&id) {
                None => report.find(audit_row(id), "the entry was removed: its seal is still there"),
                // Behind what is stored and not what was computed, so that one altered row is one finding.
                Some(entry) if position == last + 1 && entry.hash_behind(&report.digest) != hash => {
                    report.find(audit_row(id), "the entry or its seal was altered");
                }
                Some(_) => {}
            }
            report.sealed += 1;
            (last, report.digest) = (position, hash);
        }
    }
}

/// Entry by entry: each is sealed or awaits it.
async fn verify_entries(tx: &mut Tx<'_>, report: &mut AuditVerification) -> Result<(), DbError> {
    let mut after = i64::MIN;
    loop {
        let sql = "SELECT a.audit_id, u.audit_id AS waiting, s.position FROM kernel_audit a \
                   LEFT JOIN kernel_audit_unsealed u ON u.audit_id = a.audit_id \
                   LEFT JOIN kernel_audit_seal s ON s.audit_id = a.audit_id \
                   WHERE a.audit_id > ? ORDER BY a.audit_id LIMIT ?";
        let rows = tx.fetch_all(sql, params![after, BATCH]).await?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            after = row.get("audit_id")?;
            if row.get::<Option<i64>>("position")?.is_some() {
                continue;
            }
            if row.get::<Option<i64>>("waiting")?.is_some() {
                report.waiting += 1;
            } else {
                report.find(
                    audit_row(after),
                    "the entry was inserted beside the log: no seal is due for it",
                );
            }
        }
    }
    let sql = "SELECT u.audit_id FROM kernel_audit_unsealed u LEFT JOIN kernel_audit a ON a.audit_id = u.audit_id \
               WHERE a.audit_id IS NULL ORDER BY u.audit_id LIMIT ?";
    for row in tx.fetch_all(sql, params![BATCH]).await? {
        let id = row.get("audit_id")?;
        report.find(audit_row(id), "the entry was removed before it was sealed");
    }
    Ok(())
}

fn audit_row(id: i64) -> String {
    format!("kernel_audit {}", AuditId::from_i64(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The form is fixed for ever: every installation holds hashes of it.
    #[test]
    fn the_hash_of_a_known_entry_stays() {
        let entry = Stored {
            id: 7,
            actor: "opr_1".into(),
            action: "cups.wash".into(),
            subject: "cup_1".into(),
            detail: "{\"before\":1}".into(),
            trace_id: None,
            recorded_at: Timestamp::from_millis(1_795_226_400_000),
        };
        let text = format!(
            "[\"{START}\",7,\"opr_1\",\"cups.wash\",\"cup_1\",\"{{\\\"before\\\":1}}\",null,1795226400000]"
        );
        assert_eq!(entry.hash_behind(START), HEXLOWER.encode(&Sha256::digest(text)));
    }
}
