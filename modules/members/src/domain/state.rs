//! The states of a member and what each of them blocks.

use std::{fmt, str::FromStr};

use huika_core::Timestamp;

use crate::MembersError;

/// How a member stands with the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MemberState {
    /// Everything works.
    Normal,
    /// Something is being looked into: nothing is lost, and nothing goes out.
    Frozen,
    /// The shop has ended the relation because of abuse.
    Blacklisted,
    /// The member has left.
    Closed,
    /// The member is one person with another member, who stands for both. Look-ups lead there.
    Merged,
}

/// What a member does, or what is done for a member, that a state can block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemberAction {
    /// Sign in to the member app.
    LogIn,
    /// Gain points or growth. Purchases are recorded in every state.
    Earn,
    /// Spend points, stored value or coupons. Refunds and reversals are no spending.
    Burn,
    /// Be given something: marketing messages, coupons, gifts, transfers.
    Receive,
    /// Have the tier evaluated.
    Evaluate,
    /// Lose what reaches its date.
    Expire,
}

impl MemberState {
    /// Every state.
    pub const ALL: [Self; 5] = [
        Self::Normal,
        Self::Frozen,
        Self::Blacklisted,
        Self::Closed,
        Self::Merged,
    ];

    /// The state at a moment: a freeze that has an end is over then, whether or not somebody has written it down.
    pub(crate) fn at(self, until: Option<Timestamp>, now: Timestamp) -> Self {
        match (self, until) {
            (Self::Frozen, Some(until)) if until <= now => Self::Normal,
            (state, _) => state,
        }
    }

    /// Whether a member in this state may do something.
    pub fn allows(self, action: MemberAction) -> bool {
        use MemberAction::{Burn, Earn, Evaluate, Expire, LogIn, Receive};
        match (self, action) {
            (Self::Normal, _) => true,
            // Expiry is a date of the lot and true at read time, whoever owns it. What ran out during a
            // freeze that proves unfounded is given back by an adjustment.
            (_, Expire) => true,
            // A suspicion may be wrong: the member sees the account, goes on earning and keeps the tier.
            (Self::Frozen, LogIn | Earn | Evaluate) => true,
            (Self::Frozen, Burn | Receive) => false,
            // What belongs to a merged member lies with the other one.
            (Self::Blacklisted | Self::Closed | Self::Merged, LogIn | Earn | Burn | Receive | Evaluate) => {
                false
            }
        }
    }

    /// Lets the action pass or refuses.
    ///
    /// # Errors
    /// [`MembersError::StateBlocks`].
    pub fn require(self, action: MemberAction) -> Result<(), MembersError> {
        if self.allows(action) {
            Ok(())
        } else {
            Err(MembersError::StateBlocks { state: self, action })
        }
    }

    /// The name in the database and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Frozen => "frozen",
            Self::Blacklisted => "blacklisted",
            Self::Closed => "closed",
            Self::Merged => "merged",
        }
    }
}

/// The text names no state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a state is one of normal, frozen, blacklisted, closed, merged")]
pub struct UnknownState;

impl FromStr for MemberState {
    type Err = UnknownState;

    fn from_str(name: &str) -> Result<Self, UnknownState> {
        Self::ALL
            .into_iter()
            .find(|state| state.name() == name)
            .ok_or(UnknownState)
    }
}

impl fmt::Display for MemberState {
    /// The English name; in the alternate form (`{:#}`) the Chinese one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self, f.alternate()) {
            (state, false) => state.name(),
            (Self::Normal, true) => "正常",
            (Self::Frozen, true) => "已冻结",
            (Self::Blacklisted, true) => "已列入黑名单",
            (Self::Closed, true) => "已注销",
            (Self::Merged, true) => "已合并至其他会员",
        })
    }
}

impl fmt::Display for MemberAction {
    /// The English words; in the alternate form (`{:#}`) the Chinese ones.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self, f.alternate()) {
            (Self::LogIn, false) => "log in",
            (Self::Earn, false) => "earn",
            (Self::Burn, false) => "spend",
            (Self::Receive, false) => "receive gifts or messages",
            (Self::Evaluate, false) => "be evaluated for a tier",
            (Self::Expire, false) => "have value expire",
            (Self::LogIn, true) => "登录",
            (Self::Earn, true) => "累积",
            (Self::Burn, true) => "消费抵扣",
            (Self::Receive, true) => "接收权益或消息",
            (Self::Evaluate, true) => "参与等级评定",
            (Self::Expire, true) => "过期清零",
        })
    }
}

#[cfg(test)]
mod tests {
    use huika_core::Refusal as _;

    use super::*;

    /// The same table stands in the README.
    const TABLE: &str = "
        state        log_in  earn  burn  receive  evaluate  expire
        normal       yes     yes   yes   yes      yes       yes
        frozen       yes     yes   no    no       yes       yes
        blacklisted  no      no    no    no       no        yes
        closed       no      no    no    no       no        yes
        merged       no      no    no    no       no        yes
    ";

    #[test]
    fn each_state_blocks_what_the_table_says() {
        use MemberAction::{Burn, Earn, Evaluate, Expire, LogIn, Receive};
        let mut rows = 0;
        for row in TABLE.trim().lines().skip(1) {
            let mut cells = row.split_whitespace();
            let state: MemberState = cells.next().unwrap().parse().unwrap();
            for (action, cell) in [LogIn, Earn, Burn, Receive, Evaluate, Expire]
                .into_iter()
                .zip(cells)
            {
                assert_eq!(state.allows(action), cell == "yes", "{state} {action}");
                assert_eq!(state.require(action).is_ok(), cell == "yes", "{state} {action}");
            }
            rows += 1;
        }
        assert_eq!(rows, MemberState::ALL.len());
    }

    #[test]
    fn a_refusal_names_state_and_action_in_both_languages() {
        let problem = MemberState::Frozen
            .require(MemberAction::Burn)
            .unwrap_err()
            .problem();
        assert_eq!((problem.code, problem.status), ("members.state_blocks", 409));
        assert!(
            problem.en.contains("frozen") && problem.en.contains("spend"),
            "{}",
            problem.en
        );
        assert!(
            problem.zh.contains("已冻结") && problem.zh.contains("消费抵扣"),
            "{}",
            problem.zh
        );
    }
}
