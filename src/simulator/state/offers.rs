//! Which calls there are. Only registration is documented, so a real Linktree may have fewer than the simulator does.

use serde::{Deserialize, Serialize};

use super::refusal::Refusal;

/// The calls on webhooks that are offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Offers {
    /// All that docs/linktree-openapi.yaml has.
    #[default]
    All,
    /// What is documented and no more: POST, which answers the id alone.
    Register,
    /// POST, and GET of one webhook by its id.
    RegisterAndGet,
}

impl Offers {
    /// How a call is refused that is not offered: as by a server that has no such path, or no such method at it.
    ///
    /// # Errors
    /// 404 or 405.
    pub fn check(self, method: &str, path: &str) -> Result<(), Refusal> {
        let id = path.strip_prefix("/v1/webhooks/").map(|rest| !rest.contains('/'));
        match (self, id, method) {
            (Offers::All, ..) | (_, None, "POST") | (Offers::RegisterAndGet, Some(true), "GET") => Ok(()),
            (Offers::Register | Offers::RegisterAndGet, None, _) | (Offers::RegisterAndGet, Some(true), _) => {
                Err(Refusal::MethodNotAllowed)
            }
            (Offers::Register, Some(_), _) | (Offers::RegisterAndGet, Some(false), _) => Err(Refusal::NotFound),
        }
    }

    /// Whether an answer holds more than the documented id.
    #[must_use]
    pub fn tells_more_than_the_id(self) -> bool {
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
    fn what_is_not_offered_is_refused_as_by_a_server_that_does_not_know_it() {
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
