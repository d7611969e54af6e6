//! Kubernetes code that depends on no controller: the API client, server-side apply, object keys, names, annotations,
//! conditions, Events, and the Gateway API's types.

pub mod annotations;
pub mod apply;
pub mod claim;
pub mod client;
pub mod conditions;
mod confidential;
pub mod digest;
pub mod error;
pub mod events;
pub mod field_manager;
pub mod gateway;
pub mod guarded;
pub mod metadata;
pub mod names;
pub mod object_key;
pub mod secret_value;
