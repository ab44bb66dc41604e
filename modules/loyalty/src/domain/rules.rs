//! The rules of a programme, as an operator publishes them. Their form is that of the API and of the database.

use huika_core::{Bilingual, Calendar, Currency, Rate, Rounding, Timestamp};
use huika_ledger::NegativePolicy;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ActivityRule, CapPeriod, Caps, CheckInRule, ExpiryRule, Promotion, Qualification, Release, Thresholds,
    WHOLE_PROGRAM,
};
use crate::wire::{BilingualForm, NegativePolicyForm, RateForm, RoundingForm};

/// One version of a programme.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// The zone of the programme's business dates. It stays for good.
    #[schema(min_length = 1, max_length = 64, example = "Asia/Shanghai")]
    pub time_zone: String,
    /// The currency of purchases; others are refused. It stays for good.
    #[schema(value_type = String, min_length = 3, max_length = 3, example = "CNY")]
    pub currency: Currency,
    /// Points per minor unit: 1/100 is one point per yuan.
    #[schema(value_type = RateForm)]
    pub points_rate: Rate,
    /// Growth value per minor unit.
    #[serde(default = "one")]
    #[schema(value_type = RateForm)]
    pub growth_rate: Rate,
    /// How the part that a multiplier adds becomes whole.
    #[schema(value_type = RoundingForm)]
    pub bonus_rounding: Rounding,
    /// Days from the purchase until its points can be spent. A refund within them touches no spendable point.
    #[schema(maximum = 365, example = 7)]
    pub pending_days: u16,
    /// What else sets them free.
    #[serde(default)]
    pub release: Release,
    /// When points are lost.
    pub expiry: ExpiryRule,
    /// When a refund takes back more points than the member has.
    #[schema(value_type = NegativePolicyForm)]
    pub claw_back: NegativePolicy,
    /// Days that points live on which return from a refund after their date. 0: they lapse at once.
    #[schema(maximum = 365, example = 30)]
    pub grace_days: u16,
    /// From the lowest to the highest. The first asks for nothing.
    #[schema(min_items = 1, max_items = 20)]
    pub tiers: Vec<Tier>,
    /// How tiers are reached, kept and lost.
    #[serde(default)]
    pub qualification: Qualification,
    /// The tier that decides the multiplier of the order that lifts the member.
    #[serde(default)]
    pub lifting_order: LiftingOrder,
    /// Promotions on purchases, in the order in which they are applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 50)]
    pub promotions: Vec<Promotion>,
    /// What members earn by what they do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 50)]
    pub activities: Vec<ActivityRule>,
    /// The daily check-in. Absent: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check_in: Option<CheckInRule>,
    /// What one member earns of points altogether; grants by hand and returns do not count.
    #[serde(default)]
    pub caps: Caps,
    /// How birthdays are kept.
    #[serde(default)]
    pub birthday: BirthdayRule,
    /// Days between the publication of rules that are worse for members and the date from which they hold.
    #[serde(default = "notice_days")]
    #[schema(maximum = 365, example = 7)]
    pub notice_days: u16,
    /// How many days before points expire the member is told.
    #[serde(default = "reminder_days")]
    #[schema(max_items = 5, example = json!([30, 7, 1]))]
    pub reminder_days: Vec<u16>,
}

fn one() -> Rate {
    Rate::ONE
}

/// What a shop announces its rules by unless it says otherwise: the week that platforms use for public notice.
fn notice_days() -> u16 {
    7
}

fn reminder_days() -> Vec<u16> {
    vec![30, 7, 1]
}

/// A tier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// Stable.
    #[schema(
        min_length = 1,
        max_length = 32,
        pattern = "^[a-z0-9_]{1,32}$",
        example = "silver"
    )]
    pub code: String,
    /// What people call it.
    #[schema(value_type = BilingualForm)]
    pub name: Bilingual,
    /// What reaches it. Every tier but the first names the same metrics.
    #[serde(default)]
    pub thresholds: Thresholds,
    /// What keeps it. Absent: the same as reaches it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Thresholds>,
    /// What base points are multiplied by.
    #[schema(value_type = RateForm)]
    pub multiplier: Rate,
    /// What else it brings.
    #[serde(default)]
    pub benefits: Benefits,
}

/// Which tier counts for the order that lifts a member.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LiftingOrder {
    /// The one before.
    #[default]
    Before,
    /// The one that it reaches.
    After,
}

/// What a tier brings beside its multiplier (S1-62 to S1-65, S2-15 to S2-19).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Benefits {
    /// What a member pays of a price, in basis points: 9500 is 95 折, 10000 no discount.
    #[schema(minimum = 1, maximum = 10_000, example = 9_500)]
    pub price_bp: u16,
    /// What the member is given for the birthday.
    pub birthday: BirthdayBenefit,
    /// How the member is served.
    pub service: ServiceLevel,
    /// Hours that the member sees new goods before everybody else.
    #[schema(maximum = 8_760, example = 24)]
    pub early_access_hours: u16,
    /// Whether the member is invited to the shop's events.
    pub invitations: bool,
    /// The colour of the card, `#rrggbb`.
    #[schema(pattern = "^#[0-9a-f]{6}$", example = "#c9ccd1")]
    pub card_colour: String,
}

impl Default for Benefits {
    fn default() -> Self {
        Self {
            price_bp: 10_000,
            birthday: BirthdayBenefit::default(),
            service: ServiceLevel::default(),
            early_access_hours: 0,
            invitations: false,
            card_colour: "#8a5a3b".to_owned(),
        }
    }
}

