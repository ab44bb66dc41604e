//! Rules of this module: pure and synchronous.

pub(crate) mod api_client;
pub(crate) mod error;
pub(crate) mod invitation;
pub(crate) mod login_window;
pub(crate) mod operator;
pub(crate) mod password;
pub(crate) mod permissions;
pub(crate) mod role;
pub(crate) mod session;
pub(crate) mod shop;
pub(crate) mod signature;
pub(crate) mod totp;
