//! Importing purchases and refunds from files: streaming, resumable, idempotent.
//!
//! A reading thread parses and groups rows into documents; the import takes them in by batches, each one
//! transaction that also notes how far it has come. An import that was stopped goes on from there; documents
//! that are known already change nothing. A bad row refuses its document and no other, with its line number.

mod online_retail;
mod own;

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{BufReader, Read},
    path::{Path, PathBuf},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::read::MultiGzDecoder;
use huika_core::{Actor, Currency, IdempotencyKey, MemberId};
use huika_db::{
    DbError, Tx,
    audit::{AuditEntry, record_audit_in_tx},
};
use huika_ledger::InputHash;
use huika_members::{Code, ExternalIdentity, PhoneNumber, RegisterMember};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::intake::{Intake, MemberRef};
use crate::{
    Document, Orders, OrdersError, RECORD, REFUND, RefundDocument,
    store::{self, ImportState},
};

/// Documents of one transaction.
const BATCH_DOCUMENTS: usize = 200;
/// Batches that may wait between reader and writer.
const BATCHES_AHEAD: usize = 4;
/// Refused rows that are listed; the rest is counted.
const LISTED_REFUSALS: usize = 1_000;

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportFormat {
    /// The "Online Retail" history of a UK shop: one row per line, cancellations beginning with C.
    OnlineRetail,
    /// Our CSV (docs/guides/import.md): one row per line of a document.
    Csv,
    /// Our JSON lines: one document per line.
    Jsonl,
}

impl ImportFormat {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::OnlineRetail => "online-retail",
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
        }
    }
}

impl FromStr for ImportFormat {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        [Self::OnlineRetail, Self::Csv, Self::Jsonl]
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or_else(|| "the format is one of online-retail, csv, jsonl".to_owned())
    }
}

/// What to import.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// The kind of file.
    pub format: ImportFormat,
    /// The file, gzipped when its name ends in `.gz`.
    pub path: PathBuf,
    /// The code under which its order and customer numbers are known.
    pub source: Code,
    /// The currency of amounts that name none.
    pub currency: Currency,
}

/// How far an import has come.
#[derive(Debug, Clone, Copy, Default)]
pub struct ImportProgress {
    /// Bytes of the file that were read.
    pub bytes_read: u64,
    /// Bytes of the file.
    pub bytes_total: u64,
    /// Rows that are done with.
    pub rows_done: i64,
    /// Documents that were taken in.
    pub documents_done: i64,
}

/// What an import did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ImportSummary {
    /// Rows of the file that are done with, earlier runs included.
    pub rows_read: i64,
    /// Documents that this run took in.
    pub documents_imported: i64,
    /// Documents that were known already.
    pub documents_known: i64,
    /// Rows of the file that were refused, by earlier runs included.
    pub rows_refused: i64,
    /// The first refusals of this run.
    pub refused: Vec<RefusedRow>,
    /// Whether an earlier run had taken in the whole file, so that nothing was left to do.
    pub finished_before: bool,
}

/// A row that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedRow {
    /// The line of the file, the header being line 1.
    pub line: u64,
    /// The stable code.
    pub code: String,
    /// Why, in English.
    pub en: String,
    /// Why, in Chinese.
    pub zh: String,
}

/// Who a document of a file belongs to: a member by one name or both, or nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Owner {
    customer_no: Option<String>,
    phone: Option<String>,
}

impl Owner {
    fn is_nobody(&self) -> bool {
        *self == Self::default()
    }
}

/// What one group of rows is.
enum Record {
    Document(Owner, Document),
    LinkedRefund(RefundDocument),
    Refused(RefusedRow),
}

/// A record and how much of the file is done with it.
struct Item {
    /// The line of its first row.
    line: u64,
    /// Its rows.
    rows: i64,
    /// Rows of the file that are done once this item is, or as far as is certain.
    rows_through: i64,
    /// Rows of the file that are done once the group of this item is: a day, or the document itself.
    group_end: i64,
    record: Record,
}

