//! A member's way through the tiers: pure functions of what the member did and of the versions of the rules.
//!
//! A tier is reached the moment something lifts the metrics of the period over its thresholds. It holds until its
//! span is over; then the period that has passed decides whether it is kept. Nobody has to be there at that moment:
//! [`advance`] carries out, in their order, all evaluations that became due, whenever somebody looks.

use huika_core::{BusinessDate, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Activity, Downgrade, Metrics, ProgramVersion, RefundEffect, Rules, Transition, Validity,
    program::{tier_by, version_at},
    tier_for,
};
use crate::LoyaltyError;

/// Why a span of a tier began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TierReason {
    /// The metrics of the period reached it.
    Reached,
    /// The metrics of the period that ended were enough to keep it.
    Retained,
    /// They were not, and the rules lower nobody.
    Kept,
    /// They were not, and the member has the days of grace to make up for it.
    GraceBegan,
    /// They were not, and the tier was lowered.
    Lowered,
    /// A refund lowered it at once.
    LoweredByRefund,
    /// A purchase that arrived late shows that it had been reached before.
    ReachedLate,
    /// It came along with another member that was merged into this one.
    Merged,
    /// It was brought along from another system.
    Imported,
}

impl TierReason {
    /// The name in the database and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::Retained => "retained",
            Self::Kept => "kept",
            Self::GraceBegan => "grace_began",
            Self::Lowered => "lowered",
            Self::LoweredByRefund => "lowered_by_refund",
            Self::ReachedLate => "reached_late",
            Self::Merged => "merged",
            Self::Imported => "imported",
        }
    }

    /// The reason with a name.
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::Reached,
            Self::Retained,
            Self::Kept,
            Self::GraceBegan,
            Self::Lowered,
            Self::LoweredByRefund,
            Self::ReachedLate,
            Self::Merged,
            Self::Imported,
        ]
        .into_iter()
        .find(|reason| reason.name() == name)
    }
}

/// A time in which a member has one tier for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The code of the tier.
    pub tier: String,
    /// Its first moment.
    pub from: Timestamp,
    /// The moment at which it is evaluated. `None`: it holds until something raises it.
    pub until: Option<Timestamp>,
    /// Why it began.
    pub reason: TierReason,
    /// The version of the rules that decided.
    pub version: i64,
    /// The metrics that decided.
    pub metrics: Metrics,
}

/// Everything that decides a member's tier.
#[derive(Debug, Clone)]
pub struct Member<'a> {
    /// The business date of the registration.
    pub joined_on: BusinessDate,
    /// What the member did.
    pub activity: &'a Activity,
    /// The span that holds. `None`: the member never left the first tier.
    pub span: Option<Span>,
}

/// One version of the rules with what it makes of a member.
struct View<'a> {
    versions: &'a [ProgramVersion],
    version: &'a ProgramVersion,
}

impl<'a> View<'a> {
    fn at(versions: &'a [ProgramVersion], moment: Timestamp) -> Result<Self, LoyaltyError> {
        let version = version_at(versions, moment)?;
        Ok(Self { versions, version })
    }

