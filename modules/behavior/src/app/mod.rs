//! The use cases, one per file: authorize, load, ask the domain, save, record.

mod configure;
mod record;
mod retain;
mod views;

pub(crate) use record::Recording;
pub use record::{
    BusinessCalendar, ConsentSource, EarningNames, NobodyConsents, NothingEarns, Taken, Visitor,
};
pub use views::{CountView, EventView};
