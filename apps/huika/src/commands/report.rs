//! `huika report`: the figures of the shop's history.

use std::{fmt::Write as _, process::ExitCode};

use huika_core::{Actor, Bilingual};
use huika_orders::Report;

use super::Context;
use crate::{compose::Migrate, error::Failure};

pub(crate) async fn run(context: Context) -> Result<ExitCode, Failure> {
    let place = context.enter(Migrate::Refuse).await?;
    let services = context.start_without_keys(&place)?;
    let report = place
        .during(async { Ok(services.orders.report(&Actor::system("report")).await?) })
        .await?;
    context.output.result(&report, &words(&report));
    Ok(ExitCode::SUCCESS)
}

fn words(report: &Report) -> Bilingual {
    let lines = [
        ("导入行数", "Rows read", report.rows_read.to_string()),
        ("单据", "Invoices", report.invoices.to_string()),
        ("  消费", "  sales", report.sales.to_string()),
        ("  退款", "  cancellations", report.cancellations.to_string()),
        ("  调整", "  adjustments", report.adjustments.to_string()),
        ("净额（全部）", "Net, all", report.net.clone()),
        ("净额（会员）", "Net, members", report.net_of_members.clone()),
        (
            "有单据的会员",
            "Members with documents",
            report.members_with_purchases.to_string(),
        ),
        ("购买过的会员", "Buyers", report.buyers.to_string()),
        ("复购会员", "Repeat buyers", report.repeat_buyers.to_string()),
    ];
    let (mut zh, mut en) = (String::new(), String::new());
    for (chinese, english, value) in lines {
        let _ = writeln!(zh, "{chinese}：{value}");
        let _ = writeln!(en, "{english}: {value}");
    }
    for share in &report.members_at_or_above {
        let _ = writeln!(
            zh,
            "净消费 ≥ {} {}：{} 人",
            share.threshold, report.currency, share.members
        );
        let _ = writeln!(
            en,
            "Net spend ≥ {} {}: {} members",
            share.threshold, report.currency, share.members
        );
    }
    for (tier, members) in &report.tiers {
        let _ = writeln!(zh, "等级 {tier}：{members} 人");
        let _ = writeln!(en, "Tier {tier}: {members} members");
    }
    Bilingual::new(zh.trim_end(), en.trim_end())
}
