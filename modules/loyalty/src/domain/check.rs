//! Refusing rules that contradict themselves, with what to change.

use huika_core::{Bilingual, BusinessDate, Calendar, Rate, Timestamp};
use huika_ledger::NegativePolicy;

use super::{
    ActivityRule, CapPeriod, Caps, CheckInRule, Effect, ExpiryRule, Metric, Period, Promotion, Release,
    Rules, StreakRestart, Thresholds, Tier, Validity, WHOLE_PROGRAM, expiry::day_of_year,
};
use crate::LoyaltyError;

const MAX_TIERS: usize = 20;
const MAX_RULES: usize = 50;
const MAX_DAYS: u16 = 365;
const MAX_MONTHS: u32 = 240;
const MAX_RATE_PART: u32 = 1_000_000;
const MAX_MULTIPLIER: u32 = 100;
const MAX_POINTS: i64 = 1_000_000;
/// The highest threshold and cap: sums of it stay within 64 bits.
const MAX_SUM: i64 = 1_000_000_000_000_000;

type Checked = Result<(), LoyaltyError>;

fn refuse(en: impl Into<String>, zh: impl Into<String>) -> Checked {
    Err(LoyaltyError::RulesInvalid {
        en: en.into(),
        zh: zh.into(),
    })
}

impl Rules {
    /// Checks what a form cannot: tiers without gaps and falling thresholds, limits, what excludes each other.
    ///
    /// # Errors
    /// [`LoyaltyError::RulesInvalid`] that says what to change.
    pub fn validate(&self) -> Result<(), LoyaltyError> {
        if let Err(error) = Calendar::try_new(&self.time_zone) {
            return refuse(
                error.to_string(),
                format!("时区 {} 无效，例如 Asia/Shanghai。", self.time_zone),
            );
        }
        self.check_base()?;
        self.check_tiers()?;
        self.check_qualification()?;
        if self.promotions.len() > MAX_RULES || self.activities.len() > MAX_RULES {
            return refuse(
                format!("a programme has at most {MAX_RULES} promotions and {MAX_RULES} activities."),
                format!("活动与行为规则各最多 {MAX_RULES} 条。"),
            );
        }
        let mut codes: Vec<&str> = Vec::new();
        let named = self.promotions.iter().map(|one| (&one.code, &one.name));
        for (code, name) in named.chain(self.activities.iter().map(|one| (&one.code, &one.name))) {
            check_code(code)?;
            check_name(code, name)?;
            if codes.contains(&code.as_str()) || code == WHOLE_PROGRAM {
                return refuse(
                    format!("the code {code} occurs twice."),
                    format!("代码 {code} 重复。"),
                );
            }
            codes.push(code);
        }
        self.promotions
            .iter()
            .try_for_each(|promotion| self.check_promotion(promotion))?;
        self.activities
            .iter()
            .try_for_each(|activity| self.check_activity(activity))?;
        self.check_in.as_ref().map_or(Ok(()), check_check_in)?;
        check_caps("the programme", "方案", &self.caps)
    }

    /// Refuses rules that can be written down but that nothing carries out yet: points that wait for a confirmation
    /// nobody can give would never be spent.
    ///
    /// # Errors
    /// [`LoyaltyError::RulesInvalid`] that says what to leave out.
    pub fn require_supported(&self) -> Result<(), LoyaltyError> {
        let unsupported = [
            (
                self.release != Release::Date,
                "release by confirmation",
                "确认收货后可用",
            ),
            (
                matches!(self.expiry, ExpiryRule::MonthsAfterActivity { .. }),
                "expiry after activity",
                "按最近活动计算有效期",
            ),
            (!self.activities.is_empty(), "activities", "行为奖励"),
            (self.check_in.is_some(), "the check-in", "签到"),
        ];
        match unsupported.into_iter().find(|(asked, ..)| *asked) {
            Some((_, en, zh)) => refuse(
                format!("{en} cannot be published yet: leave it out."),
                format!("暂不支持{zh}，请先去掉该规则。"),
            ),
            None => Ok(()),
        }
    }

