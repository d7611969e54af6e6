//! Condition types and reasons: one reason per distinct remedy. `docs/conditions.md` documents each;
//! `tests/tidy/conditions.rs` checks that it does.

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_doc])* $variant),* }

        impl $name {
            /// Every variant, in order of declaration.
            pub const ALL: &[$name] = &[$($name::$variant),*];

            /// The name as it appears in a condition.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => stringify!($variant)),* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// The type of a condition.
    ConditionType {
        /// Webhook: a signed event sent now would be accepted and stored. Connection: the API can be used.
        Ready,
        /// Connection: Linktree accepts the token.
        TokenAccepted,
        /// Connection: the request budget is not exhausted.
        QuotaAvailable,
        /// The webhook's `LinktreeConnection` is ready.
        ConnectionReady,
        /// Linktree has a subscription for the webhook's url.
        Registered,
        /// The subscription's url and events match the spec.
        UpToDate,
        /// Linktree sends to the subscription.
        SubscriptionEnabled,
        /// The receiver has at least one signing key.
        SigningKeysReady,
        /// The receiver's pod runs and can store deliveries.
        ReceiverAvailable,
        /// A request to the registered url reaches the receiver.
        EndpointReachable,
        /// Incoming deliveries are signed with a key that the receiver has.
        SignaturesVerified,
        /// The sinks accept the events that are forwarded to them.
        Delivering,
        /// Linktree's deliveries fail or have stopped: events may be lost.
        DeliveryAtRisk,
        /// kstatus: work is in progress. Present only while true.
        Reconciling,
        /// kstatus: no progress is possible until a user changes something. Present only while true.
        Stalled,
    }
}

words! {
    /// The reason for a condition's status.
    Reason {
        // Shared.
        Available,
        Pending,
        // ConnectionReady, and the connection's own conditions.
        ConnectionMissing,
        TokenMissing,
        TokenRejected,
        PlanExcludesWebhooks,
        QuotaExhausted,
        LinktreeUnavailable,
        // Registered.
        Created,
        Adopted,
        Conflict,
        SubscriptionNotFound,
        Rejected,
        // UpToDate.
        Matched,
        DriftDetected,
        UpdateRestricted,
        Unobservable,
        // SubscriptionEnabled.
        Enabled,
        DisabledByProvider,
        ReenableBackoff,
        ReenableBudgetExhausted,
        RecoveryDisabled,
        ReenableUnsupported,
        WaitingForHealth,
        // SigningKeysReady.
        Loaded,
        SecretMissing,
        KeysExpired,
        SecretNotKept,
        AwaitingProviderSecret,
        SecretKept,
        SecretUnknown,
        // ReceiverAvailable.
        Progressing,
        Unschedulable,
        StorageUnavailable,
        StatusUnavailable,
        CertificateUnusable,
        // EndpointReachable.
        ProbeSucceeded,
        UnsignedAccepted,
        NotProbed,
        NotExposed,
        ExposureRefused,
        AddressPending,
        GatewayApiMissing,
        RoutePending,
        RouteNotAccepted,
        RouteNotResolved,
        DNSFailed,
        ConnectionFailed,
        TLSFailed,
        CertificateExpired,
        CertificateExpiring,
        CertificateNameMismatch,
        CertificateUntrusted,
        UnexpectedResponse,
        // SignaturesVerified.
        Verified,
        PreviousKeyInUse,
        SecretMismatch,
        ClockSkew,
        DeliveryIDConflict,
        NoTraffic,
        // Delivering.
        Healthy,
        SinkUnresolved,
        SinkFailing,
        Backlog,
        // Delivering, and every condition that is not corrected while reconciliation is paused.
        Paused,
        // DeliveryAtRisk.
        DeliveriesSucceeding,
        DeliveriesFailing,
        SubscriptionDisabled,
        // Stalled and Reconciling.
        InvalidSpec,
        Terminating,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_reasons_are_camel_case_as_the_api_conventions_require() {
        for word in
            Reason::ALL.iter().map(|reason| reason.as_str()).chain(ConditionType::ALL.iter().map(|t| t.as_str()))
        {
            assert!(
                word.starts_with(|c: char| c.is_ascii_uppercase()) && word.chars().all(|c| c.is_ascii_alphanumeric()),
                "{word}"
            );
        }
    }
}
