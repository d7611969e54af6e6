//! Which calls this Linktree offers. Only registration is documented; the rest is found out by using it, and what is not
//! there degrades with a reason of its own.

use crate::api::connection::{Capability, CapabilityStatus};

/// A call to Linktree, by the name it has in metrics.
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

/// What was found out so far.
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
    pub fn set(&mut self, call: Call, found: Capability) {
        let Capabilities(status) = self;
        match call {
            // Without these two there would be nothing to find out about.
            Call::Account | Call::Create => {}
            Call::List => status.list = found,
            Call::Get => status.get = found,
            Call::Update => status.update = found,
            Call::Reenable => status.reenable = found,
            Call::Delete => status.delete = found,
            Call::RotateSecret => status.rotate_secret = found,
        }
    }

    /// What was found to be missing may have come since.
    pub fn reconsider(&mut self) {
        let CapabilityStatus { list, get, update, reenable, delete, rotate_secret } = &mut self.0;
        for found in [list, get, update, reenable, delete, rotate_secret] {
            if *found == Capability::Unsupported {
                *found = Capability::Unknown;
            }
        }
    }

    /// As the connection shows it, which showed `before`: that a call is offered stays known, also to a process that has not
    /// made it yet.
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

    #[must_use]
    pub fn lacks_list(&self) -> bool {
        self.0.list == Capability::Unsupported
    }

    #[must_use]
    pub fn has_get(&self) -> bool {
        self.0.get == Capability::Supported
    }

    /// Whether a 404 to this call speaks of the subscription: only of a Linktree that has shown that it knows the call, or
    /// that its subscriptions can be looked at.
    #[must_use]
    pub fn tells_what_is_absent(&self, call: Call) -> bool {
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
    fn a_404_speaks_of_the_subscription_only_where_the_call_is_known() {
        let shown = |call| {
            let mut capabilities = Capabilities::default();
            capabilities.set(call, Capability::Supported);
            capabilities
        };
        assert!(!Capabilities::default().tells_what_is_absent(Call::Delete));
        for call in [Call::List, Call::Get, Call::Delete] {
            assert!(shown(call).tells_what_is_absent(Call::Delete), "{call:?}");
        }
        assert!(!shown(Call::RotateSecret).tells_what_is_absent(Call::Delete));
    }

    #[test]
    fn that_a_call_is_offered_stays_known_to_the_next_process() {
        use Capability::{Supported, Unknown, Unsupported};
        for (known, before, shown) in [
            (Unknown, Supported, Supported),
            (Unknown, Unsupported, Unknown),
            (Unknown, Unknown, Unknown),
            (Unsupported, Supported, Unsupported),
            (Supported, Unsupported, Supported),
        ] {
            let (mut now, mut earlier) = (Capabilities::default(), Capabilities::default());
            now.set(Call::Delete, known);
            earlier.set(Call::Delete, before);
            assert_eq!(now.status(Some(earlier.status(None))).delete, shown, "{known:?} after {before:?}");
        }
    }
}
