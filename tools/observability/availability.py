"""Alerts of a sidecar, its store, its keys and its configuration."""

from tools.observability.alert import (
    CRITICAL,
    FLEET,
    INFO,
    ONE,
    WARNING,
    Age,
    Alert,
    Count,
    Group,
    Level,
    rising,
)

DAY = 86400.0

SIDECARS = Group(
    "stepup-sidecar.sidecars",
    (
        Alert(
            "SidecarDown",
            f"up == 0 and on ({ONE}) last_over_time(sidecar_build_info[1h])",
            "5m",
            CRITICAL,
            "{{ $labels.instance }} does not answer scrapes",
            "What was a sidecar within the last hour cannot be scraped. See first whether its pod "
            "runs, then whether port 9090 can be reached from Prometheus.",
            {"up": Level(1, 0), 'sidecar_build_info{version="1"}': Level(1, 1)},
        ),
        Alert(
            "SidecarNotReady",
            "sidecar_ready == 0",
            "5m",
            CRITICAL,
            "{{ $labels.instance }} is not ready",
            "Its /readyz fails. See first which condition is bad: sidecar_condition_unmet, or the "
            "body of /readyz, which says why.",
            {"sidecar_ready": Level(1, 0)},
        ),
        Alert(
            "SidecarRestarting",
            f"changes(process_start_time_seconds[30m]) > 2 and on ({ONE}) sidecar_build_info",
            "0m",
            CRITICAL,
            "{{ $labels.instance }} restarted again and again",
            "It started more than twice in half an hour. See first the last lines of the container "
            "that ended, and whether it was killed for its memory.",
            {
                "process_start_time_seconds": Count(0, 1),
                'sidecar_build_info{version="1"}': Level(1, 1),
            },
        ),
        Alert(
            "SidecarUnexpectedErrors",
            rising("sidecar_unexpected_errors_total", "15m", ONE),
            "0m",
            WARNING,
            "{{ $labels.instance }} met an error that it does not expect",
            "A worker or a door went on after an error that is a defect. See first the lines "
            "`worker-failed` in its log, and report them.",
            {"sidecar_unexpected_errors_total": Count(0, 1)},
        ),
        Alert(
            "SidecarLoopStalled",
            f"sum by ({ONE}) (increase(sidecar_loop_stall_seconds_count[10m])) - sum by ({ONE}) "
            '(increase(sidecar_loop_stall_seconds_bucket{le="0.5"}[10m])) > 0',
            "0m",
            WARNING,
            "{{ $labels.instance }} stood still for more than half a second",
            "Nothing was answered meanwhile. See first whether the container is throttled or its "
            "node has no processor time left.",
            {
                "sidecar_loop_stall_seconds_count": Count(1, 2),
                'sidecar_loop_stall_seconds_bucket{le="0.5"}': Count(1, 1),
            },
        ),
        Alert(
            "SidecarVersionsDiffer",
            f"count by ({FLEET}) (count by ({FLEET}, version) (sidecar_build_info)) > 1",
            "30m",
            INFO,
            "Sidecars of {{ $labels.job }} run different versions",
            "For half an hour more than one version has run. See first whether a roll-out is under "
            "way or stands still.",
            {
                'sidecar_build_info{version="1"}': Level(1, 1),
                'sidecar_build_info{version="2",instance="b"}': Level(-1, 1),
            },
        ),
    ),
)

