//! The parts joined: which modules there are, in which order their tables come, and how their routes are mounted.
//!
//! This is the only place that knows every module. A part is joined by one line in each of the lists here.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::Router;
use huika_behavior::{Behavior, BusinessCalendar};
use huika_core::{Calendar, Clock, IdGenerator, Keyring, Permission, ProblemKind, Rng};
use huika_db::{
    BatchOptions, Db, DbOptions, Migration, NodeLease,
    approval::{self, Approvable, ApprovalError, Approvals},
    audit, kernel_migrations, migrate,
    outbox::{self, Subscriber},
    pending_migrations,
};
use huika_http::{Authenticator, BodyLimit, HttpOptions, api_description, authenticated, finish};
use huika_ledger::Ledger;
use huika_loyalty::Loyalty;
use huika_members::Members;
use huika_orders::Orders;
use huika_staff::{NonceStore, Staff};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    config::{CommitterConfig, Config},
    error::{CommandError, Failure},
    operations::{self, Operations},
    pages,
    probes::{self, Probes},
};

/// How long a process that has done its work waits for the last statements of its connections.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// Every migration, in the order in which tables must come.
pub fn migrations() -> Vec<Migration> {
    [
        kernel_migrations(),
        huika_staff::migrations(),
        huika_members::migrations(),
        huika_ledger::migrations(),
        huika_loyalty::migrations(),
        huika_orders::migrations(),
        huika_behavior::migrations(),
    ]
    .concat()
}

/// Every permission, by area.
pub fn permissions() -> Vec<Permission> {
    [
        operations::PERMISSIONS,
        approval::PERMISSIONS,
        huika_staff::PERMISSIONS,
        huika_members::PERMISSIONS,
        huika_loyalty::PERMISSIONS,
        huika_orders::PERMISSIONS,
        huika_behavior::PERMISSIONS,
    ]
    .concat()
}

/// Every problem that the HTTP API can answer with, by crate.
pub fn problem_kinds() -> Vec<(&'static str, &'static [ProblemKind])> {
    vec![
        ("kernel/core", huika_core::Denied::KINDS),
        ("kernel/db", huika_db::DbError::KINDS),
        ("kernel/db", ApprovalError::KINDS),
        ("kernel/http", huika_http::RequestError::KINDS),
        ("kernel/ledger", huika_ledger::LedgerError::KINDS),
        ("modules/staff", huika_staff::StaffError::KINDS),
        ("modules/staff", huika_staff::LoginThrottled::KINDS),
        ("modules/members", huika_members::MembersError::KINDS),
        ("modules/loyalty", huika_loyalty::LoyaltyError::KINDS),
        ("modules/orders", huika_orders::OrdersError::KINDS),
        ("modules/behavior", huika_behavior::BehaviorError::KINDS),
        ("modules/behavior", huika_behavior::QueueFull::KINDS),
        ("apps/huika", operations::OperationsError::KINDS),
    ]
}

/// Who is told about events. Nobody yet; the modules that come next will be.
fn subscribers() -> Vec<Arc<dyn Subscriber>> {
    Vec::new()
}

/// What can be carried out once a second operator has approved it, one handler per kind. Nothing yet; manual
/// adjustments of loyalty come first.
fn approvable() -> Vec<Arc<dyn Approvable>> {
    Vec::new()
}

/// Opens the database, its tables as they are.
///
/// # Errors
/// When it cannot be reached.
pub async fn connect(config: &Config, clock: Clock, rng: Rng) -> Result<Db, Failure> {
    let options = DbOptions {
        max_connections: config.database.max_connections,
    };
    let db = Db::connect(config.database.url.reveal(), &options, clock, rng)
        .await
        .map_err(Failure::database)?;
    Ok(db.with_topics(outbox::topics(&subscribers())))
}

/// Whether a command may change the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migrate {
    /// What is pending is applied.
    Apply,
    /// What is pending is refused.
    Refuse,
}

