//! Renders what a webhook's spec asks for: the receiver's objects, its exposure, and the route.

pub mod children;
pub mod exposure;
pub mod route;
