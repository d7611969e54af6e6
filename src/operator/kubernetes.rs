//! Everything that talks about Kubernetes in general: the API client, server-side apply, object keys, names, annotations,
//! conditions, Events, and the Gateway API's types. Knows none of our controllers.

pub mod annotations;
pub mod apply;
pub mod client;
pub mod conditions;
pub mod gateway;
pub mod names;
pub mod object_key;
