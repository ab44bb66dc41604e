//! A café as chance makes it: who its members are, when they come and what they have. Pure; the same seed gives the
//! same shop.

use huika_core::{Actor, Currency, Rng, Timestamp};
use huika_ledger::InputHash;
use huika_members::{Code, MembersError, RegisterMember};
use huika_orders::{
    Document, Intake, LineDocument, MemberRef, OrderNo, OrdersError, PurchaseDocument, PurchaseKind,
};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
const HOUR_MS: u64 = 60 * 60 * 1_000;
/// Open from eight to ten at night in Shanghai, as hours of UTC.
const OPENS_AT_UTC_HOUR: u64 = 0;
const OPEN_HOURS: u64 = 14;
const MOST_PER_VISIT: u64 = 3;
const REFUND_PERCENT: u64 = 2;

/// Article, name, category, price in fen.
const MENU: [(&str, &str, &str, i64); 12] = [
    ("ESP", "意式浓缩", "咖啡", 1_800),
    ("AME", "美式咖啡", "咖啡", 2_200),
    ("LAT", "拿铁", "咖啡", 2_800),
    ("CAP", "卡布奇诺", "咖啡", 2_800),
    ("FLW", "澳白", "咖啡", 3_000),
    ("MOC", "摩卡", "咖啡", 3_200),
    ("TEA", "茉莉花茶", "茶饮", 2_000),
    ("MAT", "抹茶拿铁", "茶饮", 3_000),
    ("CRO", "可颂", "烘焙", 1_600),
    ("BAG", "贝果", "烘焙", 1_900),
    ("CHE", "巴斯克蛋糕", "烘焙", 3_600),
    ("BEA", "咖啡豆 250 克", "零售", 8_800),
];
const FAMILY_NAMES: [&str; 12] = [
    "王", "李", "张", "刘", "陈", "杨", "赵", "黄", "周", "吴", "徐", "孙",
];
const GIVEN_NAMES: [&str; 12] = [
    "小明", "子涵", "雨桐", "浩然", "思琪", "佳怡", "宇轩", "欣悦", "梓萱", "俊杰", "晓雯", "志远",
];
const STORES: [&str; 3] = ["SH-001", "SH-002", "HZ-001"];

/// A member who joins on a day.
pub(super) struct Joining {
    /// Days after the shop's first.
    pub(super) day: i64,
    /// What the member says about themselves.
    pub(super) command: RegisterMember,
}

/// A visit of a member.
pub(super) struct Visit {
    /// Which member, by position in [`Shop::members`].
    pub(super) member: usize,
    /// Days after the shop's first.
    pub(super) day: i64,
    /// Whether something goes back afterwards.
    pub(super) refunded: bool,
    /// What the till reports.
    pub(super) purchase: PurchaseDocument,
}

/// A year of a café.
pub(super) struct Shop {
    /// By the day on which they join.
    pub(super) members: Vec<Joining>,
    /// By time.
    pub(super) visits: Vec<Visit>,
}

impl Shop {
    /// Draws a shop between two moments.
    pub(super) fn draw(seed: u64, members: u32, opened_at: Timestamp, now: Timestamp) -> Self {
        let rng = Rng::seeded(seed);
        let days = now.millis_since(opened_at) / DAY_MS;
        let mut joining: Vec<Joining> = (0..members)
            .filter_map(|number| {
                Some(Joining {
                    day: joins_on(&rng, days),
                    command: person(&rng, number).ok()?,
                })
            })
            .collect();
        joining.sort_by_key(|joining| joining.day);
        let mut visits: Vec<Visit> = Vec::new();
        for (member, joined) in joining.iter().enumerate() {
            let left = days - joined.day;
            for _ in 0..visits_of(&rng) * left.unsigned_abs() / days.unsigned_abs().max(1) + 1 {
                let day = joined.day + rng.below(left.unsigned_abs().max(1)) as i64;
                visits.extend(visit(&rng, member, day, opened_at).ok());
            }
        }
        visits.sort_by_key(|visit| visit.purchase.placed_at);
        for (number, visit) in visits.iter_mut().enumerate() {
            // Digits, and few enough of them.
            if let Ok(external_no) = format!("D{:07}", number + 1).parse::<OrderNo>() {
                visit.purchase.external_no = external_no;
            }
        }
        Self {
            members: joining,
            visits,
        }
    }
}

