//! What behaviour refuses.

use huika_core::{Problem, ProblemKind, Refusal, problems};

problems! {
    /// A refusal or failure of the behaviour module.
    pub enum BehaviorError {
        /// The name of an event has another form.
        [422 "behavior.name_invalid"]
        NameInvalid
        en "The name of an event has 1 to 48 small letters, digits, dots, dashes or underscores, for example page_view."
        zh "事件名应为 1 至 48 位小写字母、数字、点、短横线或下划线，例如 page_view。";

        /// Neither a member nor a visitor, or both.
        [422 "behavior.subject_invalid"]
        SubjectInvalid
        en "Say whose event it is: give exactly one of member and visitor_id."
        zh "请说明事件归属：member 与 visitor_id 须且仅须填写一项。";

        /// The time lies ahead of ours.
        [422 "behavior.time_in_future"]
        TimeInFuture { minutes: i64 }
        en "The event lies more than {minutes} minutes in the future: check the clock of the device."
        zh "事件时间晚于当前时间超过 {minutes} 分钟，请检查设备时钟。";

        /// The event is too old.
        [422 "behavior.too_late"]
        TooLate { days: i64 }
        en "The event is older than {days} days and no longer taken in: leave it out."
        zh "事件发生已超过 {days} 天，不再接收，请勿重发。";

        /// The properties are too many, too long or not flat.
        [422 "behavior.properties_invalid"]
        PropertiesInvalid { en: String, zh: String }
        en "The properties of the event cannot be taken: {en}"
        zh "事件属性无法接收：{zh}";

        /// The properties or the page hold personal data.
        [422 "behavior.personal_data"]
        PersonalData { field: String }
        en "{field} looks like personal data, which does not belong into behaviour events: leave it out."
        zh "{field} 疑似个人信息，行为事件中不应包含，请去除。";

        /// The settings contradict each other or a limit.
        [422 "behavior.settings_invalid"]
        SettingsInvalid { en: String, zh: String }
        en "These settings are not possible: {en}"
        zh "设置无效：{zh}";

        /// The dates are in the wrong order or too far apart, or there are too many rows.
        [422 "behavior.range_invalid"]
        RangeInvalid { days: i64 }
        en "Ask for 1 to {days} days, from the earlier to the later; where that has too many rows, for fewer days or one name."
        zh "请查询 1 至 {days} 天，起始日期不晚于结束日期；结果过多时请缩短日期或指定事件名。";

        /// The process is stopping.
        [503 "system.stopping"]
        Stopping
        en "This server is stopping: send the same request again with the same key."
        zh "服务正在停止，请使用相同的幂等键重试。";
    }
    from {
        /// The actor may not.
        Denied(huika_core::Denied),
        /// The member is not known.
        Members(huika_members::MembersError),
        /// Too many events are waiting.
        Full(QueueFull),
        /// The database failed.
        Db(huika_db::DbError),
    }
}

impl From<huika_db::BatcherClosed> for BehaviorError {
    fn from(_: huika_db::BatcherClosed) -> Self {
        Self::Stopping
    }
}

/// More events are waiting than can be written soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many behaviour events are waiting")]
pub struct QueueFull;

/// After this many seconds the queue is empty again, unless more comes.
const COME_BACK_SECONDS: u32 = 2;

impl QueueFull {
    /// Every kind of problem that this type adds.
    pub const KINDS: &'static [ProblemKind] = &[ProblemKind {
        code: "behavior.queue_full",
        status: 429,
        en: "Too many events are waiting to be stored: send the same events again after the seconds in Retry-After.",
        zh: "待写入的行为事件过多，请在 Retry-After 所示秒数后原样重发。",
    }];
}

impl Refusal for QueueFull {
    fn problem(&self) -> Problem {
        Problem {
            retry_after_seconds: Some(COME_BACK_SECONDS),
            ..Problem::new(&Self::KINDS[0])
        }
    }
}