    fn check_base(&self) -> Checked {
        if self.pending_days > MAX_DAYS || self.grace_days > MAX_DAYS || self.notice_days > MAX_DAYS {
            return refuse(
                format!("pending, grace and notice days are at most {MAX_DAYS}."),
                format!("待生效、宽限与公示天数最多 {MAX_DAYS} 天。"),
            );
        }
        if !(1..=366).contains(&self.birthday.valid_days) {
            return refuse(
                "what is given for a birthday is valid for 1 to 366 days.",
                "生日权益有效天数应为 1 到 366 天。",
            );
        }
        if self.reminder_days.len() > 5 || self.reminder_days.iter().any(|days| !(1..=365).contains(days)) {
            return refuse(
                "members are reminded at most five times, 1 to 365 days before points expire.",
                "到期提醒最多 5 次，每次提前 1 到 365 天。",
            );
        }
        if self.expiry.most_months() > MAX_MONTHS {
            return refuse(
                "points expire within 20 years or never.",
                "积分有效期最长 20 年，或设为永不过期。",
            );
        }
        if let ExpiryRule::FixedDay { month, day, .. } = self.expiry
            && (day_of_year(2028, month, 1).is_none()
                || !(1..=31).contains(&day)
                || day_of_year(2028, month, day).is_none_or(|date| date.day() != day))
        {
            return refuse(
                "the day on which points expire does not exist.",
                "积分到期日不存在。",
            );
        }
        if !self.points_open_before_they_expire() {
            return refuse(
                "points would expire before they can be spent: shorten the pending days or lengthen the expiry.",
                "积分在可用之前就会过期：请缩短待生效天数或延长有效期。",
            );
        }
        check_rate("the points rate", "积分比例", self.points_rate)?;
        check_rate("the growth rate", "成长值比例", self.growth_rate)?;
        match self.claw_back {
            NegativePolicy::GoNegative { limit } if !(0..=MAX_SUM).contains(&limit) => refuse(
                "the limit below zero lies between 0 and 10^15.",
                "负积分下限应在 0 到 10^15 之间。",
            ),
            _ => Ok(()),
        }
    }

    fn check_tiers(&self) -> Checked {
        let Some(first) = self.tiers.first().filter(|_| self.tiers.len() <= MAX_TIERS) else {
            return refuse(
                format!("a programme has 1 to {MAX_TIERS} tiers."),
                format!("等级数量应为 1 到 {MAX_TIERS} 个。"),
            );
        };
        if first.thresholds.named().any(|(_, least)| least != 0) || first.retention.is_some() {
            return refuse(
                "the first tier asks for nothing: everybody is in it.",
                "第一个等级不设门槛：所有会员都在其中。",
            );
        }
        for (at, tier) in self.tiers.iter().enumerate() {
            check_tier(tier)?;
            let before = &self.tiers[..at];
            if before.iter().any(|other| other.code == tier.code) {
                return refuse(
                    format!("the code {} occurs twice.", tier.code),
                    format!("等级代码 {} 重复。", tier.code),
                );
            }
            if at > 0 {
                check_step(at, &self.tiers[at - 1], tier)?;
            }
        }
        Ok(())
    }

    fn check_qualification(&self) -> Checked {
        let qualification = &self.qualification;
        let months = match (qualification.period, qualification.validity) {
            (Period::RollingMonths { months }, _) | (_, Validity::Months { months }) => Some(months),
            _ => None,
        };
        if months.is_some_and(|months| !(1..=120).contains(&months)) {
            return refuse("a period has 1 to 120 months.", "周期应为 1 到 120 个月。");
        }
        if matches!(qualification.validity, Validity::PeriodEnd { .. })
            && matches!(
                qualification.period,
                Period::Lifetime | Period::RollingMonths { .. }
            )
        {
            return refuse(
                "a tier cannot hold until the end of a period that has none: let it hold for months, or take the \
                 calendar year or the year of membership as the period.",
                "终身累计与滚动周期没有结束日：请改用按月有效，或改用自然年、会员年周期。",
            );
        }
        if qualification.grace_days > MAX_DAYS {
            return refuse(
                format!("the days of grace are at most {MAX_DAYS}."),
                format!("保级宽限最多 {MAX_DAYS} 天。"),
            );
        }
        Ok(())
    }

