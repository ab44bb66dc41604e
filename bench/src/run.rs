//! A run: engine by engine, every case of Huika right beside its baseline, so that whatever else the machine does
//! hits both.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use huika_db::Engine;
use tokio::sync::Notify;

use crate::{
    baseline::{self, BaselineServer},
    connection::Connection,
    database::{Database, Places, Setting},
    expiry::{self, Expiry},
    import_file::{self, Shape},
    latency::median,
    load::Load,
    machine::Machine,
    options::{Part, RunOptions},
    pgbench::{Pgbench, Script},
    process::{cpu_seconds_of, load_average, memory_of},
    results::{EngineFacts, FORMAT, Import, Results, Row, Subject, middle},
    scenario::{Action, Scenario},
    server::{Installation, Program},
    site::{Opening, Site, ask},
    table,
    tuning::Tuning,
    wire::{Credentials, Request},
};

/// Large enough that no run spends it.
const POINTS_PER_LOT: i64 = 1_000_000;
const LOTS: i64 = 5;
const READERS: usize = 64;
const BULK_CLIENTS: usize = 4;
/// Who earns while behaviour events come in.
const EARNERS: usize = 64;
/// The share of its rate that a stream of events must keep, its first and last request left out.
const STREAM_KEEPS: f64 = 0.9;
const STARTS: usize = 5;
const INVOICES: u64 = 25_000;
const QUICK_INVOICES: u64 = 2_500;
/// Left for others on a PostgreSQL server that they use too.
const SPARED_CONNECTIONS: usize = 5;
/// A server that uses less of a core has finished what the last case left.
const QUIET_CORES: f64 = 0.05;
const QUIET_PROBE: Duration = Duration::from_millis(300);
const QUIET_TIMEOUT: Duration = Duration::from_secs(20);

/// Runs everything that the options ask for, prints the table and writes the results. False when the server was
/// at fault, a figure does not count, or a demand was missed under `--strict`.
///
/// # Errors
/// When something cannot be set up.
pub(crate) async fn run(options: RunOptions) -> anyhow::Result<bool> {
    let began = Instant::now();
    let surroundings = &options.surroundings;
    let program = Program::of(surroundings).await?;
    let mut results = Results {
        format: FORMAT,
        started_at: SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
        seconds: 0.0,
        valid: true,
        complaints: Vec::new(),
        machine: Machine::look(&program.binary).await,
        options: serde_json::to_value(&options)?,
        engines: Vec::new(),
        rows: Vec::new(),
        bounds: Vec::new(),
    };
    let bench = Bench {
        places: Places::of(surroundings)?,
        opening: Opening {
            members: usize::try_from(surroundings.members)?,
            lots: LOTS,
            points_per_lot: POINTS_PER_LOT,
        },
        warm_up: Duration::from_secs(options.warm_up),
        window: Duration::from_secs(options.seconds),
        label: format!("{:x}", results.started_at),
        loads: AtomicU32::new(0),
        program,
        options,
    };
    for engine in &bench.options.engines {
        let engine = Engine::from(*engine);
        // What fails on one engine says nothing about the others.
        if let Err(error) = bench.engine(engine, &mut results).await {
            results.complaints.push(format!("{}: {error:#}", engine.name()));
        }
    }
    if !bench.options.surroundings.keep {
        bench.places.clean_up().await?;
    }
    results.seconds = began.elapsed().as_secs_f64();
    results.conclude();
    println!("{}", table::render(&results, table::Form::Text));
    let out = bench.options.out();
    if let Some(folder) = out.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&out, serde_json::to_string_pretty(&results)? + "\n")
        .with_context(|| format!("{} cannot be written", out.display()))?;
    println!("written to {}", out.display());
    let at_fault = results.rows.iter().any(|row| row.server_fault) || !results.complaints.is_empty();
    Ok(!at_fault && results.valid && (!bench.options.strict || results.all_passed()))
}

