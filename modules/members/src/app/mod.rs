//! The use cases, one per file: authorize, load, ask the domain, save, record.

mod birthdays;
mod card_codes;
mod consents;
mod erase;
mod export;
mod find;
mod merge;
mod profile;
mod register;
mod reveal;
mod rotate_keys;
mod search;
mod set_state;
mod states;

pub use card_codes::{CardCode, CardKey};
pub use consents::{Agreement, NewAgreement};
pub use merge::MergePreview;
pub use profile::{ChangeProfile, ProfileView};
pub use register::Registration;
pub use search::Search;
