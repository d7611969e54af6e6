//! The client of the API server: kube's own, with a timeout for every request.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use kube::{
    Config,
    client::{Body, ClientBuilder, DynBody},
};
use tower::{BoxError, Layer, Service, layer::layer_fn, util::BoxService};

use super::confidential::{is_about_secrets, without_contents};

/// Timeout of a GET or a list, including the response's body, and of a watch until the head of its response. A
/// reconciliation makes about a dozen requests.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Timeout of a write. The API server's own limit is 60 s, of which an admission webhook may take 30.
const WRITE_TIMEOUT: Duration = Duration::from_secs(65);

type Answer = Response<Box<DynBody>>;
/// kube's own stack of HTTP layers, under our timeout.
type KubeStack = BoxService<Request<Body>, Answer, BoxError>;

/// A builder of API clients on kube's own stack of layers: proxies, exec credentials, client certificates and token
/// files.
///
/// kube's retries of 429, 503 and 504 are off: every failed reconciliation is retried anyway, with a backoff, and
/// retries inside a request would hide for minutes a failure that the status can report.
///
/// # Errors
/// When `config` cannot be used.
pub fn builder(config: &Config) -> Result<ClientBuilder<Deadline<KubeStack>>, kube::Error> {
    let mut config = config.clone();
    config.default_retry = false;
    Ok(ClientBuilder::try_from(config)?.with_layer(&deadline()))
}

/// Error of a request that the API server did not answer within the timeout.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the API server did not answer within {} s", .0.as_secs())]
struct NoAnswer(Duration);

fn deadline<S>() -> impl Layer<S, Service = Deadline<S>> {
    layer_fn(Deadline)
}

/// Layer with a timeout for each request. The body of a watch has none here: kube's watcher bounds it.
#[derive(Debug)]
pub struct Deadline<S>(S);

impl<S> Service<Request<Body>> for Deadline<S>
where
    S: Service<Request<Body>, Response = Answer, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = Answer;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Answer, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let watch = is_watch(&request);
        let is_confidential = is_about_secrets(request.uri());
        let limit = if request.method().is_safe() { READ_TIMEOUT } else { WRITE_TIMEOUT };
        let answer = self.0.call(request);
        if watch { within(limit, answer).boxed() } else { within(limit, complete(answer, is_confidential)).boxed() }
    }
}

async fn within(limit: Duration, answer: impl Future<Output = Result<Answer, BoxError>>) -> Result<Answer, BoxError> {
    tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| Err(NoAnswer(limit).into()))
}

/// Waits for the response and its whole body, so that the timeout covers both. kube's client reads the body next in any
/// case. An error about a Secret is returned without what may quote the Secret.
async fn complete(
    answer: impl Future<Output = Result<Answer, BoxError>>,
    is_confidential: bool,
) -> Result<Answer, BoxError> {
    let (parts, body) = answer.await?.into_parts();
    let mut body = body.collect().await?.to_bytes();
    if is_confidential && !parts.status.is_success() {
        body = without_contents(parts.status, &body);
    }
    Ok(Response::from_parts(parts, Box::new(Full::new(body).map_err(BoxError::from))))
}