/// How a member is served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServiceLevel {
    /// In turn.
    #[default]
    Standard,
    /// Before others.
    Priority,
    /// By an adviser of their own.
    Adviser,
}

/// What a tier gives for the birthday.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BirthdayBenefit {
    /// Points.
    #[schema(minimum = 0, maximum = 1_000_000, example = 100)]
    pub points: i64,
    /// A present that the member fetches in a store.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BilingualForm>)]
    pub present: Option<Bilingual>,
    /// The codes of coupon templates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 10)]
    pub coupons: Vec<String>,
}

impl BirthdayBenefit {
    /// Whether it gives nothing.
    pub fn is_empty(&self) -> bool {
        self.points == 0 && self.present.is_none() && self.coupons.is_empty()
    }
}

/// How birthdays are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BirthdayRule {
    /// The day on which those born on 29 February have it in other years.
    pub leap_day: LeapDay,
    /// Days from the birthday within which what is given can be used, and within which it is given late.
    #[schema(minimum = 1, maximum = 366, example = 30)]
    pub valid_days: u16,
}

impl Default for BirthdayRule {
    fn default() -> Self {
        Self {
            leap_day: LeapDay::February28,
            valid_days: 30,
        }
    }
}

/// Where 29 February falls in a year without one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeapDay {
    /// The day before.
    #[default]
    #[serde(rename = "february_28")]
    February28,
    /// The day after.
    #[serde(rename = "march_1")]
    March1,
}

impl Rules {
    /// The calendar of the programme.
    pub fn calendar(&self) -> Calendar {
        // Published rules were validated, zone included.
        Calendar::try_new(&self.time_zone).unwrap_or_else(|error| unreachable!("{error}"))
    }

    /// A tier by its code; absent where another version has it.
    pub fn tier(&self, code: &str) -> Option<&Tier> {
        self.tiers.iter().find(|tier| tier.code == code)
    }

    /// The place of a tier, 0 for the lowest.
    pub fn position(&self, code: &str) -> Option<usize> {
        self.tiers.iter().position(|tier| tier.code == code)
    }

    /// The limits that are counted under a code: of a promotion, of an activity or of the whole programme.
    pub fn limits_of(&self, code: &str) -> Box<dyn Iterator<Item = (CapPeriod, i64)> + '_> {
        if code == WHOLE_PROGRAM {
            return Box::new(self.caps.set());
        }
        let promotion = self.promotions.iter().find(|one| one.code == code);
        let activity = self.activities.iter().find(|one| one.code == code);
        Box::new(
            promotion
                .into_iter()
                .flat_map(Promotion::limits)
                .chain(activity.into_iter().flat_map(ActivityRule::limits)),
        )
    }

    /// When points of a purchase become available and when they expire.
    pub fn dates(&self, effective_at: Timestamp) -> (Option<Timestamp>, Option<Timestamp>) {
        let calendar = self.calendar();
        let earned_on = calendar.date_of(effective_at);
        let available =
            (self.pending_days > 0).then(|| calendar.start_of(earned_on.plus_days(self.pending_days.into())));
        let expires = self.expiry.last_date(earned_on).map(|date| calendar.end_of(date));
        (available, expires)
    }
}

/// What a shop starts with: ¥1 is one point, three tiers at ¥0, ¥1,000 and ¥5,000 of net spend with ×1, ×1.2 and
/// ×1.5, and 100, 95 and 88 折 (S1-62, S1-63, S1-67).
pub fn default_rules() -> Rules {
    let tier = |code: &str, zh: &str, en: &str, spend: Option<i64>, multiplier, benefits| Tier {
        code: code.to_owned(),
        name: Bilingual::new(zh, en),
        thresholds: spend.map_or_else(Thresholds::default, Thresholds::spend),
        retention: None,
        multiplier,
        benefits,
    };
    let rate = |numerator, denominator| Rate::try_new(numerator, denominator).unwrap_or(Rate::ONE);
    let birthday = |points| BirthdayBenefit {
        points,
        ..BirthdayBenefit::default()
    };
    let silver = Benefits {
        price_bp: 9_500,
        birthday: birthday(100),
        service: ServiceLevel::Priority,
        card_colour: "#c9ccd1".to_owned(),
        ..Benefits::default()
    };
    let gold = Benefits {
        price_bp: 8_800,
        birthday: birthday(300),
        service: ServiceLevel::Adviser,
        early_access_hours: 24,
        invitations: true,
        card_colour: "#d4af37".to_owned(),
    };
    Rules {
        time_zone: "Asia/Shanghai".to_owned(),
        currency: Currency::CNY,
        points_rate: rate(1, 100),
        growth_rate: Rate::ONE,
        bonus_rounding: Rounding::HalfUp,
        pending_days: 0,
        release: Release::Date,
        expiry: ExpiryRule::EndOfYearAfter { years: 1 },
        claw_back: NegativePolicy::GoNegative { limit: 100_000 },
        grace_days: 30,
        tiers: vec![
            tier(
                "bronze",
                "青铜会员",
                "Bronze",
                None,
                Rate::ONE,
                Benefits::default(),
            ),
            tier(
                "silver",
                "白银会员",
                "Silver",
                Some(100_000),
                rate(12, 10),
                silver,
            ),
            tier("gold", "黄金会员", "Gold", Some(500_000), rate(15, 10), gold),
        ],
        qualification: Qualification::default(),
        lifting_order: LiftingOrder::Before,
        promotions: Vec::new(),
        activities: Vec::new(),
        check_in: None,
        caps: Caps::default(),
        birthday: BirthdayRule::default(),
        notice_days: notice_days(),
        reminder_days: reminder_days(),
    }
}
