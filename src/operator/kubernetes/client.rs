//! The client of the API server.
//!
//! kube's own has no way to say how much memory a connection may keep; a start opens dozens of them. It is put together
//! from kube's parts, without what is of no use here: retries, and a span for each request.

use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_timeout::TimeoutConnector;
use hyper_util::{
    client::legacy::{Builder, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use kube::{
    Config,
    client::{Body, ClientBuilder, ConfigExt},
};
use tower::{BoxError, ServiceBuilder, util::BoxService};

/// So much is read at once, and kept by each connection for the next: what fits into one record of TLS.
const READ: usize = 16 * 1024;
/// A connection that nothing was asked on for so long is closed; at the latest when it is twice that.
const IDLE: Duration = Duration::from_secs(20);

/// What asks the API server.
pub type Ask = BoxService<Request<Body>, Response<Incoming>, BoxError>;

/// A client of the API server that `config` leads to. It waits for an answer as long as that takes, as a watch must, and
/// asks nothing again that was answered: every look is repeated anyway, and retries below it would only hide for minutes
/// what the status could say.
///
/// # Errors
/// When the configuration cannot be used, or leads through a proxy.
pub fn client(config: &Config) -> Result<ClientBuilder<Ask>, kube::Error> {
    if let Some(proxy) = &config.proxy_url {
        return Err(kube::Error::ProxyProtocolUnsupported { proxy_url: Box::new(proxy.clone()) });
    }
    let mut plain = HttpConnector::new();
    // What comes next speaks TLS where the url says so.
    plain.enforce_http(false);
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(plain)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_write_timeout(config.write_timeout);
    let http = Builder::new(TokioExecutor::new())
        .http1_max_buf_size(READ)
        .pool_idle_timeout(IDLE)
        .pool_timer(TokioTimer::new())
        .build(connector);
    let ask = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(ClientBuilder::new(BoxService::new(ask), config.default_namespace.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_refused_and_not_passed_by() {
        let mut config = Config::new("http://127.0.0.1:1".parse().unwrap());
        config.proxy_url = Some("http://proxy.example.com:3128".parse().unwrap());
        let refused = client(&config).map(drop).unwrap_err().to_string();
        assert!(refused.contains("proxy.example.com"), "{refused}");
    }
}
