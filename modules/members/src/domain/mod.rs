//! The rules of membership: pure, synchronous, without a clock.

pub(crate) mod card;
pub(crate) mod code;
pub(crate) mod consent;
pub(crate) mod identity;
pub(crate) mod lookup;
pub(crate) mod member;
pub(crate) mod merge;
pub(crate) mod personal;
pub(crate) mod phone;
pub(crate) mod profile;
pub(crate) mod reason;
pub(crate) mod registration;
pub(crate) mod state;
