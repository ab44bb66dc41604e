//! Decisions about behaviour: pure, synchronous, told the time.

mod event;
mod properties;
mod settings;

pub(crate) use event::{EVENT_ID_CHARS, Filed, MOST_DURATION_MS, VISITOR_CHARS, file};
pub use event::{Event, EventName, Subject};
pub use properties::Properties;
pub(crate) use properties::clean_page;
pub use settings::{Settings, WithoutConsent, is_sampled};
