"""The objects of Microsoft Graph that can be imported, as closed types.

After the documentation of `conditionalAccessPolicy`, `namedLocation`,
`authenticationStrengthPolicy`, `authenticationContextClassReference` and
`conditionalAccessTemplate` (v1.0 and beta). Whatever else an object holds is found by the ledger.
Values of enumerations stay texts: Graph adds to them.
"""

from typing import Any, TypeAlias

import msgspec

Texts: TypeAlias = tuple[str, ...]
Flags: TypeAlias = str | tuple[str, ...] | None
"""Several values: a list, or one text with commas between (a flags enumeration)."""


class _Shape(msgspec.Struct, frozen=True, rename="camel"):
    pass


class ExternalTenants(_Shape, frozen=True, rename="camel"):
    """The tenants that guests come from."""

    membership_kind: str | None = None
    members: Texts | None = None


class Guests(_Shape, frozen=True, rename="camel"):
    """`conditionalAccessGuestsOrExternalUsers`."""

    guest_or_external_user_types: str | None = None
    external_tenants: ExternalTenants | None = None


class GraphUsers(_Shape, frozen=True, rename="camel"):
    """`conditionalAccessUsers`."""

    include_users: Texts | None = None
    exclude_users: Texts | None = None
    include_groups: Texts | None = None
    exclude_groups: Texts | None = None
    include_roles: Texts | None = None
    exclude_roles: Texts | None = None
    include_guests_or_external_users: Guests | None = None
    exclude_guests_or_external_users: Guests | None = None


class Filter(_Shape, frozen=True, rename="camel"):
    """A rule over attributes, of devices or of apps."""

    mode: str | None = None
    rule: str | None = None


class Applications(_Shape, frozen=True, rename="camel"):
    """`conditionalAccessApplications`."""

    include_applications: Texts | None = None
    exclude_applications: Texts | None = None
    include_user_actions: Texts | None = None
    include_authentication_context_class_references: Texts | None = None
    application_filter: Filter | None = None


class Platforms(_Shape, frozen=True, rename="camel"):
    """`conditionalAccessPlatforms`."""

    include_platforms: Texts | None = None
    exclude_platforms: Texts | None = None


class LocationsCondition(_Shape, frozen=True, rename="camel"):
    """`conditionalAccessLocations`."""

    include_locations: Texts | None = None
    exclude_locations: Texts | None = None


class Devices(_Shape, frozen=True, rename="camel"):
    """`conditionalAccessDevices`; the members beside `deviceFilter` are its forerunners."""

    device_filter: Filter | None = None
    include_devices: Texts | None = None
    exclude_devices: Texts | None = None
    include_device_states: Texts | None = None
    exclude_device_states: Texts | None = None


class DeviceStates(_Shape, frozen=True, rename="camel"):
    """`conditionalAccessDeviceStates` (beta, deprecated)."""

    include_states: Texts | None = None
    exclude_states: Texts | None = None


class Conditions(_Shape, frozen=True, rename="camel"):
    """`conditionalAccessConditionSet`."""

    users: GraphUsers | None = None
    applications: Applications | None = None
    client_applications: dict[str, Any] | None = None
    client_app_types: Texts | None = None
    platforms: Platforms | None = None
    locations: LocationsCondition | None = None
    devices: Devices | None = None
    device_states: DeviceStates | None = None
    user_risk_levels: Texts | None = None
    sign_in_risk_levels: Texts | None = None
    service_principal_risk_levels: Flags = None
    insider_risk_levels: Flags = None
    authentication_flows: dict[str, Any] | None = None


class GraphStrength(_Shape, frozen=True, rename="camel"):
    """`authenticationStrengthPolicy`, on its own or within a policy."""

    id: str = ""
    display_name: str | None = None
    description: str | None = None
    policy_type: str | None = None
    allowed_combinations: Texts | None = None
    combination_configurations: tuple[Any, ...] | None = None


class GrantControls(_Shape, frozen=True, rename="camel"):
    """`conditionalAccessGrantControls`."""

    operator: str | None = None
    built_in_controls: Texts | None = None
    custom_authentication_factors: Texts | None = None
    terms_of_use: Texts | None = None
    authentication_strength: GraphStrength | None = None


class SignInFrequency(_Shape, frozen=True, rename="camel"):
    """`signInFrequencySessionControl`."""

    is_enabled: bool | None = None
    type: str | None = None
    value: int | None = None
    frequency_interval: str | None = None
    authentication_type: str | None = None


class Switch(_Shape, frozen=True, rename="camel"):
    """A session control that is on or off, in a mode."""

    is_enabled: bool | None = None
    mode: str | None = None


class CloudAppSecurity(_Shape, frozen=True, rename="camel"):
    """`cloudAppSecuritySessionControl`."""

    is_enabled: bool | None = None
    cloud_app_security_type: str | None = None


class GraphSessionControls(_Shape, frozen=True, rename="camel"):
    """`conditionalAccessSessionControls`."""

    sign_in_frequency: SignInFrequency | None = None
    persistent_browser: Switch | None = None
    cloud_app_security: CloudAppSecurity | None = None
    application_enforced_restrictions: Switch | None = None
    continuous_access_evaluation: Switch | None = None
    secure_sign_in_session: Switch | None = None
    disable_resilience_defaults: bool | None = None


class GraphPolicy(_Shape, frozen=True, rename="camel"):
    """`conditionalAccessPolicy`."""

    id: str | None = None
    display_name: str | None = None
    description: str | None = None
    state: str | None = None
    conditions: Conditions | None = None
    grant_controls: GrantControls | None = None
    session_controls: GraphSessionControls | None = None
    template_id: str | None = None
    created_date_time: str | None = None
    modified_date_time: str | None = None
    deleted_date_time: str | None = None


class Details(_Shape, frozen=True, rename="camel"):
    """`conditionalAccessPolicyDetail`."""

    conditions: Conditions | None = None
    grant_controls: GrantControls | None = None
    session_controls: GraphSessionControls | None = None


class Template(_Shape, frozen=True, rename="camel"):
    """`conditionalAccessTemplate`: a published policy, which has no state yet."""

    id: str | None = None
    name: str | None = None
    description: str | None = None
    scenarios: str | None = None
    details: Details | None = None


class IpRange(_Shape, frozen=True, rename="camel"):
    """`iPv4CidrRange`, `iPv6CidrRange`; in older exports also a range of two addresses."""

    cidr_address: str | None = None
    lower_address: str | None = None
    upper_address: str | None = None


class GraphNamedLocation(_Shape, frozen=True, rename="camel"):
    """`ipNamedLocation` or `countryNamedLocation`."""

    id: str | None = None
    display_name: str | None = None
    is_trusted: bool | None = None
    ip_ranges: tuple[IpRange, ...] | None = None
    countries_and_regions: Texts | None = None
    include_unknown_countries_and_regions: bool | None = None
    country_lookup_method: str | None = None


class ContextReference(_Shape, frozen=True, rename="camel"):
    """`authenticationContextClassReference`."""

    id: str = ""
    display_name: str | None = None
    description: str | None = None
    is_available: bool | None = None
