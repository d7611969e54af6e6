//! Authorizes requests to the admin port by the route's admin token.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, header::AUTHORIZATION};

use crate::{
    linktree::secret::Secret,
    receiver::config::{Config, Current},
};

/// The route in use, if `header` carries its admin token.
///
/// # Errors
/// 503 while no route is in use, 401 for a wrong or missing token.
pub(super) fn authorize(config: &Current, header: &HeaderMap) -> Result<Arc<Config>, StatusCode> {
    let config = config.borrow().clone().ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
    if authorized(header, &config.route.admin_token) { Ok(config) } else { Err(StatusCode::UNAUTHORIZED) }
}

/// Whether the bearer token is `token`, compared in constant time. An empty token authorizes no request.
fn authorized(header: &HeaderMap, token: &Secret) -> bool {
    let given = header.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    !token.is_empty() && given.is_some_and(|given| Secret::new(given) == *token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_authorizes_and_an_empty_token_authorizes_no_request() {
        let header = |value: &str| HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]);
        assert!(authorized(&header("Bearer t0ken"), &Secret::new("t0ken")));
        for wrong in ["Bearer t0ke", "Bearer t0kenn", "t0ken", "Basic t0ken", "Bearer "] {
            assert!(!authorized(&header(wrong), &Secret::new("t0ken")), "{wrong}");
        }
        assert!(!authorized(&HeaderMap::new(), &Secret::new("t0ken")));
        assert!(!authorized(&header("Bearer "), &Secret::new("")));
    }
}