    fn rules(&self) -> &'a Rules {
        &self.version.rules
    }

    fn position(&self, code: &str) -> usize {
        let tier = tier_by(self.versions, self.rules(), code);
        self.rules()
            .tiers
            .iter()
            .position(|other| other.code == tier.code)
            .unwrap_or(0)
    }

    fn position_of(&self, span: Option<&Span>) -> usize {
        span.map_or(0, |span| self.position(&span.tier))
    }

    /// Metrics from the beginning of the period that `moment` lies in up to its date.
    fn metrics(&self, member: &Member<'_>, moment: Timestamp) -> Metrics {
        let qualification = &self.rules().qualification;
        let date = self.rules().calendar().date_of(moment);
        let first = qualification.period.first_date(member.joined_on, date);
        member.activity.sum(first, date, qualification.refunds)
    }

    fn reached(&self, metrics: &Metrics) -> usize {
        self.position(&tier_for(self.rules(), metrics).code)
    }

    fn keeps(&self, position: usize, metrics: &Metrics) -> bool {
        let tier = &self.rules().tiers[position];
        let combine = self.rules().qualification.combine;
        tier.retention
            .as_ref()
            .unwrap_or(&tier.thresholds)
            .met_by(metrics, combine)
    }

    /// A span of a tier that begins at a moment and holds as long as these rules say.
    fn span(
        &self,
        member: &Member<'_>,
        position: usize,
        from: Timestamp,
        reason: TierReason,
        metrics: Metrics,
    ) -> Span {
        let rules = self.rules();
        let evaluated = matches!(
            reason,
            TierReason::Retained | TierReason::Kept | TierReason::Lowered
        );
        let hold = |calendar| {
            let qualification = &rules.qualification;
            qualification.holds_until(&calendar, member.joined_on, from, evaluated)
        };
        // The first tier is nobody's to lose.
        let until = (position > 0).then(|| hold(rules.calendar())).flatten();
        Span {
            tier: rules.tiers[position].code.clone(),
            from,
            until,
            reason,
            version: self.version.version,
            metrics,
        }
    }

    /// The versions whose thresholds still count beside those of this one at a moment: that under which the member's
    /// span began, and that under which the period began, where this version lets the better of both count.
    fn older(&self, member: &Member<'_>, moment: Timestamp) -> Result<Vec<View<'a>>, LoyaltyError> {
        let qualification = &self.rules().qualification;
        if qualification.transition == Transition::AtOnce {
            return Ok(Vec::new());
        }
        let calendar = self.rules().calendar();
        let period_began = qualification
            .period
            .last_date(member.joined_on, calendar.date_of(moment))
            .and(
                qualification
                    .period
                    .first_date(member.joined_on, calendar.date_of(moment)),
            )
            .map(|first| calendar.start_of(first));
        let span_began = member
            .span
            .as_ref()
            .filter(|span| span.until.is_some_and(|until| moment < until))
            .map(|span| span.from);
        let mut older: Vec<View<'a>> = Vec::new();
        for began in [period_began, span_began].into_iter().flatten() {
            let view = View::at(self.versions, began)?;
            let known = older
                .iter()
                .any(|other| other.version.version == view.version.version);
            if view.version.version != self.version.version && !known {
                older.push(view);
            }
        }
        Ok(older)
    }
}

/// Carries out the evaluations that were due by `now`, in their order. The member's span becomes the last one.
///
/// # Errors
/// [`LoyaltyError::NoProgram`].
pub fn advance(
    versions: &[ProgramVersion],
    member: &mut Member<'_>,
    now: Timestamp,
) -> Result<Vec<Span>, LoyaltyError> {
    let mut spans = Vec::new();
    while let Some(next) = next_span(versions, member, now)? {
        spans.push(next.clone());
        member.span = Some(next);
    }
    Ok(spans)
}

/// The span that follows on the member's, if that is over by `now`.
fn next_span(
    versions: &[ProgramVersion],
    member: &Member<'_>,
    now: Timestamp,
) -> Result<Option<Span>, LoyaltyError> {
    let Some(span) = &member.span else { return Ok(None) };
    let Some(at) = span.until.filter(|until| *until <= now) else {
        return Ok(None);
    };
    let view = View::at(versions, at)?;
    let qualification = &view.rules().qualification;
    let in_grace = span.reason == TierReason::GraceBegan;
    let last_moment = at.plus_millis(-1);
    let metrics_by = |view: &View<'_>| {
        let rules = view.rules();
        let first = counted_from(rules, member.joined_on, span, last_moment);
        let last = rules.calendar().date_of(last_moment);
        member.activity.sum(first, last, rules.qualification.refunds)
    };
    let metrics = metrics_by(&view);
    let position = view.position(&span.tier);
    let mut kept = view.keeps(position, &metrics);
    let mut reached = view.reached(&metrics);
    for older in view.older(member, last_moment)? {
        let metrics = metrics_by(&older);
        kept |= older.keeps(older.position(&span.tier), &metrics);
        let code = &older.rules().tiers[older.reached(&metrics)].code;
        reached = reached.max(view.position(code));
    }
    let follow = |position: usize, reason| view.span(member, position, at, reason, metrics);
    let next = if kept || position == 0 {
        follow(position, TierReason::Retained)
    } else if qualification.downgrade == Downgrade::Never {
        follow(position, TierReason::Kept)
    } else if qualification.grace_days > 0 && !in_grace {
        let calendar = view.rules().calendar();
        let over = calendar.date_of(at).plus_days(qualification.grace_days.into());
        Span {
            until: Some(calendar.start_of(over)),
            ..follow(position, TierReason::GraceBegan)
        }
    } else {
        let lower = match qualification.downgrade {
            Downgrade::Reached => reached.min(position - 1),
            Downgrade::OneStep | Downgrade::Never => position - 1,
        };
        follow(lower, TierReason::Lowered)
    };
    Ok(Some(next))
}

