//! What a command says: words on the terminal, or one JSON object for programs.
//!
//! Results go to standard output, everything else to standard error. With `--json` exactly one object is printed and
//! no progress.

use std::{
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
    sync::Mutex,
    time::Duration,
};

use huika_core::{Bilingual, Clock, Language, Stopwatch};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::json;

use crate::error::Failure;

/// How often progress is told where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// Where a command speaks to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub(crate) json: bool,
    pub(crate) language: Language,
}

impl Output {
    /// The result: its words on a terminal, its fields with `--json`.
    pub(crate) fn result(self, fields: &impl Serialize, words: &Bilingual) {
        if self.json {
            print(&serde_json::to_string(fields).unwrap_or_default());
        } else {
            print(words.in_language(self.language));
        }
    }

    /// Something that the person at the machine should know. Programs are not told.
    pub(crate) fn say(self, words: &Bilingual) {
        if !self.json {
            print_aside(words.in_language(self.language));
        }
    }

    /// Why the command ends early.
    pub(crate) fn failure(self, failure: &Failure) {
        if self.json {
            let Failure { code, en, zh } = failure;
            print(&json!({ "error": { "code": code, "en": en, "zh": zh } }).to_string());
        } else {
            print_aside(&failure_line(failure, self.language));
        }
    }

    /// The end of a command that has told its result before, as a server does when it listens. Why it failed goes to
    /// standard error then, also with `--json`: the one object is printed.
    pub(crate) fn ended(self, ended: Result<(), Failure>) -> ExitCode {
        match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                print_aside(&failure_line(&failure, self.language));
                ExitCode::FAILURE
            }
        }
    }

    /// Starts to tell how far something is. `total` is absent where it is not known.
    pub(crate) fn progress(self, clock: &Clock, label: Bilingual, total: Option<u64>) -> Progress {
        let label = label.in_language(self.language).to_owned();
        let form = if self.json {
            Form::Silent
        } else if std::io::stderr().is_terminal() {
            let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
            let template = match total {
                Some(_) => "{msg} {bar:40} {human_pos}/{human_len} ({per_sec}, {eta})",
                None => "{msg} {spinner} {human_pos} ({per_sec})",
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.set_message(label.clone());
            Form::Bar(bar)
        } else {
            Form::Lines(Mutex::new((clock.stopwatch(), 0)))
        };
        Progress {
            label,
            total,
            clock: clock.clone(),
            started: clock.stopwatch(),
            form,
        }
    }
}

fn failure_line(failure: &Failure, language: Language) -> String {
    format!("huika: {} ({})", failure.in_language(language), failure.code)
}

/// How far something is.
pub(crate) struct Progress {
    label: String,
    total: Option<u64>,
    clock: Clock,
    started: Stopwatch,
    form: Form,
}

enum Form {
    Silent,
    Bar(ProgressBar),
    /// Since the last line, and what it said.
    Lines(Mutex<(Stopwatch, u64)>),
}

impl Progress {
    /// Tells the position.
    pub(crate) fn at(&self, position: u64) {
        match &self.form {
            Form::Silent => {}
            Form::Bar(bar) => bar.set_position(position),
            Form::Lines(last) => {
                let mut last = last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if last.0.elapsed() >= LINE_EVERY && last.1 != position {
                    let of = self.total.map_or_else(String::new, |total| format!(" / {total}"));
                    let seconds = self.started.elapsed().as_secs();
                    print_aside(&format!("{}: {position}{of} ({seconds} s)", self.label));
                    *last = (self.clock.stopwatch(), position);
                }
            }
        }
    }

    /// Ends it and takes the bar away.
    pub(crate) fn finish(self) {}
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Form::Bar(bar) = &self.form {
            bar.finish_and_clear();
        }
    }
}

/// A line on standard output. Whoever closed it does not want the rest.
pub(crate) fn print(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// A line on standard error.
pub(crate) fn print_aside(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