impl Orders {
    /// Imports a file, or goes on with one that was stopped. One of which rows were refused is read again from its
    /// beginning: what stood in their way may be gone.
    ///
    /// # Errors
    /// [`OrdersError::FileInvalid`] when the file cannot be read as this format at all; otherwise when the
    /// database fails. What was imported until then stays.
    pub async fn import(
        &self,
        actor: &Actor,
        options: &ImportOptions,
        mut progress: impl FnMut(ImportProgress) + Send,
    ) -> Result<ImportSummary, OrdersError> {
        actor.authorize(&RECORD)?;
        actor.authorize(&REFUND)?;
        actor.authorize(&huika_members::permission::REGISTER)?;
        let program = self.loyalty.program_now().await?;
        if program.rules.currency != options.currency {
            return Err(OrdersError::CurrencyMismatch {
                currency: options.currency.to_string(),
                expected: program.rules.currency.to_string(),
            });
        }
        let file_hash = hash_file(options.path.clone()).await?;
        let source = options.source.as_str();
        let state = self
            .open_import(actor, source, &file_hash, options.format)
            .await?;
        let summary = ImportSummary {
            rows_read: state.rows_done,
            finished_before: state.finished,
            ..ImportSummary::default()
        };
        if summary.finished_before {
            return Ok(summary);
        }
        let mut course = Course {
            state,
            open_refusals: Vec::new(),
            summary,
        };

        let bytes_read = Arc::new(AtomicU64::new(0));
        let bytes_total = file_size(&options.path)?;
        let (sender, mut batches) = mpsc::channel(BATCHES_AHEAD);
        let reader = {
            let (options, bytes_read, done) = (options.clone(), Arc::clone(&bytes_read), state.rows_done);
            tokio::task::spawn_blocking(move || read(&options, done, bytes_read, &sender))
        };
        while let Some(batch) = batches.recv().await {
            self.import_batch(actor, options, &file_hash, &mut course, &batch)
                .await?;
            progress(ImportProgress {
                bytes_read: bytes_read.load(Ordering::Relaxed),
                bytes_total,
                rows_done: course.state.rows_done,
                documents_done: course.state.documents_done,
            });
        }
        let rows = reader.await.map_err(|_| OrdersError::Stopping)??;
        let finished = ImportState {
            rows_done: rows,
            finished: true,
            ..course.state
        };
        self.save_import(source, &file_hash, course.state, finished)
            .await?;
        course.summary.rows_read = rows;
        course.summary.rows_refused = finished.rows_refused;
        Ok(course.summary)
    }

    async fn open_import(
        &self,
        actor: &Actor,
        source: &str,
        file_hash: &str,
        format: ImportFormat,
    ) -> Result<ImportState, OrdersError> {
        let now = self.db.clock().now();
        self.db
            .run_tx("orders.import_open", |tx| {
                Box::pin(async move {
                    store::import_start(tx, source, file_hash, format.name(), now).await?;
                    let mut state = store::import_load(tx, source, file_hash)
                        .await?
                        .unwrap_or_default();
                    if state.finished && state.rows_refused == 0 {
                        return Ok(state);
                    }
                    if state.finished {
                        let before = state;
                        state = ImportState {
                            rows_done: 0,
                            rows_refused: 0,
                            finished: false,
                            ..before
                        };
                        if !store::import_save(tx, source, file_hash, &before, &state, now).await? {
                            return Err(running_twice());
                        }
                    }
                    let entry = AuditEntry {
                        actor,
                        action: "orders.import",
                        subject: source.to_owned(),
                        detail: serde_json::json!({
                            "file_hash": file_hash, "format": format.name(), "rows_done": state.rows_done,
                        }),
                    };
                    record_audit_in_tx(tx, &self.ids, entry).await?;
                    Ok(state)
                })
            })
            .await
    }

    async fn save_import(
        &self,
        source: &str,
        file_hash: &str,
        before: ImportState,
        after: ImportState,
    ) -> Result<(), OrdersError> {
        let now = self.db.clock().now();
        self.db
            .run_tx("orders.import_save", |tx| {
                Box::pin(async move {
                    if store::import_save(tx, source, file_hash, &before, &after, now).await? {
                        Ok(())
                    } else {
                        Err(running_twice())
                    }
                })
            })
            .await
    }

