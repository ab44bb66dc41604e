//! The use cases, one per file: authorize, load, ask the domain, save, record.

mod find;
mod register;
mod reveal_phone;
mod set_state;
mod states;

pub use register::Registration;
