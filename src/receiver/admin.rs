//! The receiver's part of the admin port: `/status` and `/journal`, both behind the route's admin token.

mod auth;
pub mod journal;
pub mod status;