    /// Takes in one batch and notes it, in one transaction.
    async fn import_batch(
        &self,
        actor: &Actor,
        options: &ImportOptions,
        file_hash: &str,
        course: &mut Course,
        batch: &[Item],
    ) -> Result<(), OrdersError> {
        let now = self.db.clock().now();
        let (before, open) = (course.state, &course.open_refusals);
        let (mut taken, after) = self
            .db
            .run_tx("orders.import", |tx| {
                Box::pin(async move {
                    let taken = self.take_items_in_tx(tx, actor, options, batch).await?;
                    let through = batch.iter().map(|item| item.rows_through).max().unwrap_or(0);
                    let rows_done = through.max(before.rows_done);
                    // A refusal counts once its group is done: the group that a stopped import was in begins anew.
                    let certain = open
                        .iter()
                        .chain(taken.refused.iter().map(|(refusal, _)| refusal))
                        .filter(|refusal| refusal.group_end <= rows_done);
                    let after = ImportState {
                        rows_done,
                        documents_done: before.documents_done + taken.imported,
                        rows_refused: before.rows_refused + certain.map(|refusal| refusal.rows).sum::<i64>(),
                        finished: false,
                    };
                    if !store::import_save(tx, options.source.as_str(), file_hash, &before, &after, now)
                        .await?
                    {
                        return Err(running_twice());
                    }
                    Ok((taken, after))
                })
            })
            .await?;
        taken.refused.sort_by_key(|(_, row)| row.line);
        let Course {
            state,
            open_refusals,
            summary,
        } = course;
        *state = after;
        summary.documents_imported += taken.imported;
        summary.documents_known += taken.known;
        for (refusal, row) in taken.refused {
            open_refusals.push(refusal);
            if summary.refused.len() < LISTED_REFUSALS {
                summary.refused.push(row);
            }
        }
        open_refusals.retain(|refusal| refusal.group_end > after.rows_done);
        Ok(())
    }

    async fn take_items_in_tx(
        &self,
        tx: &mut Tx<'_>,
        actor: &Actor,
        options: &ImportOptions,
        batch: &[Item],
    ) -> Result<Taken, OrdersError> {
        let mut taken = Taken::default();
        let latest = tx.db().clock().now();
        let mut documents = Vec::with_capacity(batch.len());
        for item in batch {
            match &item.record {
                Record::Refused(row) => taken.note(item, row.clone()),
                Record::LinkedRefund(_) => {}
                // Before its owner becomes a member: nobody joins by a document that means nothing.
                Record::Document(owner, document) => match document.validate(options.currency, latest) {
                    Ok(()) => documents.push((item, owner, document)),
                    Err(refused) => taken.refuse(item, &refused),
                },
            }
        }
        let owners = self
            .register_owners_in_tx(tx, actor, options, &documents, &mut taken)
            .await?;
        let intakes: Vec<(&Item, Intake)> = documents
            .into_iter()
            .filter_map(|(item, owner, document)| {
                let member = match owners.get(owner) {
                    Some(member_id) => MemberRef::Id(*member_id),
                    None if owner.is_nobody() => MemberRef::Anonymous,
                    None => return None,
                };
                let intake = Intake {
                    input: InputHash::of(document),
                    document: document.clone(),
                    member,
                    key: None,
                    actor: actor.clone(),
                };
                Some((item, intake))
            })
            .collect();
        let mut intakes = intakes.into_iter().peekable();
        // In the order of the file: a refund takes back from what stands before it, and lowers the growth on
        // which the purchases behind it are settled.
        for item in batch {
            let Record::LinkedRefund(refund) = &item.record else {
                continue;
            };
            let run = std::iter::from_fn(|| intakes.next_if(|(other, _)| other.line < item.line)).collect();
            self.take_run_in_tx(tx, run, &mut taken).await?;
            self.take_refund_in_tx(tx, actor, item, refund, &mut taken)
                .await?;
        }
        self.take_run_in_tx(tx, intakes.collect(), &mut taken).await?;
        Ok(taken)
    }

