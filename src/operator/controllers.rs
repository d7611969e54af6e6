//! The controllers of the operator: one set per scope, which is all namespaces or one named namespace.

pub mod scope;
