"""The names that Security Event Tokens have outside of them: in settings, metrics and log lines."""

from enum import StrEnum

TYPES = frozenset(
    {
        *("session-revoked", "token-claims-change", "credential-change"),
        *("assurance-level-change", "device-compliance-change", "session-established"),
        *("session-presented", "risk-level-change"),
        *("account-credential-change-required", "account-purged", "account-disabled"),
        *("account-enabled", "identifier-changed", "identifier-recycled"),
        *("credential-compromise", "opt-in", "opt-out-initiated", "opt-out-cancelled"),
        *("opt-out-effective", "recovery-activated", "recovery-information-changed"),
        *("sessions-revoked", "verification", "stream-updated"),
    }
)
"""The last parts of the URIs of all event types that are read (CAEP 1.0, RISC 1.0, SSF 1.0)."""

INFORMING = frozenset(
    {
        *("event_timestamp", "initiating_entity", "reason_admin", "reason_user", "reason"),
        *("previous_level", "previous_status", "risk_reason", "friendly_name", "new-value"),
        *("x509_issuer", "x509_serial", "fido2_aaguid", "fp_ua"),
    }
)
"""Members on which nothing depends but what people are shown, and `event_timestamp`, for which
`toe` and `iat` stand in."""


class Fault(StrEnum):
    """The reason to refuse a SET: `err` on the wire (RFC 8935, 2.4; SSF 1.0, "Verification")."""

    INVALID_REQUEST = "invalid_request"
    INVALID_KEY = "invalid_key"
    INVALID_ISSUER = "invalid_issuer"
    INVALID_AUDIENCE = "invalid_audience"
    AUTHENTICATION_FAILED = "authentication_failed"
    ACCESS_DENIED = "access_denied"
    INVALID_STATE = "invalid_state"
