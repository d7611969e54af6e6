//! Sends one event to one sink, once. Whether and when it is tried again is [`super::retry`]'s to say.

use std::{fmt, net::IpAddr, time::Duration};

use url::Url;

use self::egress::Denied;
use super::{cloudevent, journal::Pending};
use crate::route::{Format, RouteError, Sink, WebhookName, filter::Filter, template::Template};

pub mod egress;
pub mod http;
pub mod message;
mod resolver;
pub mod signature;

/// A sink, ready to be sent to.
#[derive(Debug)]
pub struct Destination {
    pub sink: Sink,
    pub url: Url,
    filter: Option<Filter>,
    webhook: WebhookName,
    form: Form,
}

/// The form of the requests, with its template compiled.
#[derive(Debug)]
enum Form {
    CloudEvent,
    CloudEventStructured,
    Raw,
    Template(Box<Template>),
}

impl Destination {
    /// Makes a sink ready; `None` if it is not known where it is.
    ///
    /// # Errors
    /// When its template or its filter does not compile.
    pub fn new(webhook: &WebhookName, sink: &Sink) -> Result<Option<Self>, RouteError> {
        let unusable = |problem| RouteError::Sink { name: sink.name.clone(), problem };
        let filter = sink.filter.as_deref().map(Filter::compile).transpose();
        let filter = filter.map_err(|problem| unusable(format!("filter {problem}")))?;
        let form = match &sink.format {
            Format::CloudEvent => Form::CloudEvent,
            Format::CloudEventStructured => Form::CloudEventStructured,
            Format::Raw => Form::Raw,
            Format::Template(source) => {
                let template = Template::compile(source).map_err(|error| unusable(format!("template.{error}")))?;
                Form::Template(Box::new(template))
            }
        };
        let Some(url) = sink.url.as_ref().map(|url| url.expose().clone()) else { return Ok(None) };
        Ok(Some(Destination { sink: sink.clone(), url, filter, webhook: webhook.clone(), form }))
    }

    /// Whether the sink wants `event`.
    ///
    /// # Errors
    /// [`Failure::Unfit`], when its filter cannot say.
    pub fn wants(&self, event: &Pending) -> Result<bool, Failure> {
        if !self.sink.wants(&event.event_type) {
            return Ok(false);
        }
        let Some(filter) = &self.filter else { return Ok(true) };
        let wants = cloudevent::view(event).and_then(|view| filter.wants(&view));
        wants.map_err(|problem| Failure::Unfit { problem })
    }
}

/// Why a sink did not take an event. Holds nothing the sink answered but the status and its `Retry-After`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It answered, but not with 2xx.
    Status { code: u16, retry_after: Option<Duration> },
    /// It did not answer in time.
    TimedOut,
    /// There was no connection, or it broke.
    Unreachable,
    /// It was not asked: its address is one that events must not be sent to.
    Forbidden { address: IpAddr },
    /// It was not asked: the event cannot be brought into the form it wants. Without any value of the event.
    Unfit { problem: String },
}

impl Failure {
    /// Whether it says something about the sink, not about the event alone.
    #[must_use]
    pub fn is_the_sinks(&self) -> bool {
        match self {
            Failure::Status { .. } | Failure::TimedOut | Failure::Unreachable | Failure::Forbidden { .. } => true,
            Failure::Unfit { .. } => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Status { code, .. } => write!(f, "answered {code}"),
            Failure::TimedOut => f.write_str("did not answer in time"),
            Failure::Unreachable => f.write_str("could not be reached"),
            Failure::Forbidden { address } => write!(f, "was not asked: {}", Denied { address: *address }),
            Failure::Unfit { problem } => write!(f, "was not asked: {problem}"),
        }
    }
}
