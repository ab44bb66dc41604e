//! `huika demo`: a shop to look around in, in a folder of its own.
//!
//! The folder holds `demo.db`, `demo.key` and `demo-login.json`, and `demo.making` while a shop is being made: one that
//! was interrupted is made again from the beginning, one that is whole is left as it is.

mod shop;
mod year;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use huika_core::{Actor, Bilingual, Clock, Currency};
use huika_staff::NewApiClient;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Context, ensure_program, serve};
use crate::{
    cli::DemoArgs,
    compose::{self, Migrate, Services},
    config::{Address, Config, Environment},
    error::{CommandError, Failure},
    files,
    output::print_aside,
    server::Server,
    signals::StopSignals,
};

const OWNER: &str = "owner@demo.example";
/// The history that a demo has.
const YEAR_MS: i64 = 365 * 24 * 60 * 60 * 1_000;

/// Who may log in to the demo, as kept in its folder.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogIns {
    owner_email: String,
    owner_password: String,
    client_id: String,
    client_secret: String,
}

struct Folder(PathBuf);

impl Folder {
    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
    fn database(&self) -> PathBuf {
        self.file("demo.db")
    }
    /// There while the shop is not whole.
    fn making(&self) -> PathBuf {
        self.file("demo.making")
    }
    fn log_ins(&self) -> PathBuf {
        self.file("demo-login.json")
    }
}

pub(crate) async fn run(mut context: Context, args: DemoArgs) -> Result<ExitCode, Failure> {
    let folder = Folder(args.data_dir.clone());
    std::fs::create_dir_all(&folder.0).map_err(|error| Failure::file(&folder.0, error))?;
    context.config = demo_config(&context.config, &folder, args.port);
    let server = if args.serve {
        Some(Server::bind(context.config.server.listen)?)
    } else {
        None
    };
    if folder.making().exists() || !folder.database().exists() {
        make(&context, &folder, &args).await?;
    }
    let log_ins = read_log_ins(&folder)?;

    let Some(server) = server else {
        tell(&context, &folder, &log_ins, context.config.server.listen, false);
        return Ok(ExitCode::SUCCESS);
    };
    let signals = StopSignals::install()?;
    let metrics = serve::start_metrics(&context.clock)?;
    let (place, services) = context.open(Migrate::Apply).await?;
    tell(&context, &folder, &log_ins, server.address(), true);
    let ended = serve::serve(place, services, server, metrics, signals, &context.config).await;
    Ok(context.output.ended(ended))
}

/// The settings as they are, but with the demo's own database, keys and port.
fn demo_config(config: &Config, folder: &Folder, port: u16) -> Config {
    let mut config = config.clone();
    config.environment = Environment::Development;
    config.database.url = sqlite(&folder.database());
    config.security.key_file = folder.file("demo.key");
    config.server.listen.set_port(port);
    config.redis.url = None;
    config
}

fn sqlite(path: &Path) -> Address {
    Address::from(format!("sqlite:{}", path.display()).as_str())
}

async fn make(context: &Context, folder: &Folder, args: &DemoArgs) -> Result<(), Failure> {
    let stopwatch = context.clock.stopwatch();
    std::fs::write(folder.making(), "").map_err(|error| Failure::file(&folder.making(), error))?;
    remove_database(&folder.database());
    // The shop's year passes on a clock of its own, so that tiers, expiry and dates come about as they would have.
    let now = context.clock.now();
    let clock = Clock::manual(now.plus_millis(-YEAR_MS));
    let (config, output) = (context.config.clone(), context.output);
    let making = Context {
        config,
        output,
        clock: clock.clone(),
        rng: context.rng.clone(),
    };
    let (place, services) = making.open(Migrate::Apply).await?;
    ensure_program(&services.loyalty, Currency::CNY, "Asia/Shanghai").await?;
    let label = Bilingual::new("生成演示数据（天）", "Making a shop's year, days");
    let progress = context.output.progress(&context.clock, label, Some(365));
    let shop = shop::Shop::draw(args.seed, args.members, now.plus_millis(-YEAR_MS), now);
    let figures = year::pass(&services, &place.db, &clock, shop, |day| progress.at(day)).await?;
    clock.set(now);
    progress.finish();
    let log_ins = make_log_ins(&services).await?;
    place.lease.release(&place.db).await.map_err(Failure::database)?;
    place.db.close().await;

    let path = folder.log_ins();
    let text = serde_json::to_string_pretty(&log_ins).unwrap_or_default();
    // It belongs to a database that is gone, or to this one.
    let _ = std::fs::remove_file(&path);
    files::write_private(&path, text.as_bytes()).map_err(|error| Failure::file(&path, error))?;
    std::fs::remove_file(folder.making()).map_err(|error| Failure::file(&folder.making(), error))?;
    let year::Figures {
        members,
        purchases,
        refunds,
    } = figures;
    let seconds = stopwatch.elapsed().as_secs();
    context.output.say(&Bilingual::new(
        format!("演示门店已生成：会员 {members}、消费 {purchases}、退款 {refunds}，用时 {seconds} 秒。"),
        format!(
            "Made a shop with {members} members, {purchases} purchases and {refunds} refunds in {seconds} s."
        ),
    ));
    Ok(())
}