struct Bench {
    options: RunOptions,
    places: Places,
    program: Program,
    opening: Opening,
    warm_up: Duration,
    window: Duration,
    /// Different in every run, so that keys are too.
    label: String,
    loads: AtomicU32,
}

/// The database of the baseline. Its server is started for each case, so that idle connections of one size of the
/// pool take nothing from another.
struct Rival {
    database: Database,
    members: Arc<Vec<String>>,
    durability: Vec<Setting>,
    /// Where the engine and the machine have it.
    pgbench: Option<Pgbench>,
}

impl Bench {
    async fn engine(&self, engine: Engine, results: &mut Results) -> anyhow::Result<()> {
        if engine != Engine::Mysql {
            return self.measure_engine(engine, None, results).await;
        }
        let tuning = Tuning::of(&self.options.surroundings.mysql_url).await;
        let measured = self.measure_engine(engine, Some(&tuning), results).await;
        // Also after a failure: the server is not ours.
        if let Err(error) = tuning.put_back().await {
            eprintln!("mysql: the settings of the server were not put back ({error})");
        }
        measured
    }

    async fn measure_engine(
        &self,
        engine: Engine,
        tuning: Option<&Tuning>,
        results: &mut Results,
    ) -> anyhow::Result<()> {
        let name = engine.name();
        eprintln!("{name}: opening a shop of {} members", self.opening.members);
        let Some(mut site) = Site::open(&self.places, &self.program, engine, "huika", &self.opening).await?
        else {
            return Ok(());
        };
        let compares =
            [Part::Earn, Part::Redeem, Part::Purchase, Part::Bulk].map(|part| self.options.measures(part));
        let rival = if self.options.no_baselines || !compares.contains(&true) {
            None
        } else {
            self.rival(engine, &site.installation).await?
        };
        let mut facts = EngineFacts {
            engine: name.to_owned(),
            version: site.database.version().await?,
            durability: site.database.durability().await?,
            baseline_durability: rival
                .as_ref()
                .map(|rival| rival.durability.clone())
                .unwrap_or_default(),
            tuned: match tuning {
                Some(tuning) => tuning.in_force().await,
                None => Vec::new(),
            },
            start_ms: None,
            idle_mib: None,
            peak_mib: None,
            verify_seconds: None,
            import: None,
            expiry: None,
        };
        for setting in facts.durability.iter().chain(&facts.baseline_durability) {
            let word = if setting.durable { "" } else { ": NOT DURABLE" };
            eprintln!("{name}: {} = {}{word}", setting.name, setting.value);
        }
        site.database.settle(true).await?;
        if let Some(rival) = &rival {
            rival.database.settle(true).await?;
        }
        if self.options.measures(Part::Start) {
            site = self.starts(site, &mut facts).await?;
        }
        self.cases(&site, rival.as_ref(), &mut results.rows).await?;
        facts.peak_mib = site
            .server
            .process()
            .and_then(memory_of)
            .map(|memory| memory.peak_mib);
        if let Some(rival) = rival {
            self.remove(rival.database).await?;
        }
        site.server.stop().await?;
        if self.options.measures(Part::Verify) {
            facts.verify_seconds = Some(verify(&site.installation, name, &mut results.complaints).await?);
        }
        self.remove(site.database).await?;
        if self.options.measures(Part::Import) {
            facts.import = self.import(engine, &mut results.complaints).await?;
        }
        if self.options.measures(Part::Expiry) {
            facts.expiry = self.expiry(engine, &mut results.complaints).await?;
        }
        results.engines.push(facts);
        Ok(())
    }

