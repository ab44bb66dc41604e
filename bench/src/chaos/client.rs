//! One client: draws what to do, sends it until it is answered, and notes what the answer says.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    World,
    deeds::{self, Answered, Bought, Deed, Kind, OpenHold},
};
use crate::{
    chance::Chance,
    connection::Connection,
    wire::{Credentials, Request},
};

/// A server that was killed is back long before this.
const GIVE_UP_AFTER: Duration = Duration::from_secs(90);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(35);
const SHORTEST_PAUSE_MS: u64 = 20;
const LONGEST_PAUSE_MS: u64 = 100;
/// Things that a client remembers to go on with.
const REMEMBERED: usize = 50;

/// What a client did, and later all of them.
#[derive(Default)]
pub(super) struct Report {
    pub(super) answered: BTreeMap<&'static str, u64>,
    pub(super) refused: BTreeMap<String, u64>,
    pub(super) sent_again: u64,
    pub(super) journal: Vec<Answered>,
    pub(super) violations: Vec<String>,
}

impl Report {
    pub(super) fn violate(&mut self, violation: String) {
        self.violations.push(violation);
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (deed, count) in other.answered {
            *self.answered.entry(deed).or_default() += count;
        }
        for (code, count) in other.refused {
            *self.refused.entry(code).or_default() += count;
        }
        self.sent_again += other.sent_again;
        self.journal.extend(other.journal);
        self.violations.extend(other.violations);
    }

    fn count(&mut self, deed: &'static str) {
        *self.answered.entry(deed).or_default() += 1;
    }
}

/// A client with what it remembers.
pub(super) struct Client {
    world: Arc<World>,
    number: u64,
    sent: u64,
    chance: Chance,
    report: Report,
    holds: Vec<OpenHold>,
    bought: Vec<Bought>,
}

/// An answer, whenever it came.
struct Final {
    status: u16,
    body: Value,
    sent_again: u64,
}

impl Client {
    pub(super) fn new(world: Arc<World>, number: u64) -> Self {
        Self {
            chance: Chance::new(world.seed.wrapping_mul(1_000).wrapping_add(number)),
            world,
            number,
            sent: 0,
            report: Report::default(),
            holds: Vec::new(),
            bought: Vec::new(),
        }
    }

    /// Works until the time is over, then ends what is open.
    pub(super) async fn run(mut self) -> Report {
        let address = self.world.address;
        let (Ok(mut connection), Ok(mut second)) =
            (Connection::open(address).await, Connection::open(address).await)
        else {
            self.report
                .violate("a client cannot connect at the beginning".to_owned());
            return self.report;
        };
        while Instant::now() < self.world.until {
            match self.chance.below(100) {
                0..5 => self.replay(&mut connection).await,
                5..9 => self.conflict(&mut connection).await,
                9..15 => self.twins(&mut connection, &mut second).await,
                _ => {
                    let drawn = self.draw();
                    let answer = send(
                        &mut connection,
                        &self.world,
                        &drawn.deed.request,
                        &mut self.chance,
                    )
                    .await;
                    self.check_first(&drawn, answer.as_ref());
                    self.conclude(drawn, answer);
                }
            }
        }
        self.report
    }

    fn key(&mut self) -> String {
        self.sent += 1;
        format!("chaos-{}-{}", self.number, self.sent)
    }

    fn member(&mut self) -> usize {
        if self.chance.percent(self.world.hot_percent) {
            0
        } else {
            self.chance.index(self.world.members.len())
        }
    }

