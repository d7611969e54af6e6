//! A sink as a route defines it, with its filter and template compiled. No IO.

use http::HeaderValue;

use super::{cloudevent, excerpt::Redactor, failure::Failure};
use crate::{
    receiver::journal::Pending,
    route::{
        Format, RouteError, Sink, SinkUrl, WebhookName,
        credentials::{self, SigningKey},
        filter::Filter,
        success::SuccessCondition,
        template::Template,
    },
};

/// A sink that is ready to send to.
#[derive(Debug)]
pub struct Destination {
    pub sink: Sink,
    /// `Debug` shows no credential in it.
    pub url: SinkUrl,
    filter: Option<Filter>,
    pub(super) success: Option<SuccessCondition>,
    pub(super) authorization: Option<HeaderValue>,
    pub(super) signing_key: Option<SigningKey>,
    pub(super) webhook: WebhookName,
    pub(super) redactor: Redactor,
    pub(super) form: Form,
}

/// The format of the requests, with its template compiled.
#[derive(Debug)]
pub(super) enum Form {
    CloudEvent,
    CloudEventStructured,
    Raw,
    Template(Box<Template>),
}

impl Destination {
    /// Compiles a sink; `None` if its address is unknown, or a credential cannot be used: the operator reports it, and the
    /// sink's events wait.
    ///
    /// # Errors
    /// If its template, its filter or its success condition does not compile.
    pub fn new(webhook: &WebhookName, sink: &Sink) -> Result<Option<Self>, RouteError> {
        let unusable = |problem| RouteError::Sink { name: sink.name.clone(), problem };
        let filter = sink.filter.as_deref().map(Filter::compile).transpose();
        let filter = filter.map_err(|problem| unusable(format!("filter {problem}")))?;
        let success = sink.success_condition.as_deref().map(SuccessCondition::compile).transpose();
        let success = success.map_err(|problem| unusable(format!("successCondition {problem}")))?;
        let form = match &sink.format {
            Format::CloudEvent => Form::CloudEvent,
            Format::CloudEventStructured => Form::CloudEventStructured,
            Format::Raw => Form::Raw,
            Format::Template(source) => {
                let template = Template::compile(source).map_err(|error| unusable(format!("template.{error}")))?;
                Form::Template(Box::new(template))
            }
        };
        let Some(url) = sink.url.clone() else { return Ok(None) };
        let authorization = sink.bearer.as_ref().map(credentials::authorization).transpose();
        let signing_key = sink.signing_secret.as_ref().map(SigningKey::parse).transpose();
        let (Ok(authorization), Ok(signing_key)) = (authorization, signing_key) else { return Ok(None) };
        Ok(Some(Destination {
            sink: sink.clone(),
            url,
            filter,
            success,
            authorization,
            signing_key,
            webhook: webhook.clone(),
            redactor: Redactor::new(sink),
            form,
        }))
    }

    /// Whether the sink accepts `event` by its event types and filter.
    ///
    /// # Errors
    /// [`Failure::Unfit`], if the filter fails on the event.
    pub fn wants(&self, event: &Pending) -> Result<bool, Failure> {
        if !self.sink.wants(&event.event_type) {
            return Ok(false);
        }
        let Some(filter) = &self.filter else { return Ok(true) };
        let wants = cloudevent::view(event).and_then(|view| filter.wants(&view));
        wants.map_err(|problem| Failure::Unfit { problem })
    }
}
