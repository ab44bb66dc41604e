//! What a client can do, and how its answer is read.

use serde_json::{Value, json};

use crate::{chance::Chance, wire::Request};

const SOURCE: &str = "chaos";
const HOLD_SECONDS: u64 = 86_400;
/// More than anybody has: meant to be refused.
const TOO_MUCH: u64 = 1_000_000_000_000;

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Earn,
    Redeem,
    Hold,
    PostHold,
    VoidHold,
    Purchase,
    Refund,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Earn => "earn",
            Self::Redeem => "redeem",
            Self::Hold => "hold",
            Self::PostHold => "post_hold",
            Self::VoidHold => "void_hold",
            Self::Purchase => "purchase",
            Self::Refund => "refund",
        }
    }

    /// Whether an answer says that it was given before.
    pub(super) fn says_replayed(self, answer: &Value) -> bool {
        let answer = if self == Self::Refund {
            &answer["receipt"]
        } else {
            answer
        };
        answer["replayed"] == true
    }

    fn posting_of(self, answer: &Value) -> Option<&str> {
        match self {
            Self::Purchase => answer["points"]["posting_id"].as_str(),
            Self::Refund => answer["receipt"]["points"]["posting_id"].as_str(),
            _ => answer["posting_id"].as_str(),
        }
    }
}

/// A request to come.
#[derive(Debug, Clone)]
pub(super) struct Deed {
    pub(super) kind: Kind,
    /// Whose points it moves, as an index.
    pub(super) member: usize,
    pub(super) request: Request,
    /// The same key with another body. Absent where there is no body.
    pub(super) altered: Option<Request>,
    /// Points that leave the member for good.
    spends: i64,
}

/// A request that was answered with success.
#[derive(Debug, Clone)]
pub(super) struct Answered {
    pub(super) kind: Kind,
    pub(super) member: usize,
    pub(super) request: Request,
    pub(super) altered: Option<Request>,
    pub(super) posting_id: String,
    /// What it did to everything that the member has: available, pending and held.
    pub(super) change: i64,
}

/// A hold that its client will end.
#[derive(Debug, Clone)]
pub(super) struct OpenHold {
    pub(super) member: usize,
    pub(super) hold_id: String,
    pub(super) points: u64,
}

/// A purchase that its client may refund.
#[derive(Debug, Clone)]
pub(super) struct Bought {
    pub(super) member: usize,
    pub(super) order_no: String,
    pub(super) left_minor: u64,
}

pub(super) fn earn(member: usize, id: &str, key: &str, chance: &mut Chance) -> Deed {
    let points = chance.between(1, 100);
    points_deed(
        Kind::Earn,
        member,
        format!("/api/open/v1/members/{id}/points/earnings"),
        key,
        points,
    )
}

pub(super) fn redeem(member: usize, id: &str, key: &str, chance: &mut Chance) -> Deed {
    let points = if chance.percent(2) {
        TOO_MUCH
    } else {
        chance.between(1, 50)
    };
    points_deed(
        Kind::Redeem,
        member,
        format!("/api/open/v1/members/{id}/points/redemptions"),
        key,
        points,
    )
}

pub(super) fn hold(member: usize, id: &str, key: &str, chance: &mut Chance) -> (Deed, u64) {
    let points = chance.between(1, 50);
    let body = |points| json!({ "points": points, "ttl_seconds": HOLD_SECONDS });
    let path = format!("/api/open/v1/members/{id}/points/holds");
    (
        Deed::new(
            Kind::Hold,
            member,
            path,
            key,
            Some([body(points), body(points + 1)]),
            0,
        ),
        points,
    )
}

pub(super) fn post_hold(hold: &OpenHold, id: &str, key: &str, chance: &mut Chance) -> Deed {
    let points = if chance.percent(50) {
        hold.points
    } else {
        chance.between(1, hold.points)
    };
    let path = format!("/api/open/v1/members/{id}/points/holds/{}/post", hold.hold_id);
    points_deed(Kind::PostHold, hold.member, path, key, points)
}

pub(super) fn void_hold(hold: &OpenHold, id: &str, key: &str) -> Deed {
    let path = format!("/api/open/v1/members/{id}/points/holds/{}/void", hold.hold_id);
    Deed::new(Kind::VoidHold, hold.member, path, key, None, 0)
}

pub(super) fn purchase(member: usize, id: &str, key: &str, chance: &mut Chance) -> (Deed, u64) {
    let (first, second) = (chance.between(500, 30_000), chance.between(500, 30_000));
    let body = |channel| {
        json!({
            "source": SOURCE,
            "external_order_no": key,
            "member": { "member_id": id },
            "channel": channel,
            "paid": { "minor": first + second, "currency": "CNY" },
            "lines": [
                { "sku": "A", "name": "Latte", "quantity": 1, "paid_minor": first },
                { "sku": "B", "name": "Beans", "quantity": 2, "paid_minor": second },
            ],
        })
    };
    let path = "/api/open/v1/purchases".to_owned();
    (
        Deed::new(
            Kind::Purchase,
            member,
            path,
            key,
            Some([body("pos"), body("shop")]),
            0,
        ),
        first + second,
    )
}

