//! What a run found: rows, facts, and the bounds that are demanded.

use serde::{Deserialize, Serialize};

use crate::{
    database::Setting, expiry::Expiry, latency::Percentiles, load::Measured, machine::Machine, pgbench,
    scenario::Action,
};

/// The demand on imports is about a file of this size at least.
const WHOLE_HISTORY_ROWS: u64 = 500_000;
/// Connections at which baselines are usually at their best.
const BEST_LIES_AMONG: [usize; 2] = [16, 64];
/// The demand on expiry is about so many lots at least.
const ALL_LOTS: u64 = 1_000_000;
/// The version of `latest.json`.
pub(crate) const FORMAT: u32 = 1;

/// A whole run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) format: u32,
    /// Unix seconds.
    pub(crate) started_at: u64,
    pub(crate) seconds: f64,
    /// False when anything was not durable: then no figure counts.
    pub(crate) valid: bool,
    /// Why not, and what else went wrong.
    pub(crate) complaints: Vec<String>,
    pub(crate) machine: Machine,
    pub(crate) options: serde_json::Value,
    pub(crate) engines: Vec<EngineFacts>,
    pub(crate) rows: Vec<Row>,
    pub(crate) bounds: Vec<Bound>,
}

/// What was found about one engine beside the rows.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EngineFacts {
    pub(crate) engine: String,
    pub(crate) version: String,
    /// As connections of Huika see it.
    pub(crate) durability: Vec<Setting>,
    /// As connections of the baseline see it.
    pub(crate) baseline_durability: Vec<Setting>,
    /// What the bench set on the server for both sides, as the operations guide advises.
    pub(crate) tuned: Vec<Tuned>,
    /// From the start of the process to the first answer, on an existing database; the median of several.
    pub(crate) start_ms: Option<f64>,
    /// Of the server, some seconds after its start.
    pub(crate) idle_mib: Option<f64>,
    /// Of the server after all loads.
    pub(crate) peak_mib: Option<f64>,
    /// Of the ledger that the loads left behind.
    pub(crate) verify_seconds: Option<f64>,
    pub(crate) import: Option<Import>,
    #[serde(default)]
    pub(crate) expiry: Option<Expiry>,
}

/// A setting of a server that speed rests on, and nothing else.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Tuned {
    pub(crate) name: String,
    pub(crate) value: u64,
}

/// An import of a file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Import {
    pub(crate) file: String,
    pub(crate) rows: u64,
    pub(crate) seconds: f64,
    /// Of the import alone.
    pub(crate) peak_mib: Option<f64>,
    pub(crate) verify_seconds: f64,
}

/// Who did the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Subject {
    Huika,
    /// The Rust server with one transaction per request.
    PerRequest,
    Pgbench,
    /// pgbench with everything in one statement.
    PgbenchCte,
}

impl Subject {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Huika => "huika",
            Self::PerRequest => "per request",
            Self::Pgbench => "pgbench",
            Self::PgbenchCte => "pgbench, CTE",
        }
    }
}

/// One case.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) engine: String,
    pub(crate) subject: Subject,
    pub(crate) action: Action,
    /// Connections of the per-request server to the database.
    #[serde(default)]
    pub(crate) pool: Option<u32>,
    pub(crate) connections: usize,
    /// What was asked for, where the database server takes fewer.
    pub(crate) connections_wanted: usize,
    /// Items per second; single requests carry one.
    pub(crate) per_second: f64,
    /// Of requests, in bulk too.
    pub(crate) latency: Option<Percentiles>,
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    pub(crate) server_fault: bool,
    pub(crate) server_cores: Option<f64>,
    pub(crate) client_cores: Option<f64>,
    /// Of the machine, just before.
    pub(crate) load_average: Option<f64>,
    /// Against the best figure of `ratio_to` in the same run.
    pub(crate) ratio: Option<f64>,
    pub(crate) ratio_to: Option<Subject>,
}

