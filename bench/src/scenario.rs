//! What the clients of a load do, request by request.

use std::{
    io::Write as _,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use huika_core::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{chance::Chance, wire::Request};

/// Commands of one bulk request.
const BULK_ITEMS: u64 = 500;
const MOST_POINTS: u64 = 20;

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    Earn,
    Redeem,
    Purchase,
    EarnBulk,
    PurchaseBulk,
    Read,
    /// Behaviour events in bulk.
    Events,
    /// Earning while behaviour events come in.
    EarnBesideEvents,
}

impl Action {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Earn => "earn",
            Self::Redeem => "redeem",
            Self::Purchase => "purchase",
            Self::EarnBulk => "earn in bulk",
            Self::PurchaseBulk => "purchase in bulk",
            Self::Read => "read balance",
            Self::Events => "behaviour events",
            Self::EarnBesideEvents => "earn beside events",
        }
    }

    /// What one request carries.
    pub(crate) fn items(self) -> u64 {
        match self {
            Self::EarnBulk | Self::PurchaseBulk | Self::Events => BULK_ITEMS,
            _ => 1,
        }
    }
}

/// An action on members that are drawn evenly.
pub(crate) struct Scenario {
    pub(crate) action: Action,
    pub(crate) members: Arc<Vec<String>>,
    /// Stands in every key and order number of this case, so that no other case has used it.
    pub(crate) label: String,
}

