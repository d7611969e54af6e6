//! Capabilities: the calls that this Linktree's API supports. Only registration is documented; support for the others
//! is detected by using them. An unsupported call disables one feature, which a condition reports with its own reason.

use crate::api::connection::{Capability, CapabilityStatus};

/// A kind of call to Linktree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Account,
    List,
    Get,
    Create,
    Update,
    Reenable,
    Delete,
    RotateSecret,
}

impl Call {
    /// The call's label value in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Call::Account => "account",
            Call::List => "list",
            Call::Get => "get",
            Call::Create => "create",
            Call::Update => "update",
            Call::Reenable => "reenable",
            Call::Delete => "delete",
            Call::RotateSecret => "rotate_secret",
        }
    }
}

/// Per call: supported, unsupported, or not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities(CapabilityStatus);

impl Default for Capabilities {
    fn default() -> Self {
        let unknown = Capability::Unknown;
        Capabilities(CapabilityStatus {
            list: unknown,
            get: unknown,
            update: unknown,
            reenable: unknown,
            delete: unknown,
            rotate_secret: unknown,
        })
    }
}

impl Capabilities {
    /// Records whether a call is supported.
    pub fn set(&mut self, call: Call, found: Capability) {
        let Capabilities(status) = self;
        match call {
            // No capability is recorded for these two: without them the operator cannot work at all.
            Call::Account | Call::Create => {}
            Call::List => status.list = found,
            Call::Get => status.get = found,
            Call::Update => status.update = found,
            Call::Reenable => status.reenable = found,
            Call::Delete => status.delete = found,
            Call::RotateSecret => status.rotate_secret = found,
        }
    }

    /// Resets unsupported calls to unknown, so that they are tried again.
    pub fn reset_unsupported(&mut self) {
        let CapabilityStatus { list, get, update, reenable, delete, rotate_secret } = &mut self.0;
        for found in [list, get, update, reenable, delete, rotate_secret] {
            if *found == Capability::Unsupported {
                *found = Capability::Unknown;
            }
        }
    }

    /// The capabilities for the connection's status, given those that the status has now (`before`). A call that the
    /// status shows as supported stays so after a restart, until the new process has made it.
    #[must_use]
    pub fn status(&self, before: Option<CapabilityStatus>) -> CapabilityStatus {
        let Some(before) = before else { return self.0 };
        let after = |known: Capability, before: Capability| match (known, before) {
            (Capability::Unknown, Capability::Supported) => Capability::Supported,
            (known, _) => known,
        };
        let CapabilityStatus { list, get, update, reenable, delete, rotate_secret } = self.0;
        CapabilityStatus {
            list: after(list, before.list),
            get: after(get, before.get),
            update: after(update, before.update),
            reenable: after(reenable, before.reenable),
            delete: after(delete, before.delete),
            rotate_secret: after(rotate_secret, before.rotate_secret),
        }
    }

    /// Whether Linktree is known to have no list call.
    #[must_use]
    pub fn lacks_list(&self) -> bool {
        self.0.list == Capability::Unsupported
    }

    /// Whether Linktree is known to support GET by id.
    #[must_use]
    pub fn has_get(&self) -> bool {
        self.0.get == Capability::Supported
    }

    /// Whether a 404 to this call means that the subscription does not exist: only if the call itself, list or GET is
    /// known to be supported. Otherwise Linktree may lack the endpoint.
    #[must_use]
    pub fn trusts_not_found(&self, call: Call) -> bool {
        let CapabilityStatus { list, get, update, reenable, delete, rotate_secret } = self.0;
        let own = match call {
            Call::Account | Call::Create | Call::List => list,
            Call::Get => get,
            Call::Update => update,
            Call::Reenable => reenable,
            Call::Delete => delete,
            Call::RotateSecret => rotate_secret,
        };
        [list, get, own].contains(&Capability::Supported)
    }

    #[must_use]
    pub fn lacks_delete(&self) -> bool {
        self.0.delete == Capability::Unsupported
    }

    #[must_use]
    pub fn lacks_update(&self) -> bool {
        self.0.update == Capability::Unsupported
    }

    #[must_use]
    pub fn lacks_reenable(&self) -> bool {
        self.0.reenable == Capability::Unsupported
    }

    #[must_use]
    pub fn lacks_rotation(&self) -> bool {
        self.0.rotate_secret == Capability::Unsupported
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_404_means_a_missing_subscription_only_if_the_call_is_supported() {
        let supporting = |call| {
            let mut capabilities = Capabilities::default();
            capabilities.set(call, Capability::Supported);
            capabilities
        };
        assert!(!Capabilities::default().trusts_not_found(Call::Delete));
        for call in [Call::List, Call::Get, Call::Delete] {
            assert!(supporting(call).trusts_not_found(Call::Delete), "{call:?}");
        }
        assert!(!supporting(Call::RotateSecret).trusts_not_found(Call::Delete));
    }

    #[test]
    fn a_supported_call_stays_supported_after_a_restart() {
        use Capability::{Supported, Unknown, Unsupported};
        for (known, before, expected) in [
            (Unknown, Supported, Supported),
            (Unknown, Unsupported, Unknown),
            (Unknown, Unknown, Unknown),
            (Unsupported, Supported, Unsupported),
            (Supported, Unsupported, Supported),
        ] {
            let (mut now, mut earlier) = (Capabilities::default(), Capabilities::default());
            now.set(Call::Delete, known);
            earlier.set(Call::Delete, before);
            assert_eq!(now.status(Some(earlier.status(None))).delete, expected, "{known:?} after {before:?}");
        }
    }
}