STORE = Group(
    "stepup-sidecar.store",
    (
        Alert(
            "SidecarStoreDown",
            "sidecar_store_up == 0",
            "2m",
            CRITICAL,
            "The store of {{ $labels.instance }} is down",
            "The store does not answer, or takes no writes. See first the line `store-down` in the "
            "log: it has the address and the cause.",
            {"sidecar_store_up": Level(1, 0)},
        ),
        Alert(
            "SidecarNewsStale",
            "sidecar_store_staleness_seconds > 10",
            "1m",
            CRITICAL,
            "{{ $labels.instance }} may not know what other sidecars know",
            "For more than 10 s it could not be sure that it has all news, so calls in contexts "
            "are answered as when_unknown says. See first whether the store is up, then the lines "
            "`news-lost`.",
            {"sidecar_store_staleness_seconds": Level(1, 30)},
        ),
        Alert(
            "SidecarContextStale",
            "sidecar_context_stale == 1",
            "2m",
            CRITICAL,
            "{{ $labels.instance }} cannot decide calls in {{ $labels.context }}",
            "Its view is older than this context allows: when_unknown answers such calls. See "
            "first whether the store is up.",
            {'sidecar_context_stale{context="c1"}': Level(0, 1)},
        ),
        Alert(
            "SidecarStoreLost",
            rising(
                'sidecar_store_losses_total{kind=~"emptied|restored|evicted|vanished"}',
                "15m",
                f"{FLEET}, kind",
            ),
            "0m",
            CRITICAL,
            "The store lost what it held ({{ $labels.kind }})",
            "Marks and revocations may be gone; until they are written back users are asked to "
            "sign in. See first whether somebody emptied, restored or replaced a server of the "
            "store, and its memory limit.",
            {'sidecar_store_losses_total{kind="emptied"}': Count(0, 1)},
        ),
        Alert(
            "SidecarStoreSlow",
            f"histogram_quantile(0.99, sum by ({ONE}, le) (rate(sidecar_store_seconds_bucket[5m])))"
            " > 0.1",
            "10m",
            WARNING,
            "The store answers {{ $labels.instance }} slowly",
            "One operation in a hundred takes more than 100 ms. See first the store's own slow log "
            "and processor time, then the network between.",
            {
                'sidecar_store_seconds_bucket{operation="join",le="0.01"}': Count(100, 50),
                'sidecar_store_seconds_bucket{operation="join",le="0.1"}': Count(100, 50),
                'sidecar_store_seconds_bucket{operation="join",le="1.0"}': Count(100, 100),
                'sidecar_store_seconds_bucket{operation="join",le="+Inf"}': Count(100, 100),
            },
        ),
    ),
)

KEYS = Group(
    "stepup-sidecar.keys",
    (
        Alert(
            "SidecarKeysNotRefreshed",
            rising(
                'sidecar_jwks_refreshes_total{outcome=~"failed|refused|stale"}',
                "15m",
                f"{ONE}, issuer",
            )
            + f" unless on ({ONE}, issuer) "
            + rising('sidecar_jwks_refreshes_total{outcome="done"}', "15m", f"{ONE}, issuer"),
            "5m",
            WARNING,
            "{{ $labels.instance }} cannot fetch the keys of issuer {{ $labels.issuer }}",
            "For 15 minutes every refresh failed; the keys that it has count until "
            "tokens.jwks_max_staleness. See first the line `keys-not-refreshed` in its log. The "
            "issuer is named by its position in tokens.issuers.",
            {
                'sidecar_jwks_refreshes_total{issuer="0",outcome="failed"}': Count(0, 1),
                'sidecar_jwks_refreshes_total{issuer="0",outcome="done"}': Count(0.2, 0),
            },
        ),
        Alert(
            "SidecarKeysOld",
            "time() - sidecar_jwks_last_success_timestamp_seconds > 21600",
            "5m",
            CRITICAL,
            "The keys of issuer {{ $labels.issuer }} are more than six hours old",
            "After tokens.jwks_max_staleness (a day) they are dropped, and no token of this issuer "
            "is believed. See first whether the issuer's jwks_uri answers from inside the pod.",
            {'sidecar_jwks_last_success_timestamp_seconds{issuer="0"}': Age(20_000)},
        ),
        Alert(
            "SidecarCredentialFailing",
            "sidecar_credential_failing == 1",
            "5m",
            WARNING,
            "{{ $labels.instance }} cannot read {{ $labels.credential }}",
            "The file of this credential is gone, unreadable or empty: what needs it is refused. "
            "See first the line `secret-not-read` in its log, and the mounted Secret.",
            {'sidecar_credential_failing{credential="admin.token_file"}': Level(0, 1)},
        ),
        Alert(
            "SidecarAcrNotOffered",
            "sidecar_acr_values_not_offered > 0",
            "15m",
            WARNING,
            "Issuer {{ $labels.issuer }} does not offer what policies ask for",
            "A step-up may come back as it was, and be asked for again. See first the line "
            "`acr-not-offered`: it names the values and the policies.",
            {'sidecar_acr_values_not_offered{issuer="0"}': Level(0, 1)},
        ),
        Alert(
            "SidecarTokenClaimsMissing",
            rising("sidecar_token_claims_missing_total", "1h", f"{FLEET}, issuer, claim"),
            "0m",
            WARNING,
            "Tokens of issuer {{ $labels.issuer }} lack {{ $labels.claim }}",
            "A claim that is needed is missing in verified tokens. See first the line "
            "`token-claim-missing`: it says what follows from it.",
            {'sidecar_token_claims_missing_total{issuer="0",claim="acr"}': Count(0, 1)},
        ),
    ),
)

