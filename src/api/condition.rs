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
        /// LinktreeWebhook: a signed event sent now would be accepted and stored. LinktreeConnection: Linktree's API
        /// can be used.
        Ready,
        /// LinktreeConnection: Linktree accepts the API token.
        TokenAccepted,
        /// LinktreeConnection: the request budget is not exhausted.
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
        /// Linktree's deliveries fail or have stopped, or will be answered 503 when the journal is full: events may be
        /// lost.
        DeliveryAtRisk,
        /// A second operator found the webhook managed by another one, and leaves it alone. Present only while true.
        OperatorConflict,
        /// kstatus: the operator is still working towards the spec. Present only while true.
        Reconciling,
        /// kstatus: no progress is possible until a user changes something. Present only while true.
        Stalled,
    }
}

words! {
    /// The reason for a condition's status, grouped by the condition that it appears in.
    Reason {
        // Reasons of several conditions.
        Available,
        Pending,
        // Reasons of ConnectionReady, and of the LinktreeConnection's own conditions.
        ConnectionMissing,
        TokenMissing,
        TokenRejected,
        PlanExcludesWebhooks,
        QuotaExhausted,
        LinktreeUnavailable,
        // Reasons of Registered.
        Created,
        Adopted,
        Conflict,
        AwaitingProof,
        AccountChanged,
        SubscriptionNotFound,
        Rejected,
        // Reasons of UpToDate.
        Matched,
        DriftDetected,
        UpdateRestricted,
        Unobservable,
        // Reasons of SubscriptionEnabled.
        Enabled,
        DisabledByProvider,
        ReenableBackoff,
        ReenableBudgetExhausted,
        RecoveryDisabled,
        ReenableUnsupported,
        WaitingForHealth,
        // Reasons of SigningKeysReady.
        Loaded,
        SecretMissing,
        KeysExpired,
        SecretNotKept,
        AwaitingProviderSecret,
        SecretKept,
        SecretUnknown,
        // Reason of ReceiverAvailable, EndpointReachable and SigningKeysReady.
        NameTaken,
        // Reasons of ReceiverAvailable.
        Progressing,
        PodRefused,
        Unschedulable,
        StorageUnavailable,
        StatusUnavailable,
        CertificateUnusable,
        // Reasons of EndpointReachable.
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
        AddressDenied,
        TLSFailed,
        CertificateExpired,
        CertificateExpiring,
        CertificateNameMismatch,
        CertificateUntrusted,
        UnexpectedResponse,
        // Reasons of SignaturesVerified.
        Verified,
        PreviousKeyInUse,
        SecretMismatch,
        ClockSkew,
        DeliveryIDConflict,
        NoTraffic,
        // Reasons of Delivering.
        Healthy,
        SinkUnresolved,
        SinkHeld,
        SinkFailing,
        Backlog,
        DeadLetters,
        // Reason of Delivering, and of every condition that the operator does not correct while reconciliation is
        // paused.
        Paused,
        // Reasons of DeliveryAtRisk.
        DeliveriesSucceeding,
        DeliveriesFailing,
        SubscriptionDisabled,
        BacklogFillsJournal,
        // Reason of OperatorConflict.
        ManagedByAnotherOperator,
        // Reasons of Stalled and Reconciling.
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