    /// Opens the baseline on the same tables, made by the same migrations.
    async fn rival(&self, engine: Engine, like: &Installation) -> anyhow::Result<Option<Rival>> {
        eprintln!("{}: filling the baseline", engine.name());
        let Some(database) = self.places.create(engine, "baseline").await? else {
            return Ok(None);
        };
        let label = format!("baseline-{}", engine.name());
        let installation = like.on(&self.places.folder, &label, &database.url)?;
        installation.run(&["migrate"]).await?;
        let db = database.connect().await?;
        baseline::fill(&db, &self.opening).await?;
        db.close().await;
        let server = BaselineServer::start(engine, &database.url, baseline::pools(engine, 1)[0]).await?;
        let mut connection = Connection::open(server.address).await?;
        let own = ask(
            &mut connection,
            &Request::new("GET", "/durability"),
            &Credentials::None,
        )
        .await?;
        server.stop().await?;
        let mut durability = database.durability().await?;
        for setting in serde_json::from_value::<Vec<Setting>>(own)? {
            // What its own connections say goes before what the server says in general.
            durability.retain(|other| other.name != setting.name);
            durability.push(setting);
        }
        let pgbench = match engine {
            Engine::Postgres if pgbench_is_installed().await => Some(Pgbench::prepare(
                &self.places.folder,
                &database.url,
                self.opening.members,
            )?),
            _ => None,
        };
        let members = Arc::new(baseline::member_ids(self.opening.members));
        Ok(Some(Rival {
            database,
            members,
            durability,
            pgbench,
        }))
    }

    /// Starts the server several times on the database that exists, and looks at it while it is idle.
    async fn starts(&self, mut site: Site, facts: &mut EngineFacts) -> anyhow::Result<Site> {
        let mut millis = Vec::new();
        for _ in 0..STARTS {
            site.server.stop().await?;
            site.server = site.installation.start().await?;
            millis.push(site.server.until_answer.as_secs_f64() * 1_000.0);
        }
        facts.start_ms = median(millis);
        tokio::time::sleep(self.window.min(Duration::from_secs(5))).await;
        facts.idle_mib = site
            .server
            .process()
            .and_then(memory_of)
            .map(|memory| memory.resident_mib);
        Ok(site)
    }

    async fn cases(&self, site: &Site, rival: Option<&Rival>, rows: &mut Vec<Row>) -> anyhow::Result<()> {
        // First, because the other loads add lots and so would make redeeming dearer, unequally on the two sides.
        if self.options.measures(Part::Redeem) {
            for connections in &self.options.connections {
                let mut rounds = Vec::new();
                for _ in 0..self.options.rounds {
                    rounds.push(self.redeem(site, rival, *connections).await?);
                }
                rows.extend(middle(rounds));
            }
        }
        for connections in &self.options.connections {
            let mut rounds = Vec::new();
            for _ in 0..self.options.rounds {
                rounds.push(self.earn_and_purchase(site, rival, *connections).await?);
            }
            rows.extend(middle(rounds));
        }
        if self.options.measures(Part::Bulk) {
            for action in [Action::EarnBulk, Action::PurchaseBulk] {
                rows.push(self.huika(site, action, BULK_CLIENTS).await?);
            }
        }
        if self.options.measures(Part::Read) {
            rows.push(self.huika(site, Action::Read, READERS).await?);
        }
        if self.options.measures(Part::Events) {
            rows.push(self.huika(site, Action::Events, BULK_CLIENTS).await?);
            let mut rounds = Vec::new();
            for _ in 0..self.options.rounds {
                rounds.push(vec![self.earn_beside_events(site).await?]);
            }
            // The ratio in the middle, not that of the middle throughput.
            let ratio = median(rounds.iter().filter_map(|rows| rows[0].ratio).collect());
            rows.extend(middle(rounds).into_iter().map(|row| Row { ratio, ..row }));
        }
        Ok(())
    }