/// A database file with what SQLite keeps beside it.
fn remove_database(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        // It need not be there; if it cannot be removed, making the shop says so.
        let _ = std::fs::remove_file(name);
    }
}

async fn make_log_ins(services: &Services) -> Result<LogIns, Failure> {
    let owner = services.staff.ensure_owner(OWNER, None).await?;
    let owner = owner.ok_or_else(|| CommandError::DatabaseUnusable {
        reason: "the new demo has an owner already".into(),
    })?;
    let permissions = compose::permissions()
        .into_iter()
        .map(|permission| permission.name.to_owned())
        .collect();
    let asked = NewApiClient {
        name: "Demo till".into(),
        permissions,
        stores: huika_core::StoreScope::All,
    };
    let (client, secret) = services
        .staff
        .create_api_client(&Actor::system("demo"), asked)
        .await?;
    Ok(LogIns {
        owner_email: owner.email,
        owner_password: owner.password,
        client_id: client.id.to_string(),
        client_secret: secret.to_string(),
    })
}

fn read_log_ins(folder: &Folder) -> Result<LogIns, Failure> {
    let path = folder.log_ins();
    let text = std::fs::read_to_string(&path).map_err(|error| {
        let demo = folder.database();
        Failure::file(
            &path,
            format!(
                "{error}. Without it nobody can log in: remove {} to make a new demo",
                demo.display()
            ),
        )
    })?;
    serde_json::from_str(&text).map_err(|error| Failure::file(&path, error))
}

fn tell(context: &Context, folder: &Folder, log_ins: &LogIns, address: SocketAddr, serving: bool) {
    let LogIns {
        owner_email,
        owner_password,
        client_id,
        client_secret,
    } = log_ins;
    let base_url = format!("http://{address}");
    if context.output.json {
        let fields = json!({
            "base_url": base_url, "owner_email": owner_email, "owner_password": owner_password,
            "client_id": client_id, "client_secret": client_secret,
        });
        context.output.result(&fields, &Bilingual::default());
        return;
    }
    let file = folder.log_ins();
    let file = file.display();
    let hint = if serving {
        Bilingual::new("按 Ctrl-C 停止。", "Press Ctrl-C to stop.")
    } else {
        let folder = folder.0.display();
        let command = format!("huika demo --serve --data-dir {folder}");
        Bilingual::new(format!("启动：{command}"), format!("To start it: {command}"))
    };
    let words = Bilingual::new(
        format!(
            "\n  管理后台   {base_url}/admin\n  会员端     {base_url}/m\n  收银台     {base_url}/pos\n  接口       {base_url}/openapi.json\n\n  \
             所有者     {owner_email}\n  密码       {owner_password}\n  接口客户端 {client_id}\n  密钥       {client_secret}\n  （以上保存在 {file}）\n\n{}\n",
            hint.zh
        ),
        format!(
            "\n  console      {base_url}/admin\n  member app   {base_url}/m\n  till         {base_url}/pos\n  API          {base_url}/openapi.json\n\n  \
             owner        {owner_email}\n  password     {owner_password}\n  API client   {client_id}\n  secret       {client_secret}\n  (kept in {file})\n\n{}\n",
            hint.en
        ),
    );
    print_aside(words.in_language(context.output.language));
}