    fn check_promotion(&self, promotion: &Promotion) -> Checked {
        let code = &promotion.code;
        match promotion.effect {
            Effect::BaseRate { points_rate } => {
                check_rate(
                    &format!("the rate of {code}"),
                    &format!("{code} 的积分比例"),
                    points_rate,
                )?;
            }
            Effect::Multiply { multiplier } | Effect::AtLeast { multiplier } => {
                check_multiplier(code, multiplier)?
            }
            Effect::Add { points } if !(1..=MAX_POINTS).contains(&points) => {
                return refuse(
                    format!("{code} adds 1 to {MAX_POINTS} points."),
                    format!("{code} 加赠积分应为 1 到 {MAX_POINTS}。"),
                );
            }
            Effect::Add { .. } => {}
        }
        if matches!(promotion.effect, Effect::BaseRate { .. }) && promotion.limits().next().is_some() {
            return refuse(
                format!("{code} is a base rate and has no caps and no budget: cap the programme instead."),
                format!("{code} 为基础比例，不设上限与预算：请设置方案总上限。"),
            );
        }
        let when = &promotion.when;
        self.check_time_and_tiers(code, when.from, when.until, &when.tiers)?;
        if when.weekdays.iter().any(|day| !(1..=7).contains(day))
            || when.days_of_month.iter().any(|day| !(1..=31).contains(day))
        {
            return refuse(
                format!(
                    "{code} names a day that does not exist: weekdays are 1 to 7, days of a month 1 to 31."
                ),
                format!("{code} 的日期无效：星期为 1 到 7，日为 1 到 31。"),
            );
        }
        if when
            .least_paid_minor
            .is_some_and(|least| !(0..=MAX_SUM).contains(&least))
        {
            return refuse(
                format!("the least amount of {code} is not possible."),
                format!("{code} 的最低实付金额无效。"),
            );
        }
        let lists = [&when.categories, &when.channels, &when.stores];
        if lists
            .iter()
            .any(|list| list.len() > 200 || list.iter().any(|text| text.is_empty() || text.len() > 192))
        {
            return refuse(
                format!("{code} lists at most 200 short codes each."),
                format!("{code} 的品类、渠道、门店各最多 200 项。"),
            );
        }
        check_limits(code, promotion.limits())
    }

    fn check_activity(&self, activity: &ActivityRule) -> Checked {
        let code = &activity.code;
        if !(0..=MAX_POINTS).contains(&activity.points)
            || !(0..=MAX_POINTS * 1_000).contains(&activity.growth)
            || activity.points + activity.growth == 0
        {
            return refuse(
                format!("{code} earns 1 to {MAX_POINTS} points, growth or both."),
                format!("{code} 应奖励 1 到 {MAX_POINTS} 积分或成长值。"),
            );
        }
        if let super::ActivityKind::Event { name } = &activity.on {
            check_code(name)?;
        }
        self.check_time_and_tiers(code, activity.from, activity.until, &activity.tiers)?;
        check_limits(code, activity.limits())
    }

    fn check_time_and_tiers(
        &self,
        code: &str,
        from: Option<Timestamp>,
        until: Option<Timestamp>,
        tiers: &[String],
    ) -> Checked {
        if from.zip(until).is_some_and(|(from, until)| until <= from) {
            return refuse(
                format!("{code} ends before it begins."),
                format!("{code} 的结束时间早于开始时间。"),
            );
        }
        if let Some(unknown) = tiers.iter().find(|tier| self.tier(tier).is_none()) {
            return refuse(
                format!("{code} is for the tier {unknown}, which these rules do not have."),
                format!("{code} 指定的等级 {unknown} 不存在。"),
            );
        }
        Ok(())
    }

    /// Whether points can be spent on at least their last date, whatever day they are earned on.
    fn points_open_before_they_expire(&self) -> bool {
        // Four years hold every kind of day: ends of months and years, and 29 February.
        const DAYS: i32 = 4 * 366;
        let Ok(first) = BusinessDate::try_new(2028, 1, 1) else {
            return false;
        };
        (0..DAYS).map(|day| first.plus_days(day)).all(|earned_on| {
            let opens_on = earned_on.plus_days(self.pending_days.into());
            self.expiry
                .last_date(earned_on)
                .is_none_or(|last| opens_on <= last)
        })
    }
}