    /// Earning alone and then while events come in at a fixed rate, one right after the other.
    async fn earn_beside_events(&self, site: &Site) -> anyhow::Result<Row> {
        let alone = self.huika(site, Action::Earn, EARNERS).await?;
        let process = site.server.process();
        let (members, credentials) = (&site.members, &site.credentials);
        let events = self.load(
            Action::Events,
            1,
            members,
            credentials,
            site.server.address,
            process,
        );
        let (carried, rate) = (Action::Events.items() as f64, self.options.events_rate as f64);
        // Begun before the earning and ended after it.
        let stop = Arc::new(Notify::new());
        let stream = tokio::spawn(events.stream(Duration::from_secs_f64(carried / rate), Arc::clone(&stop)));
        let beside = self.huika(site, Action::EarnBesideEvents, EARNERS).await;
        stop.notify_one();
        let streamed = stream.await.context("the events panicked")??;
        let mut beside = beside?;
        beside.ratio = Some(beside.per_second / alone.per_second).filter(|ratio| ratio.is_finite());
        beside.ratio_to = Some(Subject::Huika);
        eprintln!(
            "{}: {:.0} events/s came in beside {:.0} earnings/s; alone {:.0}/s",
            site.database.engine.name(),
            streamed.items as f64 / streamed.seconds,
            beside.per_second,
            alone.per_second
        );
        // A stream that does not keep its rate proves nothing.
        let kept = streamed.items as f64 >= rate * STREAM_KEEPS * streamed.seconds;
        if !kept || streamed.trouble.count() > 0 {
            beside.errors += streamed.trouble.count().max(1);
            let unkept = || Some("the events did not come in at their rate".to_owned());
            beside.first_error = streamed.trouble.first.or_else(unkept);
            beside.ratio = None;
        }
        Ok(beside)
    }

    /// Fills a ledger of its own, and lets everything in it expire.
    async fn expiry(&self, engine: Engine, complaints: &mut Vec<String>) -> anyhow::Result<Option<Expiry>> {
        let lots = match engine {
            Engine::Postgres => self.options.expiring_lots,
            Engine::Sqlite | Engine::Mysql => self.options.expiring_lots / 10,
        };
        let name = engine.name();
        let Some(database) = self.places.create(engine, "expiry").await? else {
            return Ok(None);
        };
        let label = format!("expiry-{name}");
        let installation = Installation::prepare(&self.program, &self.places.folder, &label, &database.url)?;
        installation.run(&["migrate"]).await?;
        eprintln!("{name}: making {lots} lots");
        let members = expiry::fill(&database.url, lots).await?;
        database.settle(true).await?;
        let mut expiry = expiry::run(&database.url, members).await?;
        eprintln!(
            "{name}: {} lots expired in {:.1} s, {} reads, {} of them wrong",
            expiry.lots, expiry.seconds, expiry.reads, expiry.wrong_reads
        );
        if expiry.wrong_reads > 0 {
            complaints.push(format!(
                "{name}: {} reads beside the expiry were not exact",
                expiry.wrong_reads
            ));
        }
        expiry.verify_seconds = verify(&installation, name, complaints).await?;
        self.remove(database).await?;
        Ok(Some(expiry))
    }

    async fn redeem(
        &self,
        site: &Site,
        rival: Option<&Rival>,
        connections: usize,
    ) -> anyhow::Result<Vec<Row>> {
        let mut rows = vec![self.huika(site, Action::Redeem, connections).await?];
        if let Some(rival) = rival {
            self.per_request(site, rival, Action::Redeem, connections, &mut rows)
                .await?;
        }
        Ok(rows)
    }

    async fn earn_and_purchase(
        &self,
        site: &Site,
        rival: Option<&Rival>,
        connections: usize,
    ) -> anyhow::Result<Vec<Row>> {
        let (earn, purchase) = (
            self.options.measures(Part::Earn),
            self.options.measures(Part::Purchase),
        );
        let mut rows = Vec::new();
        if earn {
            rows.push(self.huika(site, Action::Earn, connections).await?);
        }
        if let Some(rival) = rival.filter(|_| earn || purchase) {
            self.pgbench(site, rival, connections, &mut rows).await?;
            self.per_request(site, rival, Action::Earn, connections, &mut rows)
                .await?;
        }
        if purchase {
            rows.push(self.huika(site, Action::Purchase, connections).await?);
        }
        Ok(rows)
    }