    /// Takes in documents between which no refund stands.
    async fn take_run_in_tx(
        &self,
        tx: &mut Tx<'_>,
        run: Vec<(&Item, Intake)>,
        taken: &mut Taken,
    ) -> Result<(), OrdersError> {
        if run.is_empty() {
            return Ok(());
        }
        let (items, intakes): (Vec<&Item>, Vec<Intake>) = run.into_iter().unzip();
        let results = self.taker().take_in_tx(tx, &intakes).await?;
        for (result, item) in results.into_iter().zip(items) {
            match result {
                Ok(receipt) if receipt.replayed => taken.known += 1,
                Ok(_) => taken.imported += 1,
                Err(refused) => taken.refuse(item, &refused),
            }
        }
        Ok(())
    }

    async fn take_refund_in_tx(
        &self,
        tx: &mut Tx<'_>,
        actor: &Actor,
        item: &Item,
        refund: &RefundDocument,
        taken: &mut Taken,
    ) -> Result<(), OrdersError> {
        let digest = InputHash::of(&(refund.source.as_str(), refund.external_no.as_str()));
        let key = IdempotencyKey::derived("refund", data_encoding::HEXLOWER.encode(&digest.0[..16]));
        match self
            .refund_in_tx(tx, actor, refund, &key, InputHash::of(refund))
            .await
        {
            Ok(done) if done.receipt.replayed => taken.known += 1,
            Ok(_) => taken.imported += 1,
            // What the database did must end the transaction; a refusal refuses itself alone.
            Err(error) if comes_from_the_database(&error) => return Err(error),
            Err(refused) => taken.refuse(item, &refused),
        }
        Ok(())
    }

    /// Registers the customers of documents, known or new, and refuses documents of those who cannot be.
    async fn register_owners_in_tx(
        &self,
        tx: &mut Tx<'_>,
        actor: &Actor,
        options: &ImportOptions,
        documents: &[(&Item, &Owner, &Document)],
        taken: &mut Taken,
    ) -> Result<HashMap<Owner, MemberId>, OrdersError> {
        let mut wanted: Vec<&Owner> = Vec::new();
        let mut seen: HashSet<&Owner> = HashSet::new();
        let mut commands = Vec::new();
        let mut refused: HashMap<&Owner, OrdersError> = HashMap::new();
        for (_, owner, _) in documents {
            if owner.is_nobody() || !seen.insert(owner) {
                continue;
            }
            match registration(owner, options) {
                Ok(command) => {
                    wanted.push(owner);
                    commands.push(command);
                }
                Err(error) => drop(refused.insert(owner, error)),
            }
        }
        let mut owners = HashMap::new();
        let results = self.members.register_many_in_tx(tx, actor, commands).await?;
        for (owner, result) in wanted.into_iter().zip(results) {
            match result {
                Ok(registered) => drop(owners.insert(owner.clone(), registered.member_id)),
                Err(error) => drop(refused.insert(owner, error.into())),
            }
        }
        for (item, owner, _) in documents {
            if let Some(error) = refused.get(owner) {
                taken.refuse(item, error);
            }
        }
        Ok(owners)
    }
}

fn registration(owner: &Owner, options: &ImportOptions) -> Result<RegisterMember, OrdersError> {
    let external = |number: &String| ExternalIdentity::try_new(options.source.as_str(), number);
    Ok(RegisterMember {
        phone: owner
            .phone
            .as_deref()
            .map(str::parse::<PhoneNumber>)
            .transpose()?,
        external: owner.customer_no.as_ref().map(external).transpose()?,
        nickname: None,
        channel: "import".parse()?,
        store_code: None,
    })
}

/// Whether a refusal is none, but a failure or collision of the database below.
fn comes_from_the_database(error: &OrdersError) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = next {
        if cause.is::<DbError>() {
            return true;
        }
        next = cause.source();
    }
    false
}

/// How an import stands.
struct Course {
    /// What is noted in the database.
    state: ImportState,
    /// Refusals of groups that are not done with.
    open_refusals: Vec<Refusal>,
    /// What this run did.
    summary: ImportSummary,
}

/// How much of a file was refused.
#[derive(Debug, Clone, Copy)]
struct Refusal {
    rows: i64,
    group_end: i64,
}

#[derive(Default)]
struct Taken {
    imported: i64,
    known: i64,
    refused: Vec<(Refusal, RefusedRow)>,
}

