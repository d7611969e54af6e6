//! One attempt to send an event to a sink.

use crate::receiver::{
    journal::Pending,
    sink::{
        destination::Destination,
        failure::Failure,
        http::{self, Clients},
    },
};

/// The result of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// The sink's event types or its filter exclude the event.
    Unwanted,
    Delivered,
    Failed(Failure),
}

/// Sends `event`, if the sink wants it.
pub(super) async fn attempt(clients: &Clients, destination: &Destination, event: &Pending) -> Attempt {
    match destination.wants(event) {
        Ok(false) => Attempt::Unwanted,
        Ok(true) => match http::deliver(clients, destination, event).await {
            Ok(()) => Attempt::Delivered,
            Err(failure) => Attempt::Failed(failure),
        },
        Err(failure) => Attempt::Failed(failure),
    }
}