    async fn huika(&self, site: &Site, action: Action, connections: usize) -> anyhow::Result<Row> {
        let process = site.server.process();
        let load = self.load(
            action,
            connections,
            &site.members,
            &site.credentials,
            site.server.address,
            process,
        );
        let by = (Subject::Huika, None);
        self.measure(site, &site.database, by, action, load).await
    }

    async fn per_request(
        &self,
        site: &Site,
        rival: &Rival,
        action: Action,
        connections: usize,
        rows: &mut Vec<Row>,
    ) -> anyhow::Result<()> {
        let (engine, nobody) = (rival.database.engine, Arc::new(Credentials::None));
        for pool in baseline::pools(engine, connections) {
            let server = BaselineServer::start(engine, &rival.database.url, *pool).await?;
            let load = self.load(
                action,
                connections,
                &rival.members,
                &nobody,
                server.address,
                server.process(),
            );
            let by = (Subject::PerRequest, Some(*pool));
            rows.push(self.measure(site, &rival.database, by, action, load).await?);
            server.stop().await?;
        }
        Ok(())
    }

    fn load(
        &self,
        action: Action,
        connections: usize,
        members: &Arc<Vec<String>>,
        credentials: &Arc<Credentials>,
        address: std::net::SocketAddr,
        server_process: Option<u32>,
    ) -> Load {
        // A key counts once per member: no two loads may send the same.
        let load = self.loads.fetch_add(1, Ordering::Relaxed);
        let label = format!("{}-{}-{load}", self.label, action.name().replace(' ', "-"));
        let members = Arc::clone(members);
        Load {
            address,
            credentials: Arc::clone(credentials),
            scenario: Arc::new(Scenario {
                action,
                members,
                label,
            }),
            connections,
            warm_up: self.warm_up,
            window: self.window,
            seed: self.options.surroundings.seed,
            server_process,
        }
    }

    async fn measure(
        &self,
        site: &Site,
        database: &Database,
        (subject, pool): (Subject, Option<u32>),
        action: Action,
        load: Load,
    ) -> anyhow::Result<Row> {
        let connections = load.connections;
        let load_average = ready(site, database).await?;
        let measured = load.run().await?;
        let engine = database.engine.name();
        let mut row = Row::of_load(engine, subject, action, connections, &measured);
        (row.pool, row.load_average) = (pool, load_average);
        tell(&row);
        Ok(row)
    }

    async fn pgbench(
        &self,
        site: &Site,
        rival: &Rival,
        wanted: usize,
        rows: &mut Vec<Row>,
    ) -> anyhow::Result<()> {
        let Some(pgbench) = &rival.pgbench else {
            return Ok(());
        };
        let free = rival.database.free_connections().await?;
        let clients = free.map_or(wanted, |free| {
            wanted.min(free.saturating_sub(SPARED_CONNECTIONS).max(1))
        });
        for (script, subject) in [
            (Script::Transaction, Subject::Pgbench),
            (Script::OneStatement, Subject::PgbenchCte),
        ] {
            let load_average = ready(site, &rival.database).await?;
            let run = pgbench.run(script, clients, self.warm_up, self.window).await?;
            let mut row = Row::of_pgbench(rival.database.engine.name(), subject, wanted, clients, &run);
            row.load_average = load_average;
            tell(&row);
            rows.push(row);
        }
        Ok(())
    }