/// Brings the tables to this version, or refuses to work on older ones. Tells how many migrations were applied.
///
/// # Errors
/// [`CommandError::MigrationsPending`]; when the database is newer than this program or fails.
pub async fn prepare(db: &Db, how: Migrate) -> Result<usize, Failure> {
    let known = migrations();
    let pending = pending_migrations(db, &known).await.map_err(Failure::database)?;
    match how {
        _ if pending.is_empty() => Ok(0),
        Migrate::Apply => migrate(db, &known).await.map_err(Failure::database),
        Migrate::Refuse => Err(CommandError::MigrationsPending { count: pending.len() }.into()),
    }
}

/// A database that this process works on, with the number under which it makes ids. Given back by
/// [`Workplace::leave`]; otherwise the number is free again after a minute.
pub struct Workplace {
    /// The database.
    pub db: Db,
    /// Makes ids that no other process makes.
    pub ids: IdGenerator,
    /// The number.
    pub lease: NodeLease,
}

impl Workplace {
    /// Takes a number on a database whose tables are current.
    ///
    /// # Errors
    /// When all numbers are taken or the database fails.
    pub async fn enter(db: Db) -> Result<Self, Failure> {
        let lease = NodeLease::acquire(&db).await.map_err(Failure::database)?;
        let ids = IdGenerator::new(db.clock().clone(), lease.node());
        Ok(Self { db, ids, lease })
    }

    /// Does some work while the number is kept, and gives it back. The work ends early when the number is lost:
    /// from then on another process may make the same ids.
    ///
    /// # Errors
    /// What the work ends with; [`CommandError::LeaseLost`].
    pub async fn during<T>(self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let result = tokio::select! {
            result = work => result,
            () = self.lease.keep(self.db.clone()) => {
                tracing::error!(node = self.lease.node(), "the node number is lost: everything is dropped at once");
                return Err(CommandError::LeaseLost.into());
            }
        };
        if let Err(error) = self.lease.release(&self.db).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the node number was not given back; it lapses"
            );
        }
        tokio::select! {
            () = self.db.close() => {}
            () = self.db.clock().sleep(CLOSE_WITHIN) => tracing::warn!("a connection is still busy; it is cut off"),
        }
        result
    }
}

/// Behaviour is counted by the dates of the programme.
struct ProgramDates(Loyalty);

#[async_trait]
impl BusinessCalendar for ProgramDates {
    async fn calendar(&self) -> Calendar {
        let rules = match self.0.program_now().await {
            Ok(program) => program.rules,
            // Before the first version, and while the database does not answer, in which case nothing is stored.
            Err(_) => huika_loyalty::default_rules(),
        };
        rules.calendar()
    }
}

/// The services of all modules. Clones share everything.
#[derive(Clone)]
pub struct Services {
    db: Db,
    ids: IdGenerator,
    /// Operators and API clients.
    pub staff: Staff,
    /// Members.
    pub members: Members,
    /// Programme, tiers and points.
    pub loyalty: Loyalty,
    /// Purchases and refunds.
    pub orders: Orders,
    /// What waits for a second operator.
    pub approvals: Approvals,
    /// What people do on the shop's pages.
    pub behavior: Behavior,
}