fn check_code(code: &str) -> Checked {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if (1..=32).contains(&code.len()) && code.bytes().all(known) {
        return Ok(());
    }
    refuse(
        format!("the code {code:?} has 1 to 32 lower-case letters, digits and underscores."),
        format!("代码 {code:?} 应为 1 到 32 位小写字母、数字或下划线。"),
    )
}

fn check_name(code: &str, name: &Bilingual) -> Checked {
    if !name.zh.is_empty() && !name.en.is_empty() && name.zh.len().max(name.en.len()) <= 90 {
        return Ok(());
    }
    refuse(
        format!("{code} needs a short name in both languages."),
        format!("{code} 需要简短的中英文名称。"),
    )
}

fn check_rate(en: &str, zh: &str, rate: Rate) -> Checked {
    if rate.numerator() <= MAX_RATE_PART && rate.denominator() <= MAX_RATE_PART {
        return Ok(());
    }
    refuse(
        format!("{en} is too high or too fine: both parts are at most {MAX_RATE_PART}."),
        format!("{zh}过高或过细：分子与分母最大 {MAX_RATE_PART}。"),
    )
}

fn check_multiplier(code: &str, multiplier: Rate) -> Checked {
    check_rate(
        &format!("the multiplier of {code}"),
        &format!("{code} 的倍数"),
        multiplier,
    )?;
    if multiplier.numerator() < multiplier.denominator()
        || multiplier.numerator() / multiplier.denominator() > MAX_MULTIPLIER
    {
        return refuse(
            format!("the multiplier of {code} lies between 1 and {MAX_MULTIPLIER}."),
            format!("{code} 的积分倍数应在 1 到 {MAX_MULTIPLIER} 之间。"),
        );
    }
    Ok(())
}

fn check_caps(en: &str, zh: &str, caps: &Caps) -> Checked {
    let set: Vec<i64> = caps.set().map(|(_, cap)| cap).collect();
    if set.iter().any(|cap| !(1..=MAX_SUM).contains(cap)) {
        return refuse(
            format!("a cap of {en} is at least 1 point."),
            format!("{zh}的积分上限至少为 1。"),
        );
    }
    let rising = [caps.per_day, caps.per_week, caps.per_month];
    let mut set = rising.into_iter().flatten();
    let mut before = set.next();
    for cap in set {
        if before.is_some_and(|before| before > cap) {
            return refuse(
                format!("a longer cap of {en} lies below a shorter one and would never be less strict."),
                format!("{zh}的长周期上限低于短周期上限。"),
            );
        }
        before = Some(cap);
    }
    Ok(())
}

fn check_limits(code: &str, limits: impl Iterator<Item = (CapPeriod, i64)>) -> Checked {
    let mut caps = Caps::default();
    for (period, cap) in limits {
        match period {
            CapPeriod::Day => caps.per_day = Some(cap),
            CapPeriod::Week => caps.per_week = Some(cap),
            CapPeriod::Month => caps.per_month = Some(cap),
            CapPeriod::Budget if !(1..=MAX_SUM).contains(&cap) => {
                return refuse(
                    format!("the budget of {code} is at least 1 point."),
                    format!("{code} 的预算至少为 1 积分。"),
                );
            }
            CapPeriod::Budget => {}
        }
    }
    check_caps(code, code, &caps)
}

fn check_tier(tier: &Tier) -> Checked {
    check_code(&tier.code)?;
    check_name(&tier.code, &tier.name)?;
    check_multiplier(&tier.code, tier.multiplier)?;
    let code = &tier.code;
    let benefits = &tier.benefits;
    if !(1..=10_000).contains(&benefits.price_bp) {
        return refuse(
            format!("the price of {code} lies between 1 and 10000 basis points: 9500 is 95 折."),
            format!("{code} 的折扣应在 1 到 10000 基点之间：9500 即 95 折。"),
        );
    }
    let colour = benefits.card_colour.strip_prefix('#').unwrap_or_default();
    if colour.len() != 6
        || !colour
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    {
        return refuse(
            format!("the card colour of {code} is written like #d4af37."),
            format!("{code} 的卡面颜色格式应如 #d4af37。"),
        );
    }
    let birthday = &benefits.birthday;
    if !(0..=MAX_POINTS).contains(&birthday.points)
        || birthday.coupons.len() > 10
        || birthday
            .coupons
            .iter()
            .any(|coupon| coupon.is_empty() || coupon.len() > 64)
    {
        return refuse(
            format!("the birthday of {code} brings at most {MAX_POINTS} points and ten coupons."),
            format!("{code} 的生日权益最多 {MAX_POINTS} 积分与 10 张优惠券。"),
        );
    }
    if let Some(present) = &birthday.present {
        check_name(code, present)?;
    }
    Ok(())
}