/// Of rounds that measured the same cases in the same order, the row in the middle of each by its throughput. What
/// went wrong in any round stays.
pub(crate) fn middle(rounds: Vec<Vec<Row>>) -> Vec<Row> {
    let cases = rounds.iter().map(Vec::len).min().unwrap_or(0);
    let mut rounds: Vec<_> = rounds.into_iter().map(Vec::into_iter).collect();
    (0..cases)
        .filter_map(|_| {
            let mut rows: Vec<Row> = rounds.iter_mut().filter_map(Iterator::next).collect();
            rows.sort_by(|one, other| one.per_second.total_cmp(&other.per_second));
            let errors = rows.iter().map(|row| row.errors).sum();
            let first_error = rows.iter().find_map(|row| row.first_error.clone());
            let server_fault = rows.iter().any(|row| row.server_fault);
            let at = rows.len().checked_sub(1)? / 2;
            Some(Row {
                errors,
                first_error,
                server_fault,
                ..rows.swap_remove(at)
            })
        })
        .collect()
}

/// A figure that Huika must reach.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bound {
    pub(crate) name: String,
    pub(crate) demand: Demand,
    pub(crate) limit: f64,
    pub(crate) unit: String,
    /// `None` when this run did not measure it.
    pub(crate) value: Option<f64>,
    pub(crate) passed: Option<bool>,
}

/// In which direction a limit holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Demand {
    AtLeast,
    AtMost,
}

impl Bound {
    fn new(name: &str, demand: Demand, limit: f64, unit: &str, value: Option<f64>) -> Self {
        let passed = value.map(|value| match demand {
            Demand::AtLeast => value >= limit,
            Demand::AtMost => value <= limit,
        });
        Self {
            name: name.to_owned(),
            demand,
            limit,
            unit: unit.to_owned(),
            value,
            passed,
        }
    }
}

impl Row {
    pub(crate) fn of_load(
        engine: &str,
        subject: Subject,
        action: Action,
        connections: usize,
        measured: &Measured,
    ) -> Self {
        Self {
            engine: engine.to_owned(),
            subject,
            action,
            pool: None,
            connections,
            connections_wanted: connections,
            per_second: measured.items as f64 / measured.seconds,
            latency: measured.latencies.percentiles(),
            requests: measured.answered,
            errors: measured.trouble.count(),
            first_error: measured.trouble.first.clone(),
            server_fault: measured.trouble.is_server_fault(),
            server_cores: measured.server_cores,
            client_cores: measured.client_cores,
            load_average: None,
            ratio: None,
            ratio_to: None,
        }
    }

    /// Who did the work, with the pool where several are measured.
    pub(crate) fn by(&self) -> String {
        match self.pool {
            Some(pool) if pool > 1 => format!("{}, pool {pool}", self.subject.name()),
            _ => self.subject.name().to_owned(),
        }
    }

    pub(crate) fn of_pgbench(
        engine: &str,
        subject: Subject,
        wanted: usize,
        clients: usize,
        run: &pgbench::Run,
    ) -> Self {
        Self {
            engine: engine.to_owned(),
            subject,
            action: Action::Earn,
            pool: None,
            connections: clients,
            connections_wanted: wanted,
            per_second: run.transactions_per_second,
            latency: run.latencies.percentiles(),
            requests: run.transactions,
            errors: run.failed,
            first_error: None,
            server_fault: false,
            server_cores: None,
            client_cores: None,
            load_average: None,
            ratio: None,
            ratio_to: None,
        }
    }
}