    /// Draws something to do that is possible.
    fn draw(&mut self) -> Drawn {
        let key = self.key();
        let drawn = self.chance.below(100);
        if (55..70).contains(&drawn) && !self.holds.is_empty() {
            let hold = self.holds.swap_remove(self.chance.index(self.holds.len()));
            let id = &self.world.members[hold.member];
            let deed = if self.chance.percent(60) {
                deeds::post_hold(&hold, id, &key, &mut self.chance)
            } else {
                deeds::void_hold(&hold, id, &key)
            };
            return Drawn {
                deed,
                next: Next::Nothing,
            };
        }
        if (70..80).contains(&drawn) && !self.bought.is_empty() {
            let bought = self.bought.swap_remove(self.chance.index(self.bought.len()));
            let deed = deeds::refund(&bought, &key, &mut self.chance);
            return Drawn {
                deed,
                next: Next::Refunded(bought),
            };
        }
        let member = self.member();
        let id = &self.world.members[member];
        match drawn {
            0..20 => Drawn {
                deed: deeds::redeem(member, id, &key, &mut self.chance),
                next: Next::Nothing,
            },
            20..40 => {
                let (deed, points) = deeds::hold(member, id, &key, &mut self.chance);
                Drawn {
                    deed,
                    next: Next::Held(points),
                }
            }
            40..70 => {
                let (deed, paid) = deeds::purchase(member, id, &key, &mut self.chance);
                Drawn {
                    deed,
                    next: Next::Bought(key, paid),
                }
            }
            _ => Drawn {
                deed: deeds::earn(member, id, &key, &mut self.chance),
                next: Next::Nothing,
            },
        }
    }

    /// A request that was sent once cannot have been answered before.
    fn check_first(&mut self, drawn: &Drawn, answer: Option<&Final>) {
        let Some(Final {
            sent_again: 0, body, ..
        }) = answer
        else {
            return;
        };
        if drawn.deed.kind.says_replayed(body) {
            self.report.violate(format!(
                "{} was sent once and is said to be replayed: {body}",
                drawn.deed.request.key
            ));
        }
    }

    /// Notes what came of a request that was sent for the first time.
    fn conclude(&mut self, drawn: Drawn, answer: Option<Final>) -> Option<Answered> {
        let Drawn { deed, next } = drawn;
        let Some(Final {
            status,
            body,
            sent_again,
        }) = answer
        else {
            self.report.violate(format!(
                "{} {} was never answered",
                deed.kind.name(),
                deed.request.key
            ));
            return None;
        };
        self.report.sent_again += sent_again;
        if !(200..300).contains(&status) {
            self.refused(&deed, status, &body);
            return None;
        }
        let (kind, member) = (deed.kind, deed.member);
        let answered = match deed.answered(&body) {
            Ok(answered) => answered,
            Err(violation) => {
                self.report.violate(violation);
                return None;
            }
        };
        match next {
            Next::Held(points) => match body["hold_id"].as_str() {
                Some(hold_id) => self.holds.push(OpenHold {
                    member,
                    hold_id: hold_id.to_owned(),
                    points,
                }),
                None => self.report.violate(format!("a hold has no id: {body}")),
            },
            Next::Bought(order_no, left_minor) => self.bought.push(Bought {
                member,
                order_no,
                left_minor,
            }),
            Next::Refunded(bought) => {
                let left_minor = body["left_minor"].as_u64().unwrap_or(0);
                if left_minor > 0 {
                    self.bought.push(Bought { left_minor, ..bought });
                }
            }
            Next::Nothing => {}
        }
        self.holds.truncate(REMEMBERED);
        self.bought.truncate(REMEMBERED);
        self.report.count(kind.name());
        self.report.journal.push(answered.clone());
        Some(answered)
    }

    /// Only asking for more than there is may be refused.
    fn refused(&mut self, deed: &Deed, status: u16, body: &Value) {
        let code = body["code"].as_str().unwrap_or("no code").to_owned();
        let rightly = code == "ledger.insufficient" && matches!(deed.kind, Kind::Redeem | Kind::Hold);
        if !rightly {
            self.report.violate(format!(
                "{} {}: {status} {body}",
                deed.kind.name(),
                deed.request.key
            ));
        }
        *self.report.refused.entry(code).or_default() += 1;
    }

