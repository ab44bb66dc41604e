//! Who acts and what they may do. A use case authorizes its actor before anything else.

use std::{collections::BTreeSet, fmt, sync::Arc};

use crate::{Problem, ProblemKind, Refusal};

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

/// Who asks for something: an operator, an API client, a member or Huika itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    id: Arc<str>,
    rights: Rights,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rights {
    All,
    Named(Arc<BTreeSet<String>>),
}

impl Actor {
    /// Huika itself: jobs, imports and commands of the person at the machine.
    pub fn system(purpose: &str) -> Self {
        Self {
            id: format!("system:{purpose}").into(),
            rights: Rights::All,
        }
    }

    /// Somebody who may do everything, such as the owner.
    pub fn with_all_rights(id: impl fmt::Display) -> Self {
        Self {
            id: id.to_string().into(),
            rights: Rights::All,
        }
    }

    /// Somebody who may do what is listed, by the names of permissions.
    pub fn with_rights(id: impl fmt::Display, names: impl IntoIterator<Item = String>) -> Self {
        Self {
            id: id.to_string().into(),
            rights: Rights::Named(Arc::new(names.into_iter().collect())),
        }
    }

    /// The actor in the audit log and beside postings: an id with its prefix.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether a person acts by hand, and neither a connected system nor Huika itself: what an operator does to
    /// value is audited.
    pub fn is_operator(&self) -> bool {
        self.id
            .strip_prefix(OPERATOR_PREFIX)
            .is_some_and(|rest| rest.starts_with('_'))
    }

    /// Lets the actor pass or refuses.
    ///
    /// # Errors
    /// When the actor does not have the permission.
    pub fn authorize(&self, permission: &Permission) -> Result<(), Denied> {
        match &self.rights {
            Rights::All => Ok(()),
            Rights::Named(names) if names.contains(permission.name) => Ok(()),
            Rights::Named(_) => Err(Denied {
                permission: permission.name,
            }),
        }
    }
}

/// The actor lacks a permission.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the permission {permission} is needed")]
pub struct Denied {
    /// The permission that was asked for.
    pub permission: &'static str,
}

impl Denied {
    /// Every kind of problem that this file adds.
    pub const KINDS: &'static [ProblemKind] = &[ProblemKind {
        code: "access.denied",
        status: 403,
        en: "You need the permission {permission}: ask the owner to grant it.",
        zh: "缺少权限 {permission}，请联系店主授权。",
    }];
}

impl Refusal for Denied {
    fn problem(&self) -> Problem {
        let kind = &Self::KINDS[0];
        let fill = |text: &str| text.replace("{permission}", self.permission);
        Problem {
            en: fill(kind.en),
            zh: fill(kind.zh),
            params: vec![("permission", self.permission.to_owned())],
            ..Problem::new(kind)
        }
    }
}