pub(super) fn refund(bought: &Bought, key: &str, chance: &mut Chance) -> Deed {
    let minor = if chance.percent(30) {
        bought.left_minor
    } else {
        chance.between(1, bought.left_minor)
    };
    let body = |minor| {
        json!({
            "source": SOURCE,
            "external_order_no": bought.order_no,
            "external_refund_no": key,
            "amount": { "minor": minor, "currency": "CNY" },
        })
    };
    Deed::new(
        Kind::Refund,
        bought.member,
        "/api/open/v1/refunds".to_owned(),
        key,
        Some([body(minor), body(minor + 1)]),
        0,
    )
}

fn points_deed(kind: Kind, member: usize, path: String, key: &str, points: u64) -> Deed {
    let body = |points| json!({ "points": points, "reason": "chaos" });
    let spends = if kind == Kind::Earn {
        -(points as i64)
    } else {
        points as i64
    };
    Deed::new(
        kind,
        member,
        path,
        key,
        Some([body(points), body(points + 1)]),
        spends,
    )
}

impl Deed {
    fn new(
        kind: Kind,
        member: usize,
        path: String,
        key: &str,
        bodies: Option<[Value; 2]>,
        spends: i64,
    ) -> Self {
        let request = Request::new("POST", path).key(key);
        let (request, altered) = match bodies {
            Some([body, other]) => (request.clone().json(&body), Some(request.json(&other))),
            None => (request, None),
        };
        Self {
            kind,
            member,
            request,
            altered,
            spends,
        }
    }

    /// What an answer of success says.
    ///
    /// # Errors
    /// When it does not say what it must.
    pub(super) fn answered(self, answer: &Value) -> Result<Answered, String> {
        let (posting_id, change) = self
            .read(answer)
            .ok_or_else(|| format!("an answer lacks its parts: {answer}"))?;
        let Self {
            kind,
            member,
            request,
            altered,
            ..
        } = self;
        Ok(Answered {
            kind,
            member,
            request,
            altered,
            posting_id,
            change,
        })
    }

    fn read(&self, answer: &Value) -> Option<(String, i64)> {
        let points = match self.kind {
            Kind::Purchase => &answer["points"],
            Kind::Refund => &answer["receipt"]["points"],
            _ => &Value::Null,
        };
        let change = match self.kind {
            Kind::Purchase | Kind::Refund => points["change"].as_i64()? + points["shortfall"].as_i64()?,
            _ => -self.spends,
        };
        Some((self.kind.posting_of(answer)?.to_owned(), change))
    }
}

impl Answered {
    /// Whether an answer to the same request is about the same posting.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn compare(&self, status: u16, answer: &Value) -> Result<(), String> {
        if !(200..300).contains(&status) {
            return Err(self.told("was answered and is now refused", status, answer));
        }
        if self.kind.posting_of(answer) != Some(&self.posting_id) {
            return Err(self.told(&format!("was posting {}", self.posting_id), status, answer));
        }
        Ok(())
    }

    /// Whether an answer to the same request is the first answer again, and says so.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn compare_replay(&self, status: u16, answer: &Value) -> Result<(), String> {
        self.compare(status, answer)?;
        if self.kind.says_replayed(answer) {
            return Ok(());
        }
        Err(self.told("does not say that it was replayed", status, answer))
    }

    fn told(&self, what: &str, status: u16, answer: &Value) -> String {
        format!(
            "{} {} {what}: {status} {answer}",
            self.kind.name(),
            self.request.key
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_and_compared() {
        let mut chance = Chance::new(1);
        let (deed, paid) = purchase(3, "mbr_1", "k-1", &mut chance);
        assert!((1_000..=60_000).contains(&paid));
        assert_ne!(deed.request.body, deed.altered.as_ref().unwrap().body);
        let points = json!({ "posting_id": "pst_1", "change": 12, "shortfall": 0 });
        let answered = deed
            .answered(&json!({ "replayed": false, "points": points }))
            .unwrap();
        assert_eq!((answered.member, answered.change), (3, 12));
        let again = |posting: &str, replayed| {
            answered.compare_replay(
                200,
                &json!({ "replayed": replayed, "points": { "posting_id": posting } }),
            )
        };
        assert!(again("pst_1", true).is_ok());
        assert!(again("pst_1", false).is_err() && again("pst_2", true).is_err());
        assert!(answered.compare(409, &Value::Null).is_err());
    }

    #[test]
    fn a_refund_takes_back_what_was_not_forgiven() {
        let bought = Bought {
            member: 1,
            order_no: "k-1".to_owned(),
            left_minor: 100,
        };
        let deed = refund(&bought, "k-2", &mut Chance::new(1));
        let points = json!({ "posting_id": "pst_1", "change": -12, "shortfall": 5 });
        assert_eq!(
            deed.answered(&json!({ "receipt": { "points": points } }))
                .map(|done| done.change),
            Ok(-7)
        );
    }

    #[test]
    fn spending_takes_and_earning_gives() {
        let mut chance = Chance::new(1);
        let posting = json!({ "posting_id": "pst_1" });
        assert!(
            earn(0, "mbr_1", "k", &mut chance)
                .answered(&posting)
                .unwrap()
                .change
                > 0
        );
        assert!(
            redeem(0, "mbr_1", "k", &mut chance)
                .answered(&posting)
                .unwrap()
                .change
                < 0
        );
        assert_eq!(
            hold(0, "mbr_1", "k", &mut chance)
                .0
                .answered(&posting)
                .unwrap()
                .change,
            0
        );
        assert!(earn(0, "mbr_1", "k", &mut chance).answered(&Value::Null).is_err());
    }
}
