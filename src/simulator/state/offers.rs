//! The calls that the simulated API supports. Only registration is documented, so a real Linktree may offer fewer than the
//! simulator.

use serde::{Deserialize, Serialize};

use super::rejection::Rejection;

/// The calls on webhooks that the API offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Offers {
    /// All calls of docs/linktree-openapi.yaml.
    #[default]
    All,
    /// Only the documented call: POST, with the id alone in the response.
    Register,
    /// POST, and GET of a webhook by its id.
    RegisterAndGet,
}

impl Offers {
    /// Rejects a call that is not offered, as a server without that path or method does.
    ///
    /// # Errors
    /// 404 or 405.
    pub fn check(self, method: &str, path: &str) -> Result<(), Rejection> {
        let id = path.strip_prefix("/v1/webhooks/").map(|rest| !rest.contains('/'));
        match (self, id, method) {
            (Offers::All, ..) | (_, None, "POST") | (Offers::RegisterAndGet, Some(true), "GET") => Ok(()),
            (Offers::Register | Offers::RegisterAndGet, None, _) | (Offers::RegisterAndGet, Some(true), _) => {
                Err(Rejection::MethodNotAllowed)
            }
            (Offers::Register, Some(_), _) | (Offers::RegisterAndGet, Some(false), _) => Err(Rejection::NotFound),
        }
    }

    /// Whether the response to a registration contains more than the documented id.
    #[must_use]
    pub fn returns_full_object(self) -> bool {
        match self {
            Offers::All | Offers::RegisterAndGet => true,
            Offers::Register => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_is_not_offered_is_rejected_with_404_or_405() {
        const CALLS: [(&str, &str); 6] = [
            ("POST", "/v1/webhooks"),
            ("GET", "/v1/webhooks"),
            ("GET", "/v1/webhooks/wh_1"),
            ("PATCH", "/v1/webhooks/wh_1"),
            ("DELETE", "/v1/webhooks/wh_1"),
            ("POST", "/v1/webhooks/wh_1/rotate-secret"),
        ];
        for (offers, statuses) in [
            (Offers::All, [0, 0, 0, 0, 0, 0]),
            (Offers::Register, [0, 405, 404, 404, 404, 404]),
            (Offers::RegisterAndGet, [0, 405, 0, 405, 405, 404]),
        ] {
            let status = |(method, path)| offers.check(method, path).err().map_or(0, |it| it.status().as_u16());
            assert_eq!(CALLS.map(status), statuses, "{offers:?}");
        }
    }
}