    /// Imports a file into an empty database and verifies the ledger that comes of it.
    async fn import(&self, engine: Engine, complaints: &mut Vec<String>) -> anyhow::Result<Option<Import>> {
        let (file, rows) = self.import_file()?;
        let Some(database) = self.places.create(engine, "import").await? else {
            return Ok(None);
        };
        let label = format!("import-{}", engine.name());
        let installation = Installation::prepare(&self.program, &self.places.folder, &label, &database.url)?;
        installation.run(&["migrate"]).await?;
        database.settle(false).await?;
        eprintln!("{}: importing {} rows", engine.name(), rows);
        let path = file.display().to_string();
        let began = Instant::now();
        let (_, peak_mib) = installation
            .run_watched(&[
                "import",
                "purchases",
                "--format",
                "online-retail",
                &path,
                "--json",
            ])
            .await?;
        let seconds = began.elapsed().as_secs_f64();
        eprintln!("{}: imported in {seconds:.1} s", engine.name());
        let verify_seconds = verify(&installation, engine.name(), complaints).await?;
        self.remove(database).await?;
        let file = file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Ok(Some(Import {
            file,
            rows,
            seconds,
            peak_mib,
            verify_seconds,
        }))
    }

    /// The file that was named, or one that is made, and its rows.
    fn import_file(&self) -> anyhow::Result<(PathBuf, u64)> {
        if let Some(file) = &self.options.import_file {
            return Ok((file.canonicalize()?, import_file::count_rows(file)?));
        }
        let invoices = if self.options.quick {
            QUICK_INVOICES
        } else {
            INVOICES
        };
        let file = self.places.folder.join(format!("online-retail-{invoices}.csv"));
        let made = import_file::write_file(&file, &Shape::of(invoices, self.options.surroundings.seed))?;
        Ok((file, made.rows))
    }

    async fn remove(&self, database: Database) -> anyhow::Result<()> {
        if self.options.surroundings.keep {
            eprintln!("kept: {}", database.url);
            return Ok(());
        }
        database.remove().await
    }
}

/// Waits until the server has finished what the last case left, writes out what the database holds back, and
/// tells the load average.
async fn ready(site: &Site, database: &Database) -> anyhow::Result<Option<f64>> {
    let began = Instant::now();
    while began.elapsed() < QUIET_TIMEOUT {
        let used = || site.server.process().and_then(cpu_seconds_of);
        let before = used();
        tokio::time::sleep(QUIET_PROBE).await;
        let cores = used()
            .zip(before)
            .map(|(after, before)| (after - before) / QUIET_PROBE.as_secs_f64());
        if cores.is_none_or(|cores| cores < QUIET_CORES) {
            break;
        }
    }
    database.settle(false).await?;
    Ok(load_average())
}

/// Verifies a ledger and tells how long it took. A ledger that does not verify is a complaint, and the run goes on.
async fn verify(
    installation: &Installation,
    engine: &str,
    complaints: &mut Vec<String>,
) -> anyhow::Result<f64> {
    let began = Instant::now();
    let result = installation.run(&["verify", "--json"]).await;
    let seconds = began.elapsed().as_secs_f64();
    match result {
        Ok(_) => eprintln!("{engine}: verified in {seconds:.1} s"),
        Err(error) => complaints.push(format!("{engine}: the ledger does not verify: {error}")),
    }
    Ok(seconds)
}

async fn pgbench_is_installed() -> bool {
    let output = tokio::process::Command::new("pgbench")
        .arg("--version")
        .output()
        .await;
    output.is_ok_and(|output| output.status.success())
}

fn tell(row: &Row) {
    let p99 = row.latency.map_or(0.0, |latency| latency.p99_ms);
    let errors = match (row.errors, &row.first_error) {
        (0, _) => String::new(),
        (errors, first) => format!(", {errors} ERRORS: {}", first.as_deref().unwrap_or_default()),
    };
    eprintln!(
        "{}: {} by {} at {}: {:.0}/s, p99 {p99:.1} ms{errors}",
        row.engine,
        row.action.name(),
        row.by(),
        row.connections,
        row.per_second,
    );
}