impl Taken {
    fn refuse(&mut self, item: &Item, refusal: &dyn huika_core::Refusal) {
        let problem = refusal.problem();
        let row = RefusedRow {
            line: item.line,
            code: problem.code.to_owned(),
            en: problem.en,
            zh: problem.zh,
        };
        self.note(item, row);
    }

    fn note(&mut self, item: &Item, row: RefusedRow) {
        let refusal = Refusal {
            rows: item.rows,
            group_end: item.group_end,
        };
        self.refused.push((refusal, row));
    }
}

fn running_twice() -> OrdersError {
    OrdersError::FileInvalid {
        en: "another import of the same file is running: wait for it, then run this again.".into(),
        zh: "同一文件正在导入中，请等待完成后再试。".into(),
    }
}

fn unreadable(error: &std::io::Error) -> OrdersError {
    OrdersError::FileInvalid {
        en: format!("it cannot be read ({error})."),
        zh: format!("无法读取（{error}）。"),
    }
}

fn file_size(path: &Path) -> Result<u64, OrdersError> {
    std::fs::metadata(path)
        .map(|metadata| metadata.len())
        .map_err(|error| unreadable(&error))
}

/// The hash of the file as it lies there, by which a second run knows it again.
async fn hash_file(path: PathBuf) -> Result<String, OrdersError> {
    tokio::task::spawn_blocking(move || {
        let mut file = File::open(path).map_err(|error| unreadable(&error))?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(data_encoding::HEXLOWER.encode(&hasher.finalize())),
                Ok(read) => hasher.update(&buffer[..read]),
                Err(error) => return Err(unreadable(&error)),
            }
        }
    })
    .await
    .map_err(|_| OrdersError::Stopping)?
}

/// Counts what is read of the file, compressed bytes.
struct Counted<R>(R, Arc<AtomicU64>);
impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.0.read(buffer)?;
        self.1.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Reads the file and sends batches of what lies beyond `done` rows. Returns the number of rows.
fn read(
    options: &ImportOptions,
    done: i64,
    bytes_read: Arc<AtomicU64>,
    sender: &mpsc::Sender<Vec<Item>>,
) -> Result<i64, OrdersError> {
    let file = File::open(&options.path).map_err(|error| unreadable(&error))?;
    let file = Counted(BufReader::new(file), bytes_read);
    let gzipped = options
        .path
        .extension()
        .is_some_and(|extension| extension == "gz");
    let input: Box<dyn Read> = if gzipped {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let mut batch = Vec::with_capacity(BATCH_DOCUMENTS);
    let mut emit = |item: Item, last_of_group: bool| {
        if item.group_end <= done {
            return true;
        }
        batch.push(item);
        // A batch ends where a group of rows ends, so that the noted row is certain.
        if batch.len() >= BATCH_DOCUMENTS || (last_of_group && batch.len() >= BATCH_DOCUMENTS / 2) {
            let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH_DOCUMENTS));
            return sender.blocking_send(full).is_ok();
        }
        true
    };
    let rows = match options.format {
        ImportFormat::OnlineRetail => {
            online_retail::read(input, &options.source, options.currency, &mut emit)
        }
        ImportFormat::Csv => own::read_csv(input, &options.source, options.currency, &mut emit),
        ImportFormat::Jsonl => own::read_jsonl(input, &options.source, options.currency, &mut emit),
    };
    // Also of a file that breaks off: what was whole before the break is kept.
    if !batch.is_empty() && sender.blocking_send(batch).is_err() {
        return Err(OrdersError::Stopping);
    }
    rows
}

/// Takes an item and tells whether to go on; the flag says that a group of rows ends with it.
type Emit<'a> = &'a mut dyn FnMut(Item, bool) -> bool;

/// A refusal of a row, before it became a document.
fn refused(line: u64, en: impl Into<String>, zh: impl Into<String>) -> RefusedRow {
    RefusedRow {
        line,
        code: "orders.row_invalid".into(),
        en: en.into(),
        zh: zh.into(),
    }
}

/// A text of a file fit for storing: no control characters, not longer than its column.
fn clean(text: &str, most: usize) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .take(most)
        .collect::<String>()
        .trim()
        .to_owned()
}
