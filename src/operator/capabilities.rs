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

    /// As the connection shows it.
    #[must_use]
    pub fn status(&self) -> CapabilityStatus {
        self.0
    }

    #[must_use]
    pub fn lacks_list(&self) -> bool {
        self.0.list == Capability::Unsupported
    }

    #[must_use]
    pub fn has_get(&self) -> bool {
        self.0.get == Capability::Supported
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