/// Most are there from the beginning, the others join over the year.
fn joins_on(rng: &Rng, days: i64) -> i64 {
    if rng.below(100) < 55 {
        rng.below(14) as i64
    } else {
        rng.below(days.unsigned_abs().max(1)) as i64
    }
}

/// A few come all the time, most now and then.
fn visits_of(rng: &Rng) -> u64 {
    match rng.below(100) {
        0..50 => 2 + rng.below(9),
        50..85 => 10 + rng.below(30),
        _ => 40 + rng.below(50),
    }
}

fn person(rng: &Rng, number: u32) -> Result<RegisterMember, MembersError> {
    let name = format!("{}{}", pick(rng, &FAMILY_NAMES), pick(rng, &GIVEN_NAMES));
    let in_store = rng.below(3) > 0;
    Ok(RegisterMember {
        phone: Some(format!("199000{number:05}").parse()?),
        external: None,
        nickname: Some(name.parse()?),
        channel: if in_store { "pos" } else { "mini_program" }.parse()?,
        store_code: if in_store {
            Some(pick(rng, &STORES).parse()?)
        } else {
            None
        },
    })
}

fn visit(rng: &Rng, member: usize, day: i64, opened_at: Timestamp) -> Result<Visit, OrdersError> {
    let lines: Vec<LineDocument> = (0..=rng.below(MOST_PER_VISIT))
        .map(|_| {
            let (sku, name, category, price) = MENU[rng.below(MENU.len() as u64) as usize];
            let quantity = 1 + (rng.below(10) / 9) as i64;
            LineDocument {
                sku: sku.into(),
                name: name.into(),
                category: Some(category.into()),
                quantity,
                amount_minor: price * quantity,
            }
        })
        .collect();
    let midnight = opened_at.as_millis() / DAY_MS * DAY_MS + day * DAY_MS;
    let of_day = OPENS_AT_UTC_HOUR * HOUR_MS + rng.below(OPEN_HOURS * HOUR_MS);
    // On the first day the shop opens in the middle of it.
    let placed_at = Timestamp::from_millis(midnight + of_day as i64).max(opened_at);
    let purchase = PurchaseDocument {
        source: "demo".parse::<Code>()?,
        external_no: "D".parse()?,
        kind: PurchaseKind::Sale,
        channel: "pos".parse::<Code>()?,
        store_code: Some(pick(rng, &STORES).parse::<Code>()?),
        payment_method: Some(pick(rng, &["wechat_pay", "wechat_pay", "alipay", "cash"]).parse::<Code>()?),
        placed_at,
        currency: Currency::CNY,
        paid_minor: lines.iter().map(|line| line.amount_minor).sum(),
        lines,
    };
    Ok(Visit {
        member,
        day,
        refunded: rng.below(100) < REFUND_PERCENT,
        purchase,
    })
}

impl Visit {
    /// The purchase on its way in.
    pub(super) fn intake(&self, member: MemberRef) -> Intake {
        let input = InputHash::of(&(self.purchase.external_no.as_str(), self.purchase.paid_minor));
        let document = Document::Purchase(self.purchase.clone());
        Intake {
            document,
            member,
            key: None,
            input,
            actor: Actor::system("demo"),
        }
    }
}

fn pick<'a>(rng: &Rng, texts: &[&'a str]) -> &'a str {
    texts[rng.below(texts.len() as u64) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_shop_within_its_year() {
        let now: Timestamp = "2026-11-21T02:00:00Z".parse().unwrap();
        let opened_at = now.plus_millis(-365 * DAY_MS);
        let shop = |seed| Shop::draw(seed, 40, opened_at, now);
        let (one, same, other) = (shop(7), shop(7), shop(8));
        let documents = |shop: &Shop| {
            shop.visits
                .iter()
                .map(|visit| visit.purchase.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(documents(&one), documents(&same));
        assert_ne!(documents(&one), documents(&other));
        assert_eq!(one.members.len(), 40);
        assert!(one.visits.len() > 200, "{} visits", one.visits.len());
        for visit in &one.visits {
            assert!((opened_at..=now.plus_millis(DAY_MS)).contains(&visit.purchase.placed_at));
            assert!(one.members[visit.member].day <= visit.day);
        }
    }
}
