//! Who acts, what they may do and where. A use case authorizes its actor before anything else.

use std::{collections::BTreeSet, fmt, sync::Arc};

use crate::{IdKind, MemberKind, Problem, ProblemKind, Refusal};

/// The right to do one kind of thing, `area.verb`. Declared as constants by the module that asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Permission {
    /// The stable name, for example `orders.record`.
    pub name: &'static str,
    /// What it allows, in English.
    pub en: &'static str,
    /// What it allows, in Chinese.
    pub zh: &'static str,
}

/// The prefix of the ids of operators.
pub const OPERATOR_PREFIX: &str = "opr";

const SYSTEM_PREFIX: &str = "system:";

/// What kind of actor asks for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActorKind {
    /// A person who works for the merchant.
    Operator,
    /// A program of the merchant.
    ApiClient,
    /// A member, for themselves.
    Member,
    /// Huika itself.
    System,
}

impl ActorKind {
    /// The kind that an id shows by its prefix. What has no prefix of ours is a connected program.
    fn of(id: &str) -> Self {
        let begins = |prefix: &str| id.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('_'));
        if id.starts_with(SYSTEM_PREFIX) {
            Self::System
        } else if begins(OPERATOR_PREFIX) {
            Self::Operator
        } else if begins(MemberKind::PREFIX) {
            Self::Member
        } else {
            Self::ApiClient
        }
    }
}

/// In which stores an actor may act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreScope {
    /// Everywhere, also on what belongs to no store.
    All,
    /// Only in these, by their codes.
    Stores(Arc<BTreeSet<String>>),
}

impl StoreScope {
    /// Only some stores; none of them is nowhere.
    pub fn only(codes: impl IntoIterator<Item = String>) -> Self {
        Self::Stores(Arc::new(codes.into_iter().collect()))
    }

    /// Whether it holds a store. What belongs to no store belongs to all of them together.
    pub fn holds(&self, store: Option<&str>) -> bool {
        match self {
            Self::All => true,
            Self::Stores(codes) => store.is_some_and(|code| codes.contains(code)),
        }
    }

    /// Whether everything that another scope holds is held by this one too.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Stores(_), Self::All) => false,
            (Self::Stores(own), Self::Stores(others)) => others.is_subset(own),
        }
    }

    /// The codes in order; absent where every store is meant.
    pub fn codes(&self) -> Option<impl Iterator<Item = &str>> {
        match self {
            Self::All => None,
            Self::Stores(codes) => Some(codes.iter().map(String::as_str)),
        }
    }
}

/// Who asks for something: an operator, an API client, a member or Huika itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    id: Arc<str>,
    kind: ActorKind,
    rights: Rights,
    scope: StoreScope,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rights {
    All,
    Named(Arc<BTreeSet<String>>),
}

impl Actor {
    fn new(id: String, rights: Rights) -> Self {
        Self {
            kind: ActorKind::of(&id),
            id: id.into(),
            rights,
            scope: StoreScope::All,
        }
    }

    /// Huika itself: jobs, imports and commands of the person at the machine.
    pub fn system(purpose: &str) -> Self {
        Self::new(format!("{SYSTEM_PREFIX}{purpose}"), Rights::All)
    }

    /// Somebody who may do everything, such as the owner.
    pub fn with_all_rights(id: impl fmt::Display) -> Self {
        Self::new(id.to_string(), Rights::All)
    }

    /// Somebody who may do what is listed, by the names of permissions.
    pub fn with_rights(id: impl fmt::Display, names: impl IntoIterator<Item = String>) -> Self {
        Self::new(
            id.to_string(),
            Rights::Named(Arc::new(names.into_iter().collect())),
        )
    }

    /// The same actor with another scope.
    #[must_use]
    pub fn within(mut self, scope: StoreScope) -> Self {
        self.scope = scope;
        self
    }

    /// The actor in the audit log and beside postings: an id with its prefix.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What kind of actor this is, as the prefix of its id says.
    pub fn kind(&self) -> ActorKind {
        self.kind
    }

    /// In which stores the actor may act.
    pub fn scope(&self) -> &StoreScope {
        &self.scope
    }

    /// Whether a person acts by hand, and neither a connected system nor Huika itself: what an operator does to
    /// value is audited.
    pub fn is_operator(&self) -> bool {
        self.kind == ActorKind::Operator
    }

    /// Whether the actor may do everything everywhere, as owners may.
    pub fn has_all_rights(&self) -> bool {
        self.rights == Rights::All && self.scope == StoreScope::All
    }

    /// Lets the actor pass or refuses.
    ///
    /// # Errors
    /// When the actor does not have the permission.
    pub fn authorize(&self, permission: &Permission) -> Result<(), Denied> {
        self.authorize_named(permission.name)
    }

