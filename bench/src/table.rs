//! A run as text for the terminal and as Markdown for docs/benchmarks.md.

use std::fmt::Write as _;

use crate::results::{Bound, Demand, Results, Row};

/// A table in the making: aligned columns on a terminal, pipes in Markdown.
struct Table {
    titles: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

/// How tables look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Markdown,
}

impl Table {
    fn new(titles: &[&'static str]) -> Self {
        Self {
            titles: titles.to_vec(),
            rows: Vec::new(),
        }
    }

    fn render(&self, form: Form) -> String {
        let mut out = String::new();
        let widths: Vec<usize> = self
            .titles
            .iter()
            .enumerate()
            .map(|(at, title)| {
                let cells = self.rows.iter().map(|row| row[at].chars().count());
                cells.chain([title.chars().count(), 3]).max().unwrap_or(0)
            })
            .collect();
        let titles: Vec<String> = self.titles.iter().map(|title| (*title).to_owned()).collect();
        push_line(&mut out, form, &titles, &widths);
        let rules: Vec<String> = widths
            .iter()
            .enumerate()
            .map(|(at, width)| match (form, is_number(at)) {
                (Form::Markdown, true) => format!("{}:", "-".repeat(width - 1)),
                _ => "-".repeat(*width),
            })
            .collect();
        push_line(&mut out, form, &rules, &widths);
        for row in &self.rows {
            push_line(&mut out, form, row, &widths);
        }
        out
    }
}

/// The first two columns are words.
fn is_number(column: usize) -> bool {
    column >= 2
}

fn push_line(out: &mut String, form: Form, cells: &[String], widths: &[usize]) {
    let padded: Vec<String> = cells
        .iter()
        .zip(widths)
        .enumerate()
        .map(|(at, (cell, width))| {
            let space = " ".repeat(width.saturating_sub(cell.chars().count()));
            if is_number(at) {
                format!("{space}{cell}")
            } else {
                format!("{cell}{space}")
            }
        })
        .collect();
    let line = match form {
        Form::Text => padded.join("  ").trim_end().to_owned(),
        Form::Markdown => format!("| {} |", padded.join(" | ")),
    };
    out.push_str(&line);
    out.push('\n');
}

/// The whole run.
pub(crate) fn render(results: &Results, form: Form) -> String {
    let mut out = String::new();
    let machine = &results.machine;
    // Writing into a string cannot fail.
    let _ = writeln!(
        out,
        "{} cores ({}), {} MiB, {}; {} at {}; pgbench: {}; load average at the start {}",
        machine.cores,
        machine.cpu,
        number(machine.memory_mib, 0),
        machine.system,
        machine.huika,
        machine.commit,
        machine.pgbench.as_deref().unwrap_or("not installed"),
        number(machine.load_average, 2),
    );
    for complaint in &results.complaints {
        let _ = writeln!(out, "\n*** {complaint}");
    }
    if !results.valid {
        let _ = writeln!(out, "\n*** THIS RUN IS NOT VALID: its figures count for nothing.");
    }
    out.push('\n');
    out.push_str(&durability(results, form));
    let mut engines: Vec<&str> = Vec::new();
    for row in &results.rows {
        if !engines.contains(&&*row.engine) {
            engines.push(&row.engine);
        }
    }
    for engine in engines {
        let title = if form == Form::Markdown { "### " } else { "" };
        let _ = writeln!(out, "\n{title}{}\n", engine_title(engine));
        out.push_str(&cases(
            results.rows.iter().filter(|row| row.engine == engine),
            form,
        ));
    }
    let _ = writeln!(
        out,
        "\n{}Beside the loads\n",
        if form == Form::Markdown { "### " } else { "" }
    );
    out.push_str(&facts(results, form));
    if results.engines.iter().any(|facts| facts.expiry.is_some()) {
        let _ = writeln!(
            out,
            "\n{}Lots that expire at one moment\n",
            if form == Form::Markdown { "### " } else { "" }
        );
        out.push_str(&expiry(results, form));
    }
    if !results.bounds.is_empty() {
        let _ = writeln!(
            out,
            "\n{}What is demanded\n",
            if form == Form::Markdown { "### " } else { "" }
        );
        out.push_str(&bounds(&results.bounds, form));
    }
    out
}

fn engine_title(engine: &str) -> &str {
    match engine {
        "sqlite" => "SQLite",
        "postgres" => "PostgreSQL",
        "mysql" => "MariaDB / MySQL",
        other => other,
    }
}

fn durability(results: &Results, form: Form) -> String {
    let mut table = Table::new(&["engine", "durability (huika; baseline)"]);
    for facts in &results.engines {
        let words = |settings: &[crate::database::Setting]| {
            let words: Vec<String> = settings
                .iter()
                .map(|setting| format!("{} = {}", setting.name, setting.value))
                .collect();
            words.join(", ")
        };
        let baseline = words(&facts.baseline_durability);
        let baseline = if baseline.is_empty() {
            String::new()
        } else {
            format!("; {baseline}")
        };
        let tuned: Vec<String> = facts
            .tuned
            .iter()
            .map(|tuned| format!("{} = {}", tuned.name, tuned.value))
            .collect();
        let tuned = if tuned.is_empty() {
            String::new()
        } else {
            format!("; set for both while this ran: {}", tuned.join(", "))
        };
        let version = format!("{} {}", engine_title(&facts.engine), facts.version);
        table.rows.push(vec![
            version,
            format!("{}{baseline}{tuned}", words(&facts.durability)),
        ]);
    }
    table.render(form)
}

fn cases<'a>(rows: impl Iterator<Item = &'a Row>, form: Form) -> String {
    let mut table = Table::new(&[
        "case",
        "by",
        "conns",
        "per second",
        "p50 ms",
        "p99 ms",
        "max ms",
        "errors",
        "server cores",
        "client cores",
        "load",
        "ratio",
    ]);
    for row in rows {
        let connections = if row.connections == row.connections_wanted {
            row.connections.to_string()
        } else {
            format!("{} of {}", row.connections, row.connections_wanted)
        };
        let ratio = row.ratio.zip(row.ratio_to);
        table.rows.push(vec![
            row.action.name().to_owned(),
            row.by(),
            connections,
            number(Some(row.per_second), 0),
            number(row.latency.map(|latency| latency.p50_ms), 1),
            number(row.latency.map(|latency| latency.p99_ms), 1),
            number(row.latency.map(|latency| latency.max_ms), 1),
            row.errors.to_string(),
            number(row.server_cores, 2),
            number(row.client_cores, 2),
            number(row.load_average, 2),
            ratio.map_or_else(String::new, |(ratio, to)| format!("{ratio:.2} × {}", to.name())),
        ]);
    }
    table.render(form)
}