CONFIGURATION = Group(
    "stepup-sidecar.configuration",
    (
        Alert(
            "SidecarReloadFailed",
            "sidecar_config_last_reload_successful == 0 and "
            "sidecar_config_last_reload_success_timestamp_seconds > 0",
            "2m",
            WARNING,
            "{{ $labels.instance }} refused its changed configuration",
            "The old configuration and policies stay in force. See first the line `reload-refused` "
            "in its log, or run `sidecar validate` on the changed files: both name file and line.",
            {
                "sidecar_config_last_reload_successful": Level(1, 0),
                "sidecar_config_last_reload_success_timestamp_seconds": Level(1, 1),
            },
        ),
        Alert(
            "SidecarGeographyRefused",
            rising(
                'sidecar_reloads_total{what=~"geography .*",outcome="refused"}',
                "1h",
                f"{FLEET}, what",
            ),
            "0m",
            WARNING,
            "A changed database was refused ({{ $labels.what }})",
            "The database before it stays in use. See first the line `reload-refused` in the log, "
            "and get the file anew.",
            {'sidecar_reloads_total{what="geography city",outcome="refused"}': Count(0, 1)},
        ),
        Alert(
            "SidecarGeographyOld",
            f"min by ({FLEET}, database) (time() - sidecar_geo_database_build_timestamp_seconds)"
            " > 3888000",
            "30m",
            WARNING,
            "The geography database {{ $labels.database }} is more than 45 days old",
            "Networks change hands: places are judged wrongly. See first whether the job that "
            "downloads the database still runs.",
            {'sidecar_geo_database_build_timestamp_seconds{database="city"}': Age(45 * DAY - 600)},
        ),
        Alert(
            "SidecarRestartRequired",
            "sidecar_restart_required == 1",
            "2h",
            WARNING,
            "Changed configuration of {{ $labels.instance }} waits for a restart",
            "For two hours keys that need a restart have differed from those in force. See first "
            "the line `restart-required`: it names them. Then restart the pod.",
            {"sidecar_restart_required": Level(0, 1)},
            minutes=135,
        ),
        Alert(
            "SidecarPolicySetsDiffer",
            f"count by ({FLEET}) (count by ({FLEET}, hash) (sidecar_policy_set_info)) > 1",
            "10m",
            WARNING,
            "Sidecars of {{ $labels.job }} judge by different policies",
            "The answer to a call depends on the pod that it reaches. See first which pods have "
            "which hash in sidecar_policy_set_info, and whether one refused a reload.",
            {
                'sidecar_policy_set_info{hash="aa"}': Level(1, 1),
                'sidecar_policy_set_info{hash="aa",instance="b"}': Level(1, -1),
                'sidecar_policy_set_info{hash="bb",instance="b"}': Level(-1, 1),
            },
        ),
    ),
)

BUNDLES = Group(
    "stepup-sidecar.bundles",
    (
        Alert(
            "SidecarPolicyBundleWaits",
            "sidecar_policy_bundle_waits == 1",
            "2m",
            CRITICAL,
            "{{ $labels.instance }} does not judge by the bundle that is in force",
            "It answers 503, or goes on by the bundle before where the named one is refused. See "
            "first what /readyz says of its policies, and the line `policy-bundle-refused`.",
            {"sidecar_policy_bundle_waits": Level(0, 1)},
        ),
        Alert(
            "SidecarPolicyBundleRefused",
            f"sum by ({FLEET}) "
            '(increase(sidecar_policy_bundles_refused_total{flaw!="unavailable"}[15m])) > 0 or '
            f"sum by ({FLEET}) "
            '(increase(sidecar_policy_bundle_polls_total{outcome="refused"}[15m])) > 0',
            "0m",
            WARNING,
            "A bundle of policies of {{ $labels.job }} is not what it should be",
            "It was named or published, and is unsigned, changed, older, or does not fit. See "
            "first the lines `policy-bundle-refused` and `policy-bundle-not-at-hand`: they say "
            "what is wrong. If nobody of yours made it, treat it as an attempt.",
            {
                'sidecar_policy_bundles_refused_total{flaw="foreign-key"}': Count(0, 1),
                'sidecar_policy_bundle_polls_total{outcome="refused"}': Count(0, 1),
            },
        ),
    ),
)

GROUPS = (SIDECARS, STORE, KEYS, CONFIGURATION, BUNDLES)
