//! What every crate of Huika shares: typed ids, money, rates, time, chance and problem codes.
//!
//! Nothing here performs I/O and nothing here knows a business word. Value types have checked
//! arithmetic only; there are no floats. Time and chance are handles that the composition root makes
//! and passes down: no other crate may read the wall clock or the system's randomness (clippy.toml).

mod access;
mod allocate;
mod chain;
mod clock;
mod id;
mod idempotency;
mod language;
mod money;
mod problem;
mod rate;
mod rng;
mod secret;
mod time;

pub use access::{Actor, ActorKind, Denied, OPERATOR_PREFIX, Permission, StoreScope};
pub use allocate::allocate;
pub use chain::Chain;
pub use clock::{Clock, Stopwatch};
pub use id::{Id, IdGenerator, IdKind, MAX_NODE, MemberId, MemberKind, ParseIdError};
pub use idempotency::{IdempotencyKey, InvalidIdempotencyKey};
pub use language::{Bilingual, Language};
pub use money::{Currency, Money, Overflow};
pub use problem::{FieldProblem, Problem, ProblemKind, Refusal};
pub use rate::{Rate, Rounding};
pub use rng::Rng;
pub use secret::{BlindIndex, CannotOpen, DataKey, InvalidKeyring, Keyring, mac};
pub use time::{BusinessDate, Calendar, InvalidTime, Timestamp};