    /// As [`Actor::authorize`], for a permission of which only the name is at hand.
    ///
    /// # Errors
    /// When the actor does not have the permission.
    pub fn authorize_named(&self, permission: &str) -> Result<(), Denied> {
        match &self.rights {
            Rights::All => Ok(()),
            Rights::Named(names) if names.contains(permission) => Ok(()),
            Rights::Named(_) => Err(Denied::Permission {
                permission: permission.to_owned(),
            }),
        }
    }

    /// Lets the actor pass on something that belongs to a store, or refuses. What belongs to no store is for those
    /// alone who may act everywhere.
    ///
    /// # Errors
    /// When the actor does not have the permission, or not there.
    pub fn authorize_in(&self, permission: &Permission, store: Option<&str>) -> Result<(), Denied> {
        self.authorize(permission)?;
        if self.scope.holds(store) {
            return Ok(());
        }
        Err(Denied::Store {
            store: store.unwrap_or("-").to_owned(),
        })
    }
}

/// The actor lacks a permission, or may not use it there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The permission that was asked for.
    #[error("the permission {permission} is needed")]
    Permission {
        /// Its name.
        permission: String,
    },
    /// The store lies outside the actor's scope.
    #[error("the store {store} lies outside the scope")]
    Store {
        /// Its code; `-` for what belongs to no store.
        store: String,
    },
}

impl Denied {
    /// Every kind of problem that this file adds.
    pub const KINDS: &'static [ProblemKind] = &[
        ProblemKind {
            code: "access.denied",
            status: 403,
            en: "You need the permission {permission}: ask the owner to grant it.",
            zh: "缺少权限 {permission}，请联系店主授权。",
        },
        ProblemKind {
            code: "access.store_denied",
            status: 403,
            en: "You may act in your own stores only, and this belongs to {store}: name one of yours, or ask the owner to add the store to your scope.",
            zh: "仅可操作您所属门店的数据，当前门店为 {store}，请改选所属门店或联系店主开通。",
        },
    ];
}

impl Refusal for Denied {
    fn problem(&self) -> Problem {
        let (kind, name, value) = match self {
            Self::Permission { permission } => (&Self::KINDS[0], "permission", permission),
            Self::Store { store } => (&Self::KINDS[1], "store", store),
        };
        let fill = |text: &str| text.replace(&format!("{{{name}}}"), value);
        Problem {
            en: fill(kind.en),
            zh: fill(kind.zh),
            params: vec![(name, value.clone())],
            ..Problem::new(kind)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Permission = Permission {
        name: "cups.read",
        en: "See cups",
        zh: "查看杯子",
    };

    fn stores(codes: &[&str]) -> StoreScope {
        StoreScope::only(codes.iter().map(|code| (*code).to_owned()))
    }

    #[test]
    fn the_prefix_of_an_id_tells_the_kind() {
        for (id, kind) in [
            ("opr_01", ActorKind::Operator),
            ("operator", ActorKind::ApiClient),
            ("apc_01", ActorKind::ApiClient),
            ("mbr_01", ActorKind::Member),
        ] {
            assert_eq!(Actor::with_all_rights(id).kind(), kind, "{id}");
        }
        assert_eq!(Actor::system("test").kind(), ActorKind::System);
    }

    #[test]
    fn an_actor_acts_where_right_and_scope_both_reach() {
        let all = Actor::with_rights("opr_1", ["cups.read".to_owned()]);
        let one = all.clone().within(stores(&["jingan"]));
        let nowhere = all.clone().within(stores(&[]));
        let without = Actor::with_rights("opr_2", []).within(stores(&["jingan"]));
        // actor, store, code of the refusal
        for (actor, store, refused) in [
            (&all, Some("jingan"), ""),
            (&all, None, ""),
            (&one, Some("jingan"), ""),
            (&one, Some("pudong"), "access.store_denied"),
            (&one, None, "access.store_denied"),
            (&nowhere, Some("jingan"), "access.store_denied"),
            (&without, Some("jingan"), "access.denied"),
        ] {
            let answer = actor.authorize_in(&READ, store);
            let code = answer.map_or_else(|denied| denied.problem().code, |()| "");
            assert_eq!(code, refused, "{actor:?} in {store:?}");
        }
        let problem = one.authorize_in(&READ, Some("pudong")).unwrap_err().problem();
        assert!(problem.en.contains("pudong") && problem.zh.contains("pudong"));
    }

    #[test]
    fn a_scope_covers_what_lies_within_it() {
        let (both, one) = (stores(&["jingan", "pudong"]), stores(&["jingan"]));
        assert!(StoreScope::All.covers(&both) && both.covers(&one) && one.covers(&stores(&[])));
        assert!(!one.covers(&both) && !both.covers(&StoreScope::All));
        assert!(Actor::with_all_rights("opr_1").has_all_rights());
        assert!(!Actor::with_all_rights("opr_1").within(both).has_all_rights());
    }
}