/// Compares a tier with the one below it.
fn check_step(at: usize, below: &Tier, tier: &Tier) -> Checked {
    let code = &tier.code;
    let metrics = |thresholds: &Thresholds| {
        thresholds
            .named()
            .map(|(metric, _)| metric)
            .collect::<Vec<Metric>>()
    };
    let named = metrics(&tier.thresholds);
    if named.is_empty() {
        return refuse(
            format!("the tier {code} asks for nothing: give it a threshold above that of the tier below."),
            format!("等级 {code} 未设门槛：请设置高于前一等级的门槛。"),
        );
    }
    // A metric that only one of two neighbours names would leave a gap in which nobody knows who is higher.
    if at > 1 && named != metrics(&below.thresholds) {
        return refuse(
            format!("{code} and {} must name the same metrics.", below.code),
            format!("等级 {code} 与 {} 必须使用相同的指标。", below.code),
        );
    }
    let rises = |lower: &Thresholds, upper: &Thresholds| {
        let mut rises = false;
        for (metric, least) in upper.named() {
            let before = lower.of(metric).unwrap_or(0);
            if least < before || !(0..=MAX_SUM).contains(&least) {
                return false;
            }
            rises |= least > before;
        }
        rises
    };
    if !rises(&below.thresholds, &tier.thresholds) {
        return refuse(
            format!("the threshold of {code} must lie above that of the tier before it."),
            format!("等级 {code} 的门槛必须高于前一等级。"),
        );
    }
    if let Some(retention) = &tier.retention {
        if metrics(retention) != named {
            return refuse(
                format!("what keeps {code} must name the same metrics as what reaches it."),
                format!("等级 {code} 的保级条件须与升级条件使用相同的指标。"),
            );
        }
        let beyond = |(metric, least): (Metric, i64)| {
            least < 0 || tier.thresholds.of(metric).is_some_and(|reaches| least > reaches)
        };
        if retention.named().any(beyond) {
            return refuse(
                format!("keeping {code} cannot be harder than reaching it."),
                format!("等级 {code} 的保级条件不能高于升级条件。"),
            );
        }
    }
    Ok(())
}