    /// The same again must be answered the same.
    async fn replay(&mut self, connection: &mut Connection) {
        let Some(answered) = self.recall() else { return };
        let Some(answer) = send(connection, &self.world, &answered.request, &mut self.chance).await else {
            return self
                .report
                .violate(format!("a replay of {} was never answered", answered.request.key));
        };
        match answered.compare_replay(answer.status, &answer.body) {
            Ok(()) => self.report.count("replay"),
            Err(violation) => self.report.violate(violation),
        }
    }

    /// The same key with another body must be refused.
    async fn conflict(&mut self, connection: &mut Connection) {
        let Some(Answered {
            altered: Some(request),
            ..
        }) = self.recall()
        else {
            return;
        };
        let Some(answer) = send(connection, &self.world, &request, &mut self.chance).await else {
            return self
                .report
                .violate(format!("a conflict of {} was never answered", request.key));
        };
        let code = answer.body["code"].as_str().unwrap_or_default();
        if answer.status == 409 && code.ends_with("_conflict") {
            self.report.count("conflict");
        } else {
            let told = format!(
                "{} with another body: {} {}",
                request.key, answer.status, answer.body
            );
            self.report.violate(told);
        }
    }

    /// Two requests with one key at once: one takes effect, both get its answer.
    async fn twins(&mut self, connection: &mut Connection, second: &mut Connection) {
        let drawn = self.draw();
        let request = drawn.deed.request.clone();
        let mut chances = (self.chance.clone(), Chance::new(self.chance.next()));
        let (one, other) = tokio::join!(
            send(connection, &self.world, &request, &mut chances.0),
            send(second, &self.world, &request, &mut chances.1),
        );
        let kind = drawn.deed.kind;
        let first = |answer: &Option<Final>| {
            let answer = answer
                .as_ref()
                .filter(|answer| (200..300).contains(&answer.status));
            answer.is_some_and(|answer| !kind.says_replayed(&answer.body))
        };
        let both_first = first(&one) && first(&other);
        let Some(answered) = self.conclude(drawn, one) else {
            return;
        };
        let Some(other) = other else {
            return self
                .report
                .violate(format!("the twin of {} was never answered", request.key));
        };
        if both_first {
            self.report.violate(format!(
                "{} was sent twice at once and neither is said to be replayed",
                request.key
            ));
        }
        match answered.compare(other.status, &other.body) {
            Ok(()) => self.report.count("twin"),
            Err(violation) => self.report.violate(violation),
        }
    }

    fn recall(&mut self) -> Option<Answered> {
        let journal = &self.report.journal;
        if journal.is_empty() {
            return None;
        }
        let recent = journal.len().saturating_sub(2_000);
        Some(journal[recent + self.chance.index(journal.len() - recent)].clone())
    }
}

/// A deed and what follows from its success.
struct Drawn {
    deed: Deed,
    next: Next,
}

enum Next {
    Nothing,
    /// So many points are held.
    Held(u64),
    /// This order can be refunded up to that amount.
    Bought(String, u64),
    /// What is left of this purchase can be refunded too.
    Refunded(Bought),
}

/// Sends a request until somebody answers it. `None` when nobody does.
async fn send(
    connection: &mut Connection,
    world: &World,
    request: &Request,
    chance: &mut Chance,
) -> Option<Final> {
    let began = Instant::now();
    let mut sent_again = 0;
    while began.elapsed() < GIVE_UP_AFTER {
        if let Some((status, body)) = try_send(connection, request, &world.credentials).await {
            return Some(Final {
                status,
                body,
                sent_again,
            });
        }
        sent_again += 1;
        let pause = chance.between(SHORTEST_PAUSE_MS, LONGEST_PAUSE_MS);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    None
}

/// `None` where it is not known whether the request took effect, or where the server asks to come again.
async fn try_send(
    connection: &mut Connection,
    request: &Request,
    credentials: &Credentials,
) -> Option<(u16, Value)> {
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, connection.exchange(request, credentials))
        .await
        .ok()?
        .ok()?;
    (answer.status != 503).then(|| (answer.status, answer.json()))
}
