//! Server-side apply of the operator's objects: the decision whether one must be written, and the write. A value that
//! the API server keeps is accepted, and objects of others are left alone. See docs/adr/0015.
//!
//! The decision is pure ([`standing`]); it serves every kind of object that the operator applies.

pub mod compare;
pub mod desired;
pub mod field_owners;
mod immutable;
pub mod live;
pub mod memory;
pub mod order;
pub mod ownership;
pub mod standing;
pub mod status_write;
mod write;

pub use self::{
    desired::Desired,
    order::in_order_kept,
    status_write::{apply_status, apply_status_as_seen, replace_status},
};