fn check_check_in(rule: &CheckInRule) -> Checked {
    let points = |points: i64| (0..=MAX_POINTS).contains(&points);
    let streaks = &rule.streaks;
    if !points(rule.points)
        || streaks
            .iter()
            .any(|bonus| !points(bonus.points) || !(1..=366).contains(&bonus.day))
    {
        return refuse(
            format!("a check-in earns 0 to {MAX_POINTS} points, on days 1 to 366 of a streak."),
            format!("签到奖励应为 0 到 {MAX_POINTS} 积分，连续天数 1 到 366。"),
        );
    }
    if streaks.windows(2).any(|pair| pair[0].day >= pair[1].day) || streaks.len() > 31 {
        return refuse(
            "the days of streaks rise and are at most 31.",
            "连续签到的天数须递增，最多 31 项。",
        );
    }
    let longest = match rule.restart {
        StreakRestart::Never => 366,
        StreakRestart::Monthly => 31,
        StreakRestart::AfterDays { days } => days,
    };
    if !(1..=366).contains(&longest) || streaks.last().is_some_and(|bonus| bonus.day > longest) {
        return refuse(
            format!("a streak never has more than {longest} days: no bonus lies behind them."),
            format!("连续签到最多 {longest} 天，奖励不能设在其后。"),
        );
    }
    match &rule.make_up {
        Some(make_up)
            if !(1..=31).contains(&make_up.days_back)
                || !(1..=31).contains(&make_up.per_month)
                || !points(make_up.cost_points) =>
        {
            refuse(
                "missed days are made up for within 1 to 31 days and 1 to 31 times a month.",
                "补签应在 1 到 31 天内，每月 1 到 31 次。",
            )
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use huika_core::Bilingual;

    use super::*;
    use crate::{
        default_rules,
        domain::{MakeUp, PurchaseCondition, StreakBonus},
    };

    fn promotion(effect: Effect) -> Promotion {
        Promotion {
            code: "double".into(),
            name: Bilingual::new("双倍", "Double"),
            when: PurchaseCondition::default(),
            effect,
            caps: Caps::default(),
            budget: None,
        }
    }

    fn two() -> Rate {
        Rate::try_new(2, 1).unwrap()
    }

    #[test]
    fn rules_that_contradict_themselves_are_refused() {
        assert!(default_rules().validate().is_ok());
        type Change = fn(&mut Rules);
        // what, whether it is possible, change
        let table: &[(&str, bool, Change)] = &[
            ("no tier", false, |rules| rules.tiers.clear()),
            ("a first tier with a threshold", false, |rules| {
                rules.tiers[0].thresholds = Thresholds::spend(1)
            }),
            ("a first tier at zero", true, |rules| {
                rules.tiers[0].thresholds = Thresholds::spend(0)
            }),
            ("a threshold like the one before", false, |rules| {
                rules.tiers[2].thresholds = Thresholds::spend(100_000)
            }),
            ("a threshold that falls", false, |rules| {
                rules.tiers[2].thresholds = Thresholds::spend(99_999)
            }),
            ("a tier that asks for nothing", false, |rules| {
                rules.tiers[1].thresholds = Thresholds::default()
            }),
            ("neighbours by other metrics", false, |rules| {
                rules.tiers[2].thresholds = Thresholds {
                    orders: Some(50),
                    ..Thresholds::default()
                }
            }),
            ("retention by another metric", false, |rules| {
                rules.tiers[1].retention = Some(Thresholds {
                    orders: Some(5),
                    ..Thresholds::default()
                })
            }),
            ("retention above the threshold", false, |rules| {
                rules.tiers[1].retention = Some(Thresholds::spend(100_001))
            }),
            ("retention below the threshold", true, |rules| {
                rules.tiers[1].retention = Some(Thresholds::spend(50_000))
            }),
            ("two tiers of one code", false, |rules| {
                rules.tiers[1].code = "gold".into()
            }),
            ("a multiplier below one", false, |rules| {
                rules.tiers[1].multiplier = Rate::try_new(1, 2).unwrap()
            }),
            ("a price above the price", false, |rules| {
                rules.tiers[1].benefits.price_bp = 10_001
            }),
            ("a colour in words", false, |rules| {
                rules.tiers[1].benefits.card_colour = "silver".into()
            }),
            ("a zone of no map", false, |rules| rules.time_zone = "Mars".into()),
            ("366 pending days", false, |rules| rules.pending_days = 366),
            ("a lifetime that ends", false, |rules| {
                rules.qualification.validity = Validity::PeriodEnd { further: 0 }
            }),
            ("a year that ends", true, |rules| {
                rules.qualification.period = Period::CalendarYear;
                rules.qualification.validity = Validity::PeriodEnd { further: 1 };
            }),
            ("a rolling period of no month", false, |rules| {
                rules.qualification.period = Period::RollingMonths { months: 0 }
            }),
            ("30 February", false, |rules| {
                rules.expiry = ExpiryRule::FixedDay {
                    month: 2,
                    day: 30,
                    at_least_days: 30,
                }
            }),
            ("29 February", true, |rules| {
                rules.expiry = ExpiryRule::FixedDay {
                    month: 2,
                    day: 29,
                    at_least_days: 30,
                }
            }),
            ("month 13", false, |rules| {
                rules.expiry = ExpiryRule::FixedDay {
                    month: 13,
                    day: 1,
                    at_least_days: 30,
                }
            }),
            ("a promotion", true, |rules| {
                rules.promotions = vec![promotion(Effect::Multiply { multiplier: two() })]
            }),
            ("two promotions of one code", false, |rules| {
                rules.promotions = vec![promotion(Effect::Add { points: 1 }); 2]
            }),
            ("a promotion of nothing", false, |rules| {
                rules.promotions = vec![promotion(Effect::Add { points: 0 })]
            }),
            ("a promotion for no tier of these", false, |rules| {
                rules.promotions = vec![promotion(Effect::Add { points: 1 })];
                rules.promotions[0].when.tiers = vec!["diamond".into()];
            }),
            ("a promotion that ends first", false, |rules| {
                rules.promotions = vec![promotion(Effect::Add { points: 1 })];
                rules.promotions[0].when.from = Some(Timestamp::from_millis(2));
                rules.promotions[0].when.until = Some(Timestamp::from_millis(2));
            }),
            ("an eighth day of the week", false, |rules| {
                rules.promotions = vec![promotion(Effect::Add { points: 1 })];
                rules.promotions[0].when.weekdays = vec![8];
            }),
            ("a base rate with a budget", false, |rules| {
                rules.promotions = vec![promotion(Effect::BaseRate {
                    points_rate: Rate::ONE,
                })];
                rules.promotions[0].budget = Some(5);
            }),
            ("a month's cap below a day's", false, |rules| {
                rules.caps = Caps {
                    per_day: Some(10),
                    per_week: None,
                    per_month: Some(9),
                }
            }),
            ("rising caps", true, |rules| {
                rules.caps = Caps {
                    per_day: Some(10),
                    per_week: Some(10),
                    per_month: Some(11),
                }
            }),
            ("a check-in", true, |rules| {
                rules.check_in = Some(check_in(7, StreakRestart::AfterDays { days: 7 }))
            }),
            ("a bonus behind the streak", false, |rules| {
                rules.check_in = Some(check_in(8, StreakRestart::AfterDays { days: 7 }))
            }),
            ("a streak over the month", false, |rules| {
                rules.check_in = Some(check_in(32, StreakRestart::Monthly))
            }),
            ("reminders on the day", false, |rules| {
                rules.reminder_days = vec![0]
            }),
        ];
        for (what, possible, change) in table {
            let mut rules = default_rules();
            change(&mut rules);
            assert_eq!(rules.validate().is_ok(), *possible, "{what}");
        }
    }

    fn check_in(day: u16, restart: StreakRestart) -> CheckInRule {
        CheckInRule {
            points: 5,
            streaks: vec![StreakBonus { day, points: 50 }],
            restart,
            make_up: Some(MakeUp {
                days_back: 3,
                cost_points: 10,
                per_month: 2,
            }),
        }
    }

    #[test]
    fn points_must_open_before_they_expire() {
        let table = [
            // pending days, expiry, possible
            (7, ExpiryRule::DaysAfter { days: 7 }, true),
            (8, ExpiryRule::DaysAfter { days: 7 }, false),
            (0, ExpiryRule::EndOfMonthAfter { months: 0 }, true),
            // Earned on the last day of a month.
            (1, ExpiryRule::EndOfMonthAfter { months: 0 }, false),
            // From 31 January to 28 February.
            (28, ExpiryRule::EndOfMonthAfter { months: 1 }, true),
            (29, ExpiryRule::EndOfMonthAfter { months: 1 }, false),
            (1, ExpiryRule::EndOfQuarterAfter { quarters: 0 }, false),
            (90, ExpiryRule::EndOfQuarterAfter { quarters: 1 }, true),
            (91, ExpiryRule::EndOfQuarterAfter { quarters: 1 }, false),
            (1, ExpiryRule::EndOfYearAfter { years: 0 }, false),
            (365, ExpiryRule::EndOfYearAfter { years: 1 }, true),
            (
                30,
                ExpiryRule::FixedDay {
                    month: 3,
                    day: 31,
                    at_least_days: 30,
                },
                true,
            ),
            (
                31,
                ExpiryRule::FixedDay {
                    month: 3,
                    day: 31,
                    at_least_days: 30,
                },
                false,
            ),
            (365, ExpiryRule::Never, true),
        ];
        for (pending_days, expiry, possible) in table {
            let mut rules = default_rules();
            (rules.pending_days, rules.expiry) = (pending_days, expiry);
            assert_eq!(rules.validate().is_ok(), possible, "{pending_days} {expiry:?}");
        }
    }
}