impl Scenario {
    /// Writes the next request of a client into `request`.
    pub(crate) fn fill(&self, request: &mut Request, chance: &mut Chance, client: usize, number: u64) {
        let label = &self.label;
        request.path.clear();
        request.key.clear();
        request.body.clear();
        request.method = if self.action == Action::Read {
            "GET"
        } else {
            "POST"
        };
        if self.action.items() == 1 && self.action != Action::Read {
            request.key.push_str(&format!("{label}-{client}-{number}"));
        }
        let body = &mut request.body;
        // Writing into a vector cannot fail.
        let _ = match self.action {
            Action::Earn | Action::Redeem | Action::EarnBesideEvents => {
                let place = if self.action == Action::Redeem {
                    "redemptions"
                } else {
                    "earnings"
                };
                request.path.push_str(&format!(
                    "/api/open/v1/members/{}/points/{place}",
                    self.member(chance)
                ));
                write!(
                    body,
                    r#"{{"points":{},"reason":"bench"}}"#,
                    chance.between(1, MOST_POINTS)
                )
            }
            Action::Purchase => {
                request.path.push_str("/api/open/v1/purchases");
                self.write_purchase(body, chance, &format!("{label}-{client}-{number}"))
            }
            Action::Read => {
                request
                    .path
                    .push_str(&format!("/api/open/v1/members/{}/points", self.member(chance)));
                Ok(())
            }
            Action::EarnBulk => {
                request.path.push_str("/api/open/v1/points/bulk");
                self.write_list(body, "commands", |body, item| {
                    write!(
                        body,
                        r#"{{"member_id":"{}","idempotency_key":"{label}-{client}-{number}-{item}","action":"earn","points":{},"reason":"bench"}}"#,
                        self.member(chance),
                        chance.between(1, MOST_POINTS)
                    )
                })
            }
            Action::Events => {
                request.path.push_str("/api/open/v1/events");
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let now = Timestamp::from_millis(now.as_millis() as i64);
                self.write_list(body, "events", |body, item| {
                    let name = ["page_view", "click", "dwell"][(item % 3) as usize];
                    write!(
                        body,
                        r#"{{"event_id":"{label}-{client}-{number}-{item}","name":"{name}","#
                    )?;
                    // Half of them by members.
                    if item.is_multiple_of(2) {
                        write!(body, r#""member":{{"member_id":"{}"}},"#, self.member(chance))?;
                    } else {
                        write!(body, r#""visitor_id":"device-{}","#, chance.between(1, 100_000))?;
                    }
                    write!(
                        body,
                        r#""occurred_at":"{now}","channel":"miniprogram","page":"/menu/{}","element":"buy","duration_ms":1200,"properties":{{"sku":"SKU-{}","position":{}}}}}"#,
                        item % 40,
                        item % 100,
                        item % 9
                    )
                })
            }
            Action::PurchaseBulk => {
                request.path.push_str("/api/open/v1/purchases/bulk");
                self.write_list(body, "purchases", |body, item| {
                    self.write_purchase(body, chance, &format!("{label}-{client}-{number}-{item}"))
                })
            }
        };
    }

    /// How many items of a bulk were refused. Single requests say so by their status.
    pub(crate) fn refused(&self, answer: &[u8]) -> u64 {
        if self.action.items() == 1 {
            return 0;
        }
        let answer: serde_json::Value = serde_json::from_slice(answer).unwrap_or_default();
        if self.action == Action::Events {
            return self
                .action
                .items()
                .saturating_sub(answer["accepted"].as_u64().unwrap_or(0));
        }
        let items = answer["items"].as_array();
        let taken = items.map_or(0, |items| {
            items.iter().filter(|item| item["problem"].is_null()).count()
        });
        self.action.items() - taken as u64
    }

    fn member(&self, chance: &mut Chance) -> &str {
        &self.members[chance.index(self.members.len())]
    }

    fn write_purchase(&self, body: &mut Vec<u8>, chance: &mut Chance, number: &str) -> std::io::Result<()> {
        let member = self.member(chance);
        let (first, second) = (chance.between(100, 20_000), chance.between(100, 20_000));
        let paid = first + second;
        write!(
            body,
            r#"{{"source":"bench","external_order_no":"{number}","member":{{"member_id":"{member}"}},"channel":"pos","paid":{{"minor":{paid},"currency":"CNY"}},"lines":[{{"sku":"SKU-{}","name":"White hanging heart","quantity":1,"paid_minor":{first}}},{{"sku":"SKU-{}","name":"Metal lantern","quantity":2,"paid_minor":{second}}}]}}"#,
            first % 1_000,
            second % 1_000,
        )
    }

    fn write_list(
        &self,
        body: &mut Vec<u8>,
        name: &str,
        mut item: impl FnMut(&mut Vec<u8>, u64) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        write!(body, r#"{{"{name}":["#)?;
        for number in 0..self.action.items() {
            if number > 0 {
                body.push(b',');
            }
            item(body, number)?;
        }
        body.extend_from_slice(b"]}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_json_with_a_key_of_its_own() {
        let members = Arc::new(vec!["mbr_1".to_owned(), "mbr_2".to_owned()]);
        for action in [
            Action::Earn,
            Action::Redeem,
            Action::Purchase,
            Action::EarnBulk,
            Action::PurchaseBulk,
            Action::Events,
            Action::EarnBesideEvents,
        ] {
            let scenario = Scenario {
                action,
                members: Arc::clone(&members),
                label: "t".to_owned(),
            };
            let mut request = Request::new("GET", "");
            let mut chance = Chance::new(1);
            let mut keys = std::collections::HashSet::new();
            for number in 0..3 {
                scenario.fill(&mut request, &mut chance, 7, number);
                let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
                match action {
                    Action::EarnBulk => assert_eq!(body["commands"].as_array().unwrap().len(), 500),
                    Action::Events => assert_eq!(body["events"].as_array().unwrap().len(), 500),
                    Action::PurchaseBulk => assert_eq!(body["purchases"].as_array().unwrap().len(), 500),
                    Action::Purchase => {
                        let lines = body["lines"].as_array().unwrap();
                        let sum: i64 = lines
                            .iter()
                            .map(|line| line["paid_minor"].as_i64().unwrap())
                            .sum();
                        assert_eq!(Some(sum), body["paid"]["minor"].as_i64());
                    }
                    _ => assert!(body["points"].as_i64().unwrap() > 0),
                }
                assert!(keys.insert(format!("{}{body}", request.key)));
            }
        }
    }

    #[test]
    fn refused_items_of_a_bulk_are_counted() {
        let scenario = Scenario {
            action: Action::EarnBulk,
            members: Arc::default(),
            label: String::new(),
        };
        assert_eq!(
            scenario.refused(br#"{"items":[{"outcome":{},"problem":null},{"outcome":null,"problem":{}}]}"#),
            499
        );
        assert_eq!(scenario.refused(b"no JSON"), 500);
    }
}