fn is_watch(request: &Request<Body>) -> bool {
    request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair == "watch=true"))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use futures::stream;
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{
        Api,
        config::{KubeConfigOptions, Kubeconfig},
    };
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };
    use tower::{ServiceExt, service_fn};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn request(method: &str, path: &str) -> Request<Body> {
        Request::builder().method(method).uri(path).body(Body::empty()).unwrap()
    }

    /// A body whose second frame never comes.
    fn stalled() -> Answer {
        let first = stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"{")))]);
        let body = StreamBody::new(futures::StreamExt::chain(first, stream::pending()));
        Response::new(Box::new(body.map_err(BoxError::from)))
    }

    #[tokio::test(start_paused = true)]
    async fn every_request_ends_at_its_timeout_and_a_watch_stays_open() {
        let silent = || service_fn(|_: Request<Body>| std::future::pending::<Result<Answer, BoxError>>());
        let stalling = || service_fn(|_: Request<Body>| async { Ok::<_, BoxError>(stalled()) });
        let watch = "/api/v1/secrets?resourceVersion=1&watch=true";
        let cases = [
            ("GET", "/api/v1/namespaces/a/secrets/b", 30),
            ("GET", "/api/v1/secrets?limit=25", 30),
            ("GET", "/api/v1/secrets?fieldSelector=watch%3Dtrue", 30),
            ("GET", watch, 30),
            ("PATCH", "/api/v1/namespaces/a/secrets/b", 65),
        ];
        for (method, path, seconds) in cases {
            let expected = format!("the API server did not answer within {seconds} s");
            let error = deadline().layer(silent()).oneshot(request(method, path)).await.map(drop).unwrap_err();
            assert_eq!(error.to_string(), expected, "{method} {path}, without a response");
            if path != watch {
                let error = deadline().layer(stalling()).oneshot(request(method, path)).await.map(drop).unwrap_err();
                assert_eq!(error.to_string(), expected, "{method} {path}, with a body that stalls");
            }
        }
        let answer = deadline().layer(stalling()).oneshot(request("GET", watch)).await.unwrap();
        let body = answer.into_body().collect();
        assert!(tokio::time::timeout(HOUR, body).await.is_err(), "a quiet watch must stay open");
    }

    #[tokio::test]
    async fn a_response_is_not_retried() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = Config::new(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap());
        let api: Api<ConfigMap> = Api::namespaced(builder(&config).unwrap().build(), "a");
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            head(&mut stream).await;
            let answer = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            // A retry would come on this connection, or on another one.
            tokio::select! {
                byte = stream.read_u8() => byte.is_ok(),
                another = listener.accept() => another.is_ok(),
            }
        });
        assert!(api.get("b").await.is_err());
        drop(api);
        assert!(!server.await.unwrap(), "a 503 was retried");
    }

    /// The head of the first request that arrives at `listener`.
    async fn first_head(listener: TcpListener) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await
    }

    async fn head(stream: &mut TcpStream) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    /// The head that reaches a loopback server if a client with `config` reads an object.
    async fn head_of(config: impl FnOnce(&str) -> Config) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let api: Api<ConfigMap> = Api::namespaced(builder(&config(&address)).unwrap().build(), "a");
        tokio::select! {
            head = first_head(listener) => head,
            read = api.get("b") => panic!("the request did not arrive: {read:?}"),
        }
    }

    #[tokio::test]
    async fn a_proxy_is_used() {
        let head = head_of(|address| {
            let mut config = Config::new("http://api.example.com:6443".parse().unwrap());
            config.proxy_url = Some(format!("http://user:p%40ss@{address}").parse().unwrap());
            config
        });
        let head = head.await;
        assert!(head.starts_with("CONNECT api.example.com:6443 HTTP/1.1\r\n"), "{head}");
        assert!(head.to_lowercase().contains("proxy-authorization: basic "), "{head}");
    }

    #[tokio::test]
    async fn credentials_of_an_exec_plugin_are_used() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let credential = r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"from-exec"}}"#;
        let kubeconfig = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
             clusters: [{{name: c, cluster: {{server: 'http://{address}'}}}}]\n\
             contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
             users: [{{name: u, user: {{exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, \
             command: echo, args: ['{credential}']}}}}}}]\n",
        );
        let kubeconfig = Kubeconfig::from_yaml(&kubeconfig).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        let api: Api<ConfigMap> = Api::namespaced(builder(&config).unwrap().build(), "a");
        let head = tokio::select! {
            head = first_head(listener) => head,
            read = api.get("b") => panic!("the request did not arrive: {read:?}"),
        };
        assert!(head.contains("authorization: Bearer from-exec\r\n"), "{head}");
    }
}
