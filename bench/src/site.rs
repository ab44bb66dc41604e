//! A shop to measure: a server on a database of its own, an API client, members, and points to spend.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use huika_db::Engine;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    connection::Connection,
    database::{Database, Places},
    server::{Installation, Program, Server},
    wire::{Credentials, Request, Signer},
};

/// Clients that prepare the shop.
const PREPARING: usize = 32;
const BULK_ITEMS: usize = 500;
const PERMISSIONS: [&str; 9] = [
    "members.read",
    "members.register",
    "loyalty.read",
    "loyalty.earn",
    "loyalty.redeem",
    "orders.read",
    "orders.record",
    "orders.refund",
    "behavior.record",
];

/// What every member starts with, here and in the baseline.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opening {
    pub(crate) members: usize,
    /// Several, so that spending has something to choose from.
    pub(crate) lots: i64,
    pub(crate) points_per_lot: i64,
}

/// A running shop.
pub(crate) struct Site {
    pub(crate) installation: Installation,
    pub(crate) server: Server,
    pub(crate) database: Database,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) members: Arc<Vec<String>>,
}

impl Site {
    /// Opens a shop on an empty database. `None` when the engine does not answer.
    ///
    /// # Errors
    /// When a step of the preparation fails.
    pub(crate) async fn open(
        places: &Places,
        program: &Program,
        engine: Engine,
        label: &str,
        opening: &Opening,
    ) -> anyhow::Result<Option<Self>> {
        let Some(database) = places.create(engine, label).await? else {
            return Ok(None);
        };
        let label = format!("{label}-{}", engine.name());
        let installation = Installation::prepare(program, &places.folder, &label, &database.url)?;
        let server = installation.start().await?;
        let credentials = Arc::new(make_client(&installation).await?);
        let members = Arc::new(register(&installation, &credentials, opening.members).await?);
        let site = Self {
            installation,
            server,
            database,
            credentials,
            members,
        };
        site.grant(opening).await?;
        Ok(Some(site))
    }

    /// Gives every member their lots.
    async fn grant(&self, opening: &Opening) -> anyhow::Result<()> {
        let mut connection = Connection::open(self.server.address).await?;
        for lot in 0..opening.lots {
            for members in self.members.chunks(BULK_ITEMS) {
                let commands: Vec<Value> = members
                    .iter()
                    .map(|member| {
                        json!({
                            "member_id": member,
                            "idempotency_key": format!("opening-{lot}"),
                            "action": "earn",
                            "points": opening.points_per_lot,
                            "reason": "Opening balance",
                        })
                    })
                    .collect();
                let request =
                    Request::new("POST", "/api/open/v1/points/bulk").json(&json!({ "commands": commands }));
                let answer = ask(&mut connection, &request, &self.credentials).await?;
                let items = answer["items"].as_array().context("a bulk has no items")?;
                if let Some(refused) = items.iter().find(|item| !item["problem"].is_null()) {
                    bail!("an opening balance is refused: {refused}");
                }
            }
        }
        Ok(())
    }
}

/// Logs in as the first owner and makes an API client.
async fn make_client(installation: &Installation) -> anyhow::Result<Credentials> {
    let owner = installation.owner()?;
    let mut connection = Connection::open(installation.address).await?;
    let log_in = Request::new("POST", "/api/admin/v1/sessions")
        .json(&json!({ "email": owner.email, "password": owner.password }));
    let session = ask(&mut connection, &log_in, &Credentials::None)
        .await
        .context("the owner cannot log in")?;
    let session = Credentials::Bearer(text_of(&session, "token")?);

    let create = Request::new("POST", "/api/admin/v1/api-clients")
        .json(&json!({ "name": "bench", "permissions": PERMISSIONS }));
    let created = ask(&mut connection, &create, &session)
        .await
        .context("the API client is refused")?;
    let signer = Signer::new(text_of(&created["client"], "id")?, &text_of(&created, "secret")?)?;
    Ok(Credentials::Signed(signer))
}

/// Registers members by phone, many at once.
async fn register(
    installation: &Installation,
    credentials: &Arc<Credentials>,
    count: usize,
) -> anyhow::Result<Vec<String>> {
    let mut lanes = JoinSet::new();
    for lane in 0..PREPARING.min(count) {
        let (credentials, address) = (Arc::clone(credentials), installation.address);
        lanes.spawn(async move {
            let mut connection = Connection::open(address).await?;
            let mut members = Vec::new();
            for number in (lane..count).step_by(PREPARING) {
                let body = json!({ "phone": format!("139{number:08}"), "channel": "bench" });
                let request = Request::new("POST", "/api/open/v1/members").json(&body);
                members.push(text_of(
                    &ask(&mut connection, &request, &credentials).await?,
                    "id",
                )?);
            }
            anyhow::Ok(members)
        });
    }
    let mut members = Vec::with_capacity(count);
    while let Some(lane) = lanes.join_next().await {
        members.extend(lane?.context("a member cannot be registered")?);
    }
    Ok(members)
}

/// Sends a request of the preparation, which must succeed.
///
/// # Errors
/// When it does not.
pub(crate) async fn ask(
    connection: &mut Connection,
    request: &Request,
    credentials: &Credentials,
) -> anyhow::Result<Value> {
    let answer = connection
        .exchange(request, credentials)
        .await
        .with_context(|| request.path.clone())?;
    if !answer.is_success() {
        bail!("{} {}: {}", request.method, request.path, answer.describe());
    }
    Ok(answer.json())
}

/// A text out of an answer.
///
/// # Errors
/// When it is not there.
pub(crate) fn text_of(answer: &Value, field: &str) -> anyhow::Result<String> {
    answer[field]
        .as_str()
        .map(str::to_owned)
        .with_context(|| format!("an answer has no {field}: {answer}"))
}