impl Services {
    /// Starts them, in the order of their dependencies.
    pub fn start(place: &Workplace, keyring: Keyring, nonces: NonceStore, options: &CommitterConfig) -> Self {
        let (db, ids) = (place.db.clone(), place.ids.clone());
        let options = BatchOptions {
            lanes: options.lanes,
            max_batch: options.max_batch,
        };
        let keyring = Arc::new(keyring);
        let staff = Staff::new(
            db.clone(),
            ids.clone(),
            Arc::clone(&keyring),
            permissions(),
            nonces,
        );
        let members = Members::new(db.clone(), ids.clone(), keyring);
        let ledger = Ledger::new(db.clone(), ids.clone(), &options);
        let loyalty = Loyalty::start(db.clone(), ids.clone(), ledger, members.clone(), &options);
        members.join_parts(vec![Arc::new(loyalty.clone())]);
        let orders = Orders::start(db.clone(), ids.clone(), loyalty.clone(), &options);
        let approvals = Approvals::new(db.clone(), ids.clone(), approvable());
        let behavior = Behavior::start(
            db.clone(),
            ids.clone(),
            members.clone(),
            Arc::new(ProgramDates(loyalty.clone())),
            // Until members are asked for consents, nobody's behaviour is kept under a name.
            Arc::new(huika_behavior::NobodyConsents),
            Arc::new(huika_behavior::NothingEarns),
        );
        Self {
            db,
            ids,
            staff,
            members,
            loyalty,
            orders,
            approvals,
            behavior,
        }
    }

    /// Everything that is served, closed and ready.
    pub fn router(&self, probes: Probes, limit: BodyLimit, options: HttpOptions) -> Router {
        let (api, description) = self.api(limit);
        let pages = pages::router()
            .merge(probes::router(probes))
            .merge(probes::description(&description));
        finish(api.merge(pages), options)
    }

    /// The description of the API, which needs no database to be asked for.
    pub fn description(&self) -> OpenApi {
        self.api(BodyLimit::DEFAULT).1
    }

    fn api(&self, limit: BodyLimit) -> (Router, OpenApi) {
        let authenticator: Arc<dyn Authenticator> = Arc::new(self.staff.clone());
        let usual = OpenApiRouter::default()
            .merge(operations::router(Operations::new(
                self.db.clone(),
                self.ids.clone(),
            )))
            .merge(huika_staff::http::router(self.staff.clone()))
            .merge(huika_staff::http::approvals_router(self.approvals.clone()))
            .merge(huika_members::http::router(self.members.clone()))
            .merge(huika_loyalty::http::router(self.loyalty.clone()))
            .merge(huika_orders::http::router(self.orders.clone()))
            .merge(huika_behavior::http::router(self.behavior.clone()));
        let bulk = OpenApiRouter::default()
            .merge(huika_loyalty::http::bulk_router(self.loyalty.clone()))
            .merge(huika_orders::http::bulk_router(self.orders.clone()))
            .merge(huika_behavior::http::bulk_router(self.behavior.clone()));
        OpenApiRouter::with_openapi(api_description(env!("CARGO_PKG_VERSION")))
            .merge(huika_staff::http::public_router(self.staff.clone()))
            .merge(authenticated(usual, Arc::clone(&authenticator), limit))
            .merge(authenticated(bulk, authenticator, BodyLimit::BULK))
            .split_for_parts()
    }

    /// What runs behind the scenes.
    pub fn worker(&self, parallel: usize) -> huika_db::jobs::Worker {
        huika_db::jobs::Worker {
            handlers: vec![
                Arc::new(huika_loyalty::SettleDue(self.loyalty.clone())),
                Arc::new(huika_loyalty::EvaluateTiers(self.loyalty.clone())),
                Arc::new(huika_staff::jobs::Tidy(self.staff.clone())),
                Arc::new(audit::SealAudit(self.db.clone())),
                Arc::new(huika_members::jobs::RotateKeys(self.members.clone())),
                Arc::new(huika_members::jobs::EraseClosed {
                    members: self.members.clone(),
                    keep: huika_members::jobs::KEEP_CLOSED,
                }),
                Arc::new(huika_behavior::Retain(self.behavior.clone())),
            ],
            subscribers: subscribers(),
            schedules: [
                huika_loyalty::schedules(),
                huika_staff::jobs::schedules(),
                audit::schedules(),
                huika_members::jobs::schedules(),
                huika_behavior::schedules(),
            ]
            .concat(),
            parallel,
            ..huika_db::jobs::Worker::new(self.db.clone(), self.ids.clone())
        }
    }
}