/// The first date that counts when a span is evaluated that ends with some moment. `None`: everything ever.
///
/// It is the first of the period that this moment lies in; days of grace add to the period that ended before them. A
/// tier that holds for months is kept by what is done in these months: what reached it does not keep it as well.
pub(crate) fn counted_from(
    rules: &Rules,
    joined_on: BusinessDate,
    span: &Span,
    last_moment: Timestamp,
) -> Option<BusinessDate> {
    let calendar = rules.calendar();
    let began_on = calendar.date_of(span.from);
    let in_grace = span.reason == TierReason::GraceBegan;
    let period_moment = if in_grace {
        span.from.plus_millis(-1)
    } else {
        last_moment
    };
    let of_period = rules
        .qualification
        .period
        .first_date(joined_on, calendar.date_of(period_moment));
    let of_span = match rules.qualification.validity {
        Validity::Months { months } if in_grace => {
            Some(began_on.plus_months(-i32::from(months)).plus_days(1))
        }
        // A span that an evaluation began has the whole of its first day.
        Validity::Months { .. } if span.from == calendar.start_of(began_on) => Some(began_on),
        Validity::Months { .. } => Some(began_on.plus_days(1)),
        Validity::Forever | Validity::PeriodEnd { .. } => None,
    };
    of_period.max(of_span)
}

/// The span that begins at a moment because the metrics reach a higher tier. `None`: they do not.
///
/// # Errors
/// [`LoyaltyError::NoProgram`].
pub fn lift(
    versions: &[ProgramVersion],
    member: &Member<'_>,
    moment: Timestamp,
    reason: TierReason,
) -> Result<Option<Span>, LoyaltyError> {
    let view = View::at(versions, moment)?;
    let before = view.position_of(member.span.as_ref());
    let metrics = view.metrics(member, moment);
    let mut reached = (view.reached(&metrics), metrics);
    for older in view.older(member, moment)? {
        let metrics = older.metrics(member, moment);
        let code = &older.rules().tiers[older.reached(&metrics)].code;
        let position = view.position(code);
        if position > reached.0 {
            reached = (position, metrics);
        }
    }
    let (position, metrics) = reached;
    Ok((position > before).then(|| view.span(member, position, moment, reason, metrics)))
}