impl Results {
    /// Puts every row of Huika beside the best figure of its baseline, and judges the demands.
    pub(crate) fn conclude(&mut self) {
        for at in 0..self.rows.len() {
            let row = &self.rows[at];
            if row.subject != Subject::Huika {
                continue;
            }
            let Some((subject, action)) = baseline_of(&row.engine, row.action) else {
                continue;
            };
            let best = best(&self.rows, &row.engine, subject, action);
            let ratio = best.map(|best| row.per_second / best);
            let row = &mut self.rows[at];
            (row.ratio, row.ratio_to) = (ratio, ratio.map(|_| subject));
        }
        for facts in &self.engines {
            for (who, settings) in [
                ("huika", &facts.durability),
                ("the baseline", &facts.baseline_durability),
            ] {
                for setting in settings.iter().filter(|setting| !setting.durable) {
                    self.valid = false;
                    self.complaints.push(format!(
                        "{}, {who}: {} = {} does not survive a crash",
                        facts.engine, setting.name, setting.value
                    ));
                }
            }
        }
        self.bounds = if self.valid {
            bounds(&self.rows, &self.engines)
        } else {
            Vec::new()
        };
    }

    /// Whether every demand was measured and is met.
    pub(crate) fn all_passed(&self) -> bool {
        self.valid && self.bounds.iter().all(|bound| bound.passed == Some(true))
    }
}

/// What an action is compared with: on PostgreSQL, earning and purchases with pgbench; everything else with the
/// per-request server. A purchase writes more than the earning that it is compared with.
fn baseline_of(engine: &str, action: Action) -> Option<(Subject, Action)> {
    match action {
        // Earning beside events was put beside earning alone when it was measured.
        Action::Read | Action::Events | Action::EarnBesideEvents => None,
        Action::Redeem => Some((Subject::PerRequest, Action::Redeem)),
        _ if engine == "postgres" => Some((Subject::Pgbench, Action::Earn)),
        _ => Some((Subject::PerRequest, Action::Earn)),
    }
}

/// The best throughput over all numbers of connections and all sizes of the pool.
fn best(rows: &[Row], engine: &str, subject: Subject, action: Action) -> Option<f64> {
    rows.iter()
        .filter(|row| row.engine == engine && row.subject == subject && row.action == action)
        .map(|row| row.per_second)
        .filter(|per_second| *per_second > 0.0)
        .max_by(f64::total_cmp)
}