fn facts(results: &Results, form: Form) -> String {
    let mut table = Table::new(&[
        "engine",
        "import",
        "import s",
        "import MiB",
        "verify after it s",
        "verify after loads s",
        "start ms",
        "idle MiB",
        "peak MiB",
    ]);
    for facts in &results.engines {
        let import = facts.import.as_ref();
        table.rows.push(vec![
            engine_title(&facts.engine).to_owned(),
            import.map_or_else(
                || "–".to_owned(),
                |import| format!("{} ({} rows)", import.file, import.rows),
            ),
            number(import.map(|import| import.seconds), 1),
            number(import.and_then(|import| import.peak_mib), 0),
            number(import.map(|import| import.verify_seconds), 1),
            number(facts.verify_seconds, 1),
            number(facts.start_ms, 0),
            number(facts.idle_mib, 1),
            number(facts.peak_mib, 1),
        ]);
    }
    table.render(form)
}

fn expiry(results: &Results, form: Form) -> String {
    let mut table = Table::new(&[
        "engine",
        "by",
        "lots",
        "members",
        "seconds",
        "lots per second",
        "reads",
        "wrong reads",
        "verify s",
    ]);
    for facts in &results.engines {
        let Some(expiry) = &facts.expiry else { continue };
        table.rows.push(vec![
            engine_title(&facts.engine).to_owned(),
            "huika".to_owned(),
            number(Some(expiry.lots as f64), 0),
            number(Some(expiry.members as f64), 0),
            number(Some(expiry.seconds), 1),
            number(Some(expiry.lots as f64 / expiry.seconds), 0),
            expiry.reads.to_string(),
            expiry.wrong_reads.to_string(),
            number(Some(expiry.verify_seconds), 1),
        ]);
    }
    table.render(form)
}

fn bounds(bounds: &[Bound], form: Form) -> String {
    let mut table = Table::new(&["demand", "", "limit", "measured"]);
    for bound in bounds {
        let passed = match bound.passed {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "not measured",
        };
        let sign = if bound.demand == Demand::AtLeast {
            "≥"
        } else {
            "≤"
        };
        table.rows.push(vec![
            bound.name.clone(),
            passed.to_owned(),
            format!("{sign} {} {}", bound.limit, bound.unit),
            bound
                .value
                .map_or_else(|| "–".to_owned(), |value| format!("{value:.2} {}", bound.unit)),
        ]);
    }
    table.render(form)
}

/// A number with thousands apart, or a dash.
fn number(value: Option<f64>, digits: usize) -> String {
    let Some(value) = value else {
        return "–".to_owned();
    };
    let text = format!("{value:.digits$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut out = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0
            && (whole.len() - at) % 3 == 0
            && digit.is_ascii_digit()
            && out.ends_with(|last: char| last.is_ascii_digit())
        {
            out.push(',');
        }
        out.push(digit);
    }
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(number(Some(1_234_567.891), 1), "1,234,567.9");
        assert_eq!(number(Some(999.4), 0), "999");
        assert_eq!(number(None, 1), "–");
    }

    #[test]
    fn a_run_is_rendered_in_both_forms() {
        let mut results = crate::results::tests::results(true);
        results.conclude();
        results.engines[0].expiry = Some(crate::expiry::Expiry {
            lots: 50_000,
            members: 10_000,
            seconds: 2.5,
            reads: 400,
            wrong_reads: 0,
            verify_seconds: 1.0,
        });
        let text = render(&results, Form::Text);
        assert!(text.contains("20,000"), "{text}");
        assert!(
            text.contains("2.00 × pgbench") && text.contains("not measured"),
            "{text}"
        );
        let markdown = render(&results, Form::Markdown);
        let widths: Vec<usize> = markdown
            .lines()
            .filter(|line| line.starts_with("| earn") || line.starts_with("| case"))
            .map(|line| line.chars().count())
            .collect();
        assert!(
            widths.len() > 3 && widths.iter().all(|width| *width == widths[0]),
            "{markdown}"
        );
        let invalid = render(
            &{
                let mut results = crate::results::tests::results(false);
                results.conclude();
                results
            },
            Form::Text,
        );
        assert!(invalid.contains("NOT VALID"), "{invalid}");
    }
}