/// The span that begins with a refund at a moment, where the rules lower at once and what is left does not keep the
/// tier. `None`: it stays.
///
/// # Errors
/// [`LoyaltyError::NoProgram`].
pub fn lower_by_refund(
    versions: &[ProgramVersion],
    member: &Member<'_>,
    moment: Timestamp,
) -> Result<Option<Span>, LoyaltyError> {
    let view = View::at(versions, moment)?;
    if view.rules().qualification.refunds != RefundEffect::AtOnce {
        return Ok(None);
    }
    let before = view.position_of(member.span.as_ref());
    let metrics = view.metrics(member, moment);
    if before == 0 || view.keeps(before, &metrics) {
        return Ok(None);
    }
    let mut reached = view.reached(&metrics);
    for older in view.older(member, moment)? {
        let metrics = older.metrics(member, moment);
        if older.keeps(older.position_of(member.span.as_ref()), &metrics) {
            return Ok(None);
        }
        let code = &older.rules().tiers[older.reached(&metrics)].code;
        reached = reached.max(view.position(code));
    }
    Ok((reached < before).then(|| view.span(member, reached, moment, TierReason::LoweredByRefund, metrics)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        DaySums, default_rules,
        domain::{Combine, Period, Qualification, Thresholds},
    };

    fn moment(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// The first moment of a date in Shanghai.
    fn start(date: &str) -> Timestamp {
        default_rules().calendar().start_of(date.parse().unwrap())
    }

    fn version(number: i64, from: &str, change: impl FnOnce(&mut Rules)) -> ProgramVersion {
        let mut rules = default_rules();
        change(&mut rules);
        rules.validate().unwrap();
        ProgramVersion {
            version: number,
            rules,
            effective_from: start(from),
            published_at: start(from),
            published_by: "opr_test".into(),
            withdrawn: false,
        }
    }

    fn by_year(validity: Validity, downgrade: Downgrade, grace_days: u16) -> impl FnOnce(&mut Rules) {
        move |rules| {
            rules.qualification = Qualification {
                period: Period::CalendarYear,
                validity,
                downgrade,
                grace_days,
                ..Qualification::default()
            };
        }
    }

    fn spent(days: &[(&str, i64)]) -> Activity {
        let mut activity = Activity::default();
        for (date, spend_minor) in days {
            let gained = Metrics {
                spend_minor: *spend_minor,
                orders: 1,
                growth: *spend_minor,
            };
            let sums = if *spend_minor >= 0 {
                DaySums {
                    gained,
                    refunded: Metrics::default(),
                }
            } else {
                let refunded = Metrics {
                    spend_minor: -spend_minor,
                    orders: 0,
                    growth: -spend_minor,
                };
                DaySums {
                    gained: Metrics::default(),
                    refunded,
                }
            };
            activity.add(date.parse().unwrap(), sums);
        }
        activity
    }

    fn holding(tier: &str, from: &str, until: Option<&str>) -> Option<Span> {
        Some(Span {
            tier: tier.into(),
            from: start(from),
            until: until.map(start),
            reason: TierReason::Reached,
            version: 1,
            metrics: Metrics::default(),
        })
    }

    /// What follows, as text: tier, first date, date of the next evaluation, reason.
    fn told(spans: &[Span]) -> Vec<String> {
        let calendar = default_rules().calendar();
        let date = |moment: Timestamp| {
            let date = calendar.date_of(moment);
            assert_eq!(calendar.start_of(date), moment, "spans begin and end at midnight");
            date.to_string()
        };
        spans
            .iter()
            .map(|span| {
                let until = span.until.map_or_else(|| "ever".to_owned(), date);
                format!(
                    "{} {} {} {}",
                    span.tier,
                    date(span.from),
                    until,
                    span.reason.name()
                )
            })
            .collect()
    }

    #[test]
    fn what_evaluations_bring() {
        use Downgrade::{Never, OneStep, Reached};
        let end = |further| Validity::PeriodEnd { further };
        let year = "2026-01-01";
        // what, rules, span (tier, from, until), spend by date, now, what follows
        type Case = (
            &'static str,
            (Validity, Downgrade, u16),
            (&'static str, &'static str, &'static str),
            &'static [(&'static str, i64)],
            &'static str,
            &'static [&'static str],
        );
        let table: &[Case] = &[
            (
                "a moment before the end of the year",
                (end(0), OneStep, 0),
                ("gold", "2026-03-01", "2027-01-01"),
                &[],
                "2026-12-31T15:59:59.999Z",
                &[],
            ),
            (
                "at midnight",
                (end(0), OneStep, 0),
                ("gold", "2026-03-01", "2027-01-01"),
                &[("2026-03-01", 499_999)],
                "2026-12-31T16:00:00Z",
                &["silver 2027-01-01 2028-01-01 lowered"],
            ),
            (
                "to the fen",
                (end(0), OneStep, 0),
                ("gold", "2026-03-01", "2027-01-01"),
                &[("2026-03-01", 499_999), ("2026-12-31", 1)],
                "2027-01-01T00:00:00Z",
                &["gold 2027-01-01 2028-01-01 retained"],
            ),
            (
                "a day late",
                (end(0), OneStep, 0),
                ("gold", "2026-03-01", "2027-01-01"),
                &[("2026-03-01", 499_999), ("2027-01-01", 1)],
                "2027-01-01T00:00:00Z",
                &["silver 2027-01-01 2028-01-01 lowered"],
            ),
            (
                "a refund counts for its purchase's year",
                (end(0), OneStep, 0),
                ("gold", "2026-03-01", "2027-01-01"),
                &[("2026-03-01", 500_000), ("2026-03-01", -1)],
                "2027-01-01T00:00:00Z",
                &["silver 2027-01-01 2028-01-01 lowered"],
            ),
            (
                "to what the year reached",
                (end(0), Reached, 0),
                ("gold", "2026-03-01", "2027-01-01"),
                &[("2026-05-01", 99_999)],
                "2027-06-01T00:00:00Z",
                &["bronze 2027-01-01 ever lowered"],
            ),
            (
                "nobody is lowered",
                (end(0), Never, 0),
                ("gold", "2026-03-01", "2027-01-01"),
                &[],
                "2028-06-01T00:00:00Z",
                &[
                    "gold 2027-01-01 2028-01-01 kept",
                    "gold 2028-01-01 2029-01-01 kept",
                ],
            ),
            (
                "the server was off for three years",
                (end(0), OneStep, 0),
                ("gold", "2026-03-01", "2027-01-01"),
                &[],
                "2029-01-01T00:00:00Z",
                &[
                    "silver 2027-01-01 2028-01-01 lowered",
                    "bronze 2028-01-01 ever lowered",
                ],
            ),
            (
                "and the year after next",
                (end(1), OneStep, 0),
                ("gold", "2026-03-01", "2028-01-01"),
                &[("2027-02-28", 500_000)],
                "2028-03-01T00:00:00Z",
                &["gold 2028-01-01 2029-01-01 retained"],
            ),
            (
                "days of grace",
                (end(0), OneStep, 31),
                ("gold", "2026-03-01", "2027-01-01"),
                &[("2026-03-01", 400_000)],
                "2027-01-10T00:00:00Z",
                &["gold 2027-01-01 2027-02-01 grace_began"],
            ),
            (
                "made up for in grace",
                (end(0), OneStep, 31),
                ("gold", "2026-03-01", "2027-01-01"),
                &[("2026-03-01", 400_000), ("2027-01-31", 100_000)],
                "2027-02-01T00:00:00Z",
                &[
                    "gold 2027-01-01 2027-02-01 grace_began",
                    "gold 2027-02-01 2028-01-01 retained",
                ],
            ),
            (
                "a day after grace",
                (end(0), OneStep, 31),
                ("gold", "2026-03-01", "2027-01-01"),
                &[("2026-03-01", 400_000), ("2027-02-01", 100_000)],
                "2027-02-01T00:00:00Z",
                &[
                    "gold 2027-01-01 2027-02-01 grace_began",
                    "silver 2027-02-01 2028-01-01 lowered",
                ],
            ),
            (
                "over 29 February",
                (Validity::Months { months: 12 }, OneStep, 0),
                ("gold", "2028-02-29", "2029-02-28"),
                &[],
                "2031-01-01T00:00:00Z",
                &[
                    "silver 2029-02-28 2030-02-28 lowered",
                    "bronze 2030-02-28 ever lowered",
                ],
            ),
            (
                "the first tier is nobody's to lose",
                (end(0), OneStep, 0),
                ("bronze", "2026-03-01", "2027-01-01"),
                &[],
                "2028-01-01T00:00:00Z",
                &["bronze 2027-01-01 ever retained"],
            ),
        ];
        for (what, (validity, downgrade, grace), (tier, from, until), days, now, follows) in table {
            let versions = [version(1, year, by_year(*validity, *downgrade, *grace))];
            let activity = spent(days);
            let span = holding(tier, from, Some(until));
            let mut member = Member {
                joined_on: "2025-05-05".parse().unwrap(),
                activity: &activity,
                span,
            };
            let spans = advance(&versions, &mut member, moment(now)).unwrap();
            assert_eq!(told(&spans), *follows, "{what}");
            // Looking again changes nothing, and looking often changes nothing either.
            assert!(
                advance(&versions, &mut member, moment(now)).unwrap().is_empty(),
                "{what}"
            );
            let mut often = Member {
                span: holding(tier, from, Some(until)),
                ..member.clone()
            };
            let mut seen = Vec::new();
            let mut at = start(from);
            while at < moment(now) {
                seen.extend(advance(&versions, &mut often, at).unwrap());
                at = at.plus_millis(7 * 86_400_000);
            }
            seen.extend(advance(&versions, &mut often, moment(now)).unwrap());
            assert_eq!(seen, spans, "{what}");
        }
    }

    #[test]
    fn retention_may_ask_for_less() {
        let versions = [version(1, "2026-01-01", |rules| {
            by_year(Validity::PeriodEnd { further: 0 }, Downgrade::OneStep, 0)(rules);
            rules.tiers[2].retention = Some(Thresholds::spend(300_000));
        })];
        for (spend, follows) in [
            (300_000, "gold 2027-01-01 2028-01-01 retained"),
            (299_999, "silver 2027-01-01 2028-01-01 lowered"),
        ] {
            let activity = spent(&[("2026-06-30", spend)]);
            let span = holding("gold", "2026-03-01", Some("2027-01-01"));
            let mut member = Member {
                joined_on: BusinessDate::default(),
                activity: &activity,
                span,
            };
            assert_eq!(
                told(&advance(&versions, &mut member, start("2027-01-01")).unwrap()),
                [follows]
            );
        }
    }

    #[test]
    fn a_tier_is_reached_the_moment_its_thresholds_are() {
        let both = |rules: &mut Rules| {
            by_year(Validity::PeriodEnd { further: 1 }, Downgrade::OneStep, 0)(rules);
            let asks = |spend_minor, orders| Thresholds {
                spend_minor: Some(spend_minor),
                orders: Some(orders),
                growth: None,
            };
            (rules.tiers[1].thresholds, rules.tiers[2].thresholds) = (asks(100_000, 2), asks(500_000, 4));
        };
        let any = |rules: &mut Rules| {
            both(rules);
            rules.qualification.combine = Combine::Any;
        };
        // what, all or any, tier held, spend by date, reached
        type Case = (
            &'static str,
            bool,
            &'static str,
            &'static [(&'static str, i64)],
            Option<&'static str>,
        );
        let table: &[Case] = &[
            (
                "money without orders",
                true,
                "bronze",
                &[("2026-06-01", 200_000)],
                None,
            ),
            (
                "both",
                true,
                "bronze",
                &[("2026-06-01", 90_000), ("2026-06-02", 10_000)],
                Some("silver 2026-06-02 2028-01-01 reached"),
            ),
            (
                "one of both",
                false,
                "bronze",
                &[("2026-06-01", 200_000)],
                Some("silver 2026-06-01 2028-01-01 reached"),
            ),
            (
                "orders of last year",
                true,
                "bronze",
                &[("2025-12-31", 90_000), ("2026-06-02", 10_000)],
                None,
            ),
            (
                "two at once",
                false,
                "bronze",
                &[("2026-06-01", 500_000)],
                Some("gold 2026-06-01 2028-01-01 reached"),
            ),
            (
                "what is held already",
                false,
                "gold",
                &[("2026-06-01", 200_000)],
                None,
            ),
        ];
        for (what, all, held, days, reached) in table {
            let versions = [if *all {
                version(1, "2025-01-01", both)
            } else {
                version(1, "2025-01-01", any)
            }];
            let activity = spent(days);
            let span = (*held != "bronze")
                .then(|| holding(held, "2026-01-15", Some("2028-01-01")))
                .flatten();
            let member = Member {
                joined_on: BusinessDate::default(),
                activity: &activity,
                span,
            };
            let now = start(days.last().unwrap().0);
            let span = lift(&versions, &member, now, TierReason::Reached).unwrap();
            assert_eq!(
                told(&span.into_iter().collect::<Vec<_>>())
                    .first()
                    .map(String::as_str),
                *reached,
                "{what}"
            );
        }
    }

    #[test]
    fn a_refund_lowers_at_once_only_where_the_rules_say_so() {
        // effect, refunded, follows
        let table = [
            (
                RefundEffect::AtOnce,
                1,
                Some("silver 2026-06-03 2027-01-01 lowered_by_refund"),
            ),
            (
                RefundEffect::AtOnce,
                450_000,
                Some("bronze 2026-06-03 ever lowered_by_refund"),
            ),
            (RefundEffect::AtOnce, 0, None),
            (RefundEffect::AtEvaluation, 450_000, None),
            (RefundEffect::Never, 450_000, None),
        ];
        for (effect, refunded, follows) in table {
            let versions = [version(1, "2026-01-01", |rules| {
                by_year(Validity::PeriodEnd { further: 0 }, Downgrade::OneStep, 0)(rules);
                rules.qualification.refunds = effect;
            })];
            let activity = spent(&[("2026-06-01", 500_000), ("2026-06-01", -refunded)]);
            let span = holding("gold", "2026-06-01", Some("2027-01-01"));
            let mut member = Member {
                joined_on: BusinessDate::default(),
                activity: &activity,
                span,
            };
            let lowered = lower_by_refund(&versions, &member, start("2026-06-03")).unwrap();
            assert_eq!(
                told(&lowered.into_iter().collect::<Vec<_>>())
                    .first()
                    .map(String::as_str),
                follows,
                "{effect:?} {refunded}"
            );
            // What does not lower at once counts at the end of the year, or never.
            let at_end = advance(&versions, &mut member, start("2027-01-01")).unwrap();
            let keeps = effect == RefundEffect::Never || refunded == 0;
            assert_eq!(at_end[0].tier == "gold", keeps, "{effect:?} {refunded}");
        }
    }

    #[test]
    fn until_the_period_ends_the_better_of_old_and_new_thresholds_counts() {
        let strict = |transition| {
            move |rules: &mut Rules| {
                by_year(Validity::PeriodEnd { further: 0 }, Downgrade::OneStep, 0)(rules);
                rules.qualification.transition = transition;
                rules.tiers[1].thresholds = Thresholds::spend(200_000);
                rules.tiers[2].thresholds = Thresholds::spend(800_000);
            }
        };
        for (transition, reached, kept) in [
            (Transition::BetterOfBoth, Some("silver"), "gold"),
            (Transition::AtOnce, None, "silver"),
        ] {
            let versions = [
                version(
                    1,
                    "2025-01-01",
                    by_year(Validity::PeriodEnd { further: 0 }, Downgrade::OneStep, 0),
                ),
                version(2, "2026-07-01", strict(transition)),
            ];
            // 150,000 by August: enough under the old thresholds, which held when the year began.
            let activity = spent(&[("2026-08-01", 150_000)]);
            let member = Member {
                joined_on: BusinessDate::default(),
                activity: &activity,
                span: None,
            };
            let span = lift(&versions, &member, start("2026-08-01"), TierReason::Reached).unwrap();
            assert_eq!(span.map(|span| span.tier).as_deref(), reached);
            // The year after, the new ones alone count.
            let activity = spent(&[("2027-02-01", 150_000)]);
            let member = Member {
                joined_on: BusinessDate::default(),
                activity: &activity,
                span: None,
            };
            assert!(
                lift(&versions, &member, start("2027-02-01"), TierReason::Reached)
                    .unwrap()
                    .is_none()
            );
            // Keeping gold with 600,000 in the year of the change.
            let activity = spent(&[("2026-03-01", 600_000)]);
            let span = holding("gold", "2026-03-01", Some("2027-01-01"));
            let mut member = Member {
                joined_on: BusinessDate::default(),
                activity: &activity,
                span,
            };
            let spans = advance(&versions, &mut member, start("2027-01-01")).unwrap();
            assert_eq!(spans[0].tier, kept);
        }
    }
}