fn bounds(rows: &[Row], engines: &[EngineFacts]) -> Vec<Bound> {
    use Demand::{AtLeast, AtMost};
    let of = |engine: &str, subject: Subject, action: Action, connections: usize| {
        rows.iter().find(|row| {
            (&*row.engine, row.subject, row.action, row.connections_wanted)
                == (engine, subject, action, connections)
        })
    };
    // The best of a baseline is known only where it was looked for.
    let sought = |engine: &str, action| {
        let baseline = baseline_of(engine, action);
        baseline.is_some_and(|(subject, action)| {
            BEST_LIES_AMONG
                .iter()
                .all(|connections| of(engine, subject, action, *connections).is_some())
        })
    };
    let ratio = |engine, action| {
        of(engine, Subject::Huika, action, 256)
            .filter(|_| sought(engine, action))
            .and_then(|row| row.ratio)
    };
    // Both sides under the same load, the baseline with its better pool.
    let same_load = |engine: &str| {
        let baseline = rows.iter().filter(|row| {
            (&*row.engine, row.subject, row.action, row.connections_wanted)
                == (engine, Subject::PerRequest, Action::Earn, 256)
        });
        let baseline = baseline.map(|row| row.per_second).max_by(f64::total_cmp)?;
        let huika = of(engine, Subject::Huika, Action::Earn, 256)?;
        (baseline > 0.0).then(|| huika.per_second / baseline)
    };
    let p99 = |subject| {
        of("postgres", subject, Action::Earn, 16)
            .and_then(|row| row.latency)
            .map(|at| at.p99_ms)
    };
    let latency = p99(Subject::Huika)
        .zip(p99(Subject::Pgbench))
        .map(|(huika, pgbench)| huika / pgbench);
    let mut bounds = vec![
        Bound::new(
            "PostgreSQL, 256 connections: earn ÷ best pgbench",
            AtLeast,
            2.0,
            "×",
            ratio("postgres", Action::Earn),
        ),
        Bound::new(
            "PostgreSQL, 256 connections: purchase ÷ best pgbench",
            AtLeast,
            1.0,
            "×",
            ratio("postgres", Action::Purchase),
        ),
        Bound::new(
            "PostgreSQL, 256 connections: redeem ÷ best per-request transaction",
            AtLeast,
            1.5,
            "×",
            ratio("postgres", Action::Redeem),
        ),
        Bound::new(
            "PostgreSQL, 16 connections: p99 of earn ÷ p99 of pgbench",
            AtMost,
            3.0,
            "×",
            latency,
        ),
        Bound::new(
            "SQLite, 256 connections on both sides: earn ÷ per-request transaction",
            AtLeast,
            4.0,
            "×",
            same_load("sqlite"),
        ),
        Bound::new(
            "MariaDB, 256 connections on both sides: earn ÷ per-request transaction",
            AtLeast,
            3.0,
            "×",
            same_load("mysql"),
        ),
    ];
    let sqlite = engines.iter().find(|facts| facts.engine == "sqlite");
    let import = sqlite.and_then(|facts| facts.import.as_ref());
    let import = import
        .filter(|import| import.rows >= WHOLE_HISTORY_ROWS)
        .map(|import| import.seconds);
    bounds.push(Bound::new(
        "SQLite: import of a shop's history",
        AtMost,
        30.0,
        "s",
        import,
    ));
    let postgres = engines.iter().find(|facts| facts.engine == "postgres");
    let expiry = postgres.and_then(|facts| facts.expiry.as_ref());
    bounds.push(Bound::new(
        "PostgreSQL: a million lots expire at one moment",
        AtMost,
        60.0,
        "s",
        expiry
            .filter(|expiry| expiry.lots >= ALL_LOTS)
            .map(|expiry| expiry.seconds),
    ));
    let beside = rows
        .iter()
        .filter(|row| row.action == Action::EarnBesideEvents)
        .filter_map(|row| row.ratio)
        .min_by(f64::total_cmp);
    bounds.push(Bound::new(
        "Earning beside behaviour events ÷ earning alone, the worst engine",
        AtLeast,
        0.9,
        "×",
        beside,
    ));
    let highest =
        |value: fn(&EngineFacts) -> Option<f64>| engines.iter().filter_map(value).max_by(f64::total_cmp);
    bounds.push(Bound::new(
        "Memory of the idle server",
        AtMost,
        64.0,
        "MiB",
        highest(|facts| facts.idle_mib),
    ));
    bounds.push(Bound::new(
        "Start to first answer",
        AtMost,
        300.0,
        "ms",
        highest(|facts| facts.start_ms),
    ));
    bounds
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn row(
        engine: &str,
        subject: Subject,
        action: Action,
        connections: usize,
        per_second: f64,
        p99_ms: f64,
    ) -> Row {
        let mut row = Row::of_load(
            engine,
            subject,
            action,
            connections,
            &Measured {
                latencies: crate::latency::Latencies::new(),
                answered: 1,
                items: 0,
                seconds: 1.0,
                trouble: Default::default(),
                server_cores: None,
                client_cores: None,
            },
        );
        row.per_second = per_second;
        row.latency = Some(Percentiles {
            p50_ms: 1.0,
            p99_ms,
            max_ms: 100.0,
        });
        row
    }

    pub(crate) fn results(durable: bool) -> Results {
        use Action::{Earn, Purchase, Read};
        use Subject::{Huika, PerRequest, Pgbench, PgbenchCte};
        Results {
            format: FORMAT,
            started_at: 1_795_226_400,
            seconds: 60.0,
            valid: true,
            complaints: Vec::new(),
            machine: Machine {
                cores: 2,
                cpu: "test".to_owned(),
                memory_mib: Some(1024.0),
                system: "linux".to_owned(),
                load_average: Some(0.1),
                huika: "huika 0.1.0".to_owned(),
                commit: "abc".to_owned(),
                pgbench: None,
            },
            options: serde_json::json!({}),
            engines: vec![EngineFacts {
                engine: "postgres".to_owned(),
                version: "15".to_owned(),
                durability: vec![Setting {
                    name: "fsync".to_owned(),
                    value: "on".to_owned(),
                    durable,
                }],
                baseline_durability: Vec::new(),
                tuned: Vec::new(),
                start_ms: Some(80.0),
                idle_mib: Some(70.0),
                peak_mib: Some(90.0),
                verify_seconds: Some(1.0),
                import: None,
                expiry: None,
            }],
            rows: vec![
                row("postgres", Huika, Earn, 16, 6_000.0, 9.0),
                row("postgres", Huika, Earn, 256, 12_000.0, 50.0),
                row("postgres", Pgbench, Earn, 16, 6_000.0, 3.0),
                row("postgres", Pgbench, Earn, 64, 4_000.0, 30.0),
                row("postgres", PgbenchCte, Earn, 16, 11_000.0, 3.0),
                row("postgres", PerRequest, Earn, 64, 3_000.0, 30.0),
                row("postgres", Huika, Purchase, 256, 3_000.0, 30.0),
                row("postgres", Huika, Read, 64, 30_000.0, 3.0),
            ],
            bounds: Vec::new(),
        }
    }

    #[test]
    fn huika_is_compared_with_the_best_of_its_baseline() {
        let mut results = results(true);
        results.conclude();
        let ratios: Vec<Option<f64>> = results.rows.iter().map(|row| row.ratio).collect();
        assert_eq!(ratios[..3], [Some(1.0), Some(2.0), None]);
        assert_eq!(ratios[6..], [Some(0.5), None]);
        let passed: Vec<Option<bool>> = results.bounds.iter().map(|bound| bound.passed).collect();
        let expected = [
            Some(true),
            Some(false),
            None,
            Some(true),
            None,
            None,
            None,
            None,
            None,
            Some(false),
            Some(true),
        ];
        assert_eq!(passed, expected);
        assert!(!results.all_passed());

        // What was not measured is not met: an engine that does not answer must be noticed.
        results.bounds.retain(|bound| bound.passed != Some(false));
        assert!(!results.all_passed());
        results.bounds.retain(|bound| bound.passed.is_some());
        assert!(results.all_passed());
    }

    #[test]
    fn the_baseline_is_as_good_as_its_best_pool() {
        let mut results = results(true);
        for (pool, per_second) in [(16, 3_000.0), (64, 5_000.0)] {
            let mut row = row("mysql", Subject::PerRequest, Action::Earn, 64, per_second, 9.0);
            row.pool = Some(pool);
            results.rows.push(row);
        }
        results
            .rows
            .push(row("mysql", Subject::Huika, Action::Earn, 64, 10_000.0, 9.0));
        results.conclude();
        assert_eq!(results.rows.last().unwrap().ratio, Some(2.0));
    }

    #[test]
    fn the_middle_round_counts_and_errors_of_all_stay() {
        let round = |huika: f64, rival: f64| {
            let of = |subject, per_second| row("sqlite", subject, Action::Earn, 16, per_second, 1.0);
            vec![of(Subject::Huika, huika), of(Subject::PerRequest, rival)]
        };
        let mut rounds = vec![round(300.0, 10.0), round(100.0, 30.0), round(200.0, 20.0)];
        rounds[0][0].errors = 2;
        rounds[1][1].server_fault = true;
        let rows = middle(rounds);
        let seen: Vec<(f64, u64, bool)> = rows
            .iter()
            .map(|row| (row.per_second, row.errors, row.server_fault))
            .collect();
        assert_eq!(seen, [(200.0, 2, false), (20.0, 0, true)]);
        assert!(middle(Vec::new()).is_empty());
    }

    #[test]
    fn a_run_without_durability_counts_nothing() {
        let mut results = results(false);
        results.conclude();
        assert!(!results.valid && results.bounds.is_empty() && !results.all_passed());
        assert_eq!(
            results.complaints,
            ["postgres, huika: fsync = on does not survive a crash"]
        );
    }
}
