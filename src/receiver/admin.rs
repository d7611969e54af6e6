//! The receiver's part of the admin port: `/status`, `/journal` and `/redrive`, all behind the route's admin token.

mod auth;
pub mod journal;
pub mod redrive;
pub mod status;
