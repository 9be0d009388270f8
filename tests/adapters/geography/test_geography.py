import gc
import json
import os
import random
import threading
import weakref
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network
from pathlib import Path
from typing import Any

import msgspec
import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from sidecar.adapters.geography.geography import NOWHERE, Database, Failure, Geography
from sidecar.demo import geography as demo
from sidecar.domain.values.location import Place
from sidecar.wire.settings import settings

DATA = os.environ.get("SIDECAR_TEST_DATA", "")
MAXMIND = Path(DATA, "maxmind")
needs_maxmind = pytest.mark.skipif(
    not DATA, reason="SIDECAR_TEST_DATA names no directory with MaxMind's test databases in it"
)
LATER = demo.BUILT + 86400


def configured(files: demo.Databases, **more: Any) -> settings.GeographySettings:
    return settings.GeographySettings(
        city=str(files.city), asn=str(files.asn), anonymous_ip=str(files.anonymous_ip), **more
    )


def loaded(configuration: settings.GeographySettings, **more: Any) -> Geography:
    geography = Geography(configuration, **more)
    assert {outcome.error for outcome in geography.reload()} <= {""}
    return geography


def write(path: Path, records: dict[str, Any], ip_version: int = 6) -> Path:
    writer = MMDBWriter(ip_version=ip_version, ipv4_compatible=ip_version == 6)
    for network, record in records.items():
        writer.insert_network(IPSet([network]), record)
    writer.to_db_file(str(path))
    return path


@pytest.fixture
def files(tmp_path: Path) -> demo.Databases:
    return demo.build(tmp_path)


def test_nothing_configured_is_nowhere_and_no_error() -> None:
    geography = Geography(settings.GeographySettings())
    assert geography.reload() == []
    assert geography.builds == {}
    assert geography.place("192.0.2.1") == Place()


def test_each_database_is_optional(files: demo.Databases) -> None:
    only_asn = loaded(settings.GeographySettings(asn=str(files.asn)))
    assert only_asn.place("192.0.2.1") == Place(asn=64496, organization="Example Spree Net")
    only_flags = loaded(settings.GeographySettings(anonymous_ip=str(files.anonymous_ip)))
    assert only_flags.place("203.0.113.193") == Place(anonymizer=("vpn",), meaningless=True)
    only_city = loaded(settings.GeographySettings(city=str(files.city)))
    assert (only_city.place("192.0.2.1").city, only_city.place("192.0.2.1").asn) == ("Berlin", 0)


def test_relative_files_lie_where_the_configuration_lies(files: demo.Databases) -> None:
    relative = settings.GeographySettings(city=files.city.name)
    assert loaded(relative, base=files.city.parent).place("192.0.2.1").country == "DE"


@pytest.mark.parametrize(
    "spelling", ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1:80", " 192.0.2.1"]
)
def test_every_spelling_of_an_address_is_in_the_same_place(
    files: demo.Databases, spelling: str
) -> None:
    geography = loaded(configured(files))
    assert geography.place(spelling) == geography.place("192.0.2.1")
    assert geography.place(spelling).city == "Berlin"


@pytest.mark.parametrize(
    "ip",
    ["", "unknown", "192.0.2", "10.0.0.1", "127.0.0.1", "100.64.0.1", "fe80::1", "fd00::1", "::"],
)
def test_what_is_no_address_or_a_local_one_is_never_looked_up(tmp_path: Path, ip: str) -> None:
    everywhere = {
        "0.0.0.0/0": {"country": {"iso_code": "DE"}},
        "::/1": {"country": {"iso_code": "DE"}},
    }
    city = write(tmp_path / "everywhere.mmdb", {**everywhere, "8000::/1": everywhere["::/1"]})
    geography = loaded(settings.GeographySettings(city=str(city)))
    assert geography.place("8.8.8.8").country == "DE"
    assert geography.place(ip) == NOWHERE


def test_an_address_that_no_database_knows_still_has_the_build_that_did_not_know_it(
    files: demo.Databases,
) -> None:
    assert loaded(configured(files)).place("8.8.8.8") == Place(build=demo.BUILT)


def test_a_record_without_a_radius_is_not_exact(tmp_path: Path) -> None:
    location = {"latitude": 52.5, "longitude": 13.4}
    city = {"country": {"iso_code": "DE"}, "city": {"names": {"en": "Berlin"}}}
    records = {
        "192.0.2.0/26": {**city, "location": {**location, "accuracy_radius": 5}},
        "192.0.2.64/26": {**city, "location": location},
        "192.0.2.128/26": {"country": {"iso_code": "DE"}, "location": location},
        "192.0.2.192/26": {"country": {"iso_code": "DE"}},
    }
    database = write(tmp_path / "city.mmdb", records)
    by_default = loaded(settings.GeographySettings(city=str(database)))
    configured = loaded(
        settings.GeographySettings(city=str(database), accuracy_km=30, accuracy_without_city_km=700)
    )
    for geography, radii in ((by_default, (5, 50, 500, 0)), (configured, (5, 30, 700, 0))):
        places = [geography.place(f"192.0.2.{at}") for at in (1, 65, 129, 193)]
        assert tuple(place.accuracy_km for place in places) == radii


def test_what_the_records_hold_is_known_once_they_were_read(
    files: demo.Databases, tmp_path: Path
) -> None:
    assert Geography(settings.GeographySettings(city=str(files.city))).held == frozenset()
    demos = loaded(configured(files))
    assert demos.held >= {"country", "region", "coordinates", "asn", "anonymizer"}
    countries = write(tmp_path / "c.mmdb", {"192.0.2.0/24": {"country": {"iso_code": "DE"}}})
    assert loaded(settings.GeographySettings(city=str(countries))).held == {"country"}


def test_several_files_of_one_kind_are_asked_in_turn(tmp_path: Path) -> None:
    country = {"country": {"iso_code": "DE"}}
    v4 = write(tmp_path / "v4.mmdb", {"192.0.2.0/24": country}, ip_version=4)
    v6 = write(tmp_path / "v6.mmdb", {"2001:db8::/32": {"country": {"iso_code": "PT"}}})
    geography = loaded(settings.GeographySettings(city=(str(v4), str(v6))))
    assert geography.place("192.0.2.1").country == "DE"
    assert geography.place("2001:db8::1").country == "PT"
    assert not geography.place("198.51.100.1").country
    assert list(geography.builds) == ["city"]
    before = geography.digests
    write(tmp_path / "v6.mmdb", {"2001:db8::/32": {"country": {"iso_code": "ES"}}})
    outcomes = geography.reload()
    assert [(one.file, one.changed, one.error) for one in outcomes] == [
        (str(v4), False, ""),
        (str(v6), True, ""),
    ]
    assert geography.place("2001:db8::1").country == "ES"
    assert geography.digests != before
    v6.write_bytes(b"broken")
    (kept, refused) = geography.reload()
    assert (kept.error, bool(refused.error)) == ("", True)
    assert geography.place("2001:db8::1").country == "ES"
    assert geography.place("192.0.2.1").country == "DE"


def test_the_first_file_that_knows_an_address_says_where_it_is(tmp_path: Path) -> None:
    own = write(tmp_path / "own.mmdb", {"192.0.2.0/28": {"country": {"iso_code": "CH"}}})
    bought = write(tmp_path / "bought.mmdb", {"192.0.2.0/24": {"country": {"iso_code": "DE"}}})
    geography = loaded(settings.GeographySettings(city=(str(own), str(bought))))
    assert geography.place("192.0.2.1").country == "CH"
    assert geography.place("192.0.2.99").country == "DE"


def test_a_client_behind_a_translator_is_where_its_ipv4_address_is(files: demo.Databases) -> None:
    geography = loaded(configured(files))
    for address in ("64:ff9b::192.0.2.1", "2002:c000:201::1"):
        assert geography.place(address) == geography.place("192.0.2.1")


def test_a_database_of_connection_types_names_carriers(
    files: demo.Databases, tmp_path: Path
) -> None:
    types = {
        "192.0.2.0/25": {"connection_type": "Cellular"},
        "192.0.2.128/25": {"connection_type": "Corporate"},
    }
    database = write(tmp_path / "types.mmdb", types)
    geography = loaded(configured(files, connection_type=str(database)))
    assert geography.place("192.0.2.1").carrier
    assert not geography.place("192.0.2.129").carrier


def test_carriers_that_no_database_names_can_be_listed(files: demo.Databases) -> None:
    by_asn = loaded(configured(files, carrier_asns=(64496,)))
    by_network = loaded(configured(files, carrier_networks=("192.0.2.0/25", "2001:db8::/48")))
    for geography in (by_asn, by_network):
        assert geography.place("192.0.2.1").carrier
        assert not geography.place("198.51.100.1").carrier
    assert by_network.place("2001:db8::1").carrier


def test_a_database_that_names_no_connections_is_refused(files: demo.Databases) -> None:
    geography = Geography(settings.GeographySettings(connection_type=str(files.city)))
    (outcome,) = geography.reload()
    assert "has a type of connection" in outcome.error


def test_a_network_of_a_meaningless_operator_is_meaningless_without_being_an_anonymizer(
    files: demo.Databases,
) -> None:
    geography = loaded(configured(files, meaningless_asns=(64497,)))
    assert geography.place("198.51.100.1").meaningless
    assert geography.place("198.51.100.1").anonymizer == ()
    assert not geography.place("192.0.2.1").meaningless


def test_flags_of_a_city_database_count_too(tmp_path: Path) -> None:
    record = {"country": {"iso_code": "US"}, "traits": {"is_satellite_provider": True}}
    city = write(tmp_path / "city.mmdb", {"192.0.2.0/24": record})
    place = loaded(settings.GeographySettings(city=str(city))).place("192.0.2.1")
    assert (place.country, place.meaningless, place.anonymizer) == ("US", True, ())


def test_an_ipv6_address_is_nowhere_in_an_ipv4_database_and_no_failure(tmp_path: Path) -> None:
    city = write(tmp_path / "four.mmdb", {"192.0.2.0/24": {"country": {"iso_code": "DE"}}}, 4)
    failures: list[Failure] = []
    geography = loaded(settings.GeographySettings(city=str(city)), on_failure=failures.append)
    assert geography.place("192.0.2.1").country == "DE"
    assert geography.place("2001:db8::1").country == ""
    assert failures == []


def test_a_flat_schema_is_read_through_the_field_map(tmp_path: Path) -> None:
    record = {"country_code": "DE", "state1": "BE", "latitude": "52.52", "longitude": "13.405"}
    city = write(tmp_path / "flat.mmdb", {"192.0.2.0/24": record})
    fields = settings.FieldMap(
        country="country_code", region="state1", latitude="latitude", longitude="longitude"
    )
    place = loaded(settings.GeographySettings(city=str(city), fields=fields)).place("192.0.2.1")
    assert (place.country, place.region, place.latitude) == ("DE", "DE-BE", 52.52)


def test_a_schema_that_the_field_map_misses_is_refused_instead_of_saying_nothing(
    tmp_path: Path,
) -> None:
    city = write(tmp_path / "flat.mmdb", {"192.0.2.0/24": {"country_code": "DE"}})
    (outcome,) = Geography(settings.GeographySettings(city=str(city))).reload()
    assert "geography.fields" in outcome.error


def test_a_database_of_the_wrong_kind_is_refused(files: demo.Databases) -> None:
    swapped = settings.GeographySettings(
        city=str(files.asn), asn=str(files.anonymous_ip), anonymous_ip=str(files.city)
    )
    assert all(outcome.error for outcome in Geography(swapped).reload())


def test_a_missing_file_is_reported_with_its_setting_and_leaves_the_others_in_use(
    files: demo.Databases, tmp_path: Path
) -> None:
    files.asn.unlink()
    geography = Geography(configured(files))
    city, asn, anonymous = geography.reload()
    assert (city.error, anonymous.error) == ("", "")
    assert (asn.field, asn.error) == ("geography.asn", "No such file or directory")
    assert geography.place("192.0.2.1").city == "Berlin"
    assert geography.builds == {"city": demo.BUILT, "anonymous_ip": demo.BUILT}


def test_what_is_prepared_as_configured_otherwise_takes_the_place_of_all_that_was_in_use(
    files: demo.Databases, tmp_path: Path
) -> None:
    geography = loaded(configured(files))
    other = {"place": {"country": "FR"}}
    city = write(tmp_path / "other.mmdb", {"192.0.2.0/24": other})
    fields = settings.FieldMap(country="place.country")
    prepared = geography.prepare(settings.GeographySettings(city=str(city), fields=fields))
    assert [outcome.error for outcome in prepared.outcomes] == [""]
    assert geography.place("192.0.2.1").city == "Berlin"  # nothing is in use yet
    geography.use(prepared)
    place = geography.place("192.0.2.1")
    assert (place.country, place.city, place.asn) == ("FR", "", 0)
    assert geography.builds.keys() == geography.digests.keys() == {"city"}
    assert [outcome.changed for outcome in geography.reload()] == [False]


def test_of_what_cannot_be_prepared_nothing_is_in_use(files: demo.Databases) -> None:
    geography = loaded(configured(files))
    missing = msgspec.structs.replace(configured(files), asn="/nowhere.mmdb")
    city, asn, _ = geography.prepare(missing).outcomes
    assert (city.error, asn.field, asn.error) == ("", "geography.asn", "No such file or directory")
    assert geography.builds.keys() == {"city", "asn", "anonymous_ip"}


def test_a_broken_record_is_reported_and_leaves_the_other_databases_answers(
    files: demo.Databases,
) -> None:
    # The probe visits a bounded number of networks: here the broken one comes too late.
    germany = {"country": {"iso_code": "DE"}}
    sound = {f"192.0.0.{last}/32": germany for last in range(0, 200, 2)}
    write(files.city, {**sound, "192.0.2.0/24": {"country": {"iso_code": 49}}})
    failures: list[Failure] = []
    geography = loaded(configured(files), on_failure=failures.append)
    place = geography.place("192.0.2.1")
    assert (place.country, place.asn) == ("", 64496)
    assert [failure.database for failure in failures] == [Database.CITY]
    assert "192.0.2" not in failures[0].message


def test_a_reload_of_the_same_content_changes_nothing(files: demo.Databases) -> None:
    geography = loaded(configured(files))
    before = geography.place("192.0.2.1")
    assert [outcome.changed for outcome in geography.reload()] == [False, False, False]
    assert geography.place("192.0.2.1") is before


def test_a_reload_takes_a_newer_file_and_forgets_what_was_found_in_the_older(
    files: demo.Databases, tmp_path: Path
) -> None:
    geography = loaded(configured(files))
    assert geography.place("192.0.2.1").build == demo.BUILT
    demo.build(tmp_path, LATER)
    write(files.city, {"192.0.2.0/24": {"country": {"iso_code": "FR"}}})
    assert [outcome.changed for outcome in geography.reload()] == [True, True, True]
    assert geography.place("192.0.2.1").country == "FR"
    assert geography.builds["asn"] == LATER


@pytest.mark.parametrize("content", [b"", b"x", b"\0" * 4096, b"\xab\xcd\xefMaxMind.com", None])
def test_a_worthless_new_file_is_refused_and_the_old_one_stays(
    files: demo.Databases, content: bytes | None
) -> None:
    geography = loaded(configured(files))
    files.city.unlink()
    if content is not None:
        files.city.write_bytes(content)
    city, asn, _ = geography.reload()
    assert city.error
    assert (city.file, city.changed, city.build) == (str(files.city), False, demo.BUILT)
    assert asn.error == ""
    assert geography.place("192.0.2.1").city == "Berlin"


def test_a_directory_or_a_pipe_is_no_database(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        (outcome,) = Geography(settings.GeographySettings(city=str(path))).reload()
        assert outcome.error


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.99])
def test_a_file_truncated_in_place_under_use_does_not_hurt(
    files: demo.Databases, kept: float
) -> None:
    geography = loaded(configured(files), remembered=1)
    content = files.city.read_bytes()
    os.truncate(files.city, int(len(content) * kept))
    assert geography.place("192.0.2.1").city == "Berlin"
    assert geography.place("2001:db8:3::1").city == "São Paulo"
    assert geography.reload()[0].error
    assert geography.place("203.0.113.1").city == "São Paulo"


@pytest.mark.parametrize("seed", range(60))
def test_flipped_bytes_never_raise_whether_refused_or_not(files: demo.Databases, seed: int) -> None:
    dice = random.Random(seed)
    content = bytearray(files.city.read_bytes())
    for _ in range(dice.choice([1, 3, 10, 100])):
        content[dice.randrange(len(content))] = dice.randrange(256)
    geography = loaded(configured(files), remembered=1)
    files.city.write_bytes(content)
    geography.reload()
    for number in range(0, 2**32, 2**32 // 97):
        geography.place(str(IPv4Address(number)))
    for ip in ("192.0.2.1", "198.51.100.1", "203.0.113.200", "2001:db8::1", "2001:db8:5::1"):
        geography.place(ip)


def test_a_file_cut_anywhere_is_refused_or_reads_without_raising(files: demo.Databases) -> None:
    content = files.city.read_bytes()
    geography = loaded(configured(files), remembered=1)
    for length in range(0, len(content), 41):
        files.city.write_bytes(content[:length])
        assert geography.reload()[0].error
    assert geography.place("192.0.2.1").city == "Berlin"


def test_a_replaced_database_is_let_go_at_once(files: demo.Databases, tmp_path: Path) -> None:
    geography = loaded(configured(files))
    geography.place("192.0.2.1")
    in_use = geography._generation.databases  # noqa: SLF001 - whether it is gone, not what it is
    (city,) = (mmdb for file, mmdb in in_use.items() if file.database is Database.CITY)
    old = weakref.ref(city.reader)
    del in_use, city
    gc.disable()
    try:
        demo.build(tmp_path, LATER)
        geography.reload()
        assert old() is None
    finally:
        gc.enable()


def publish(directory: Path, files: demo.Databases, country: str) -> None:
    """Replace the city and the ASN database; both name `country`."""
    nets = [f"192.0.{i}.0/24" for i in range(256)]
    aside = directory / "aside.mmdb"
    for file, record in (
        (files.city, {"country": {"iso_code": country}}),
        (files.asn, {"autonomous_system_organization": country}),
    ):
        write(aside, dict.fromkeys(nets, record)).replace(file)


def test_no_lookup_ever_sees_one_database_of_before_and_another_of_after_a_reload(
    files: demo.Databases, tmp_path: Path
) -> None:
    countries = ["DE", "FR", "PT", "BR"]
    publish(tmp_path, files, countries[0])
    both = settings.GeographySettings(city=str(files.city), asn=str(files.asn))
    geography = loaded(both, remembered=16)
    done = threading.Event()
    seen: list[Place] = []

    def look() -> None:
        dice = random.Random(1)
        while not done.is_set():
            seen.append(geography.place(f"192.0.{dice.randrange(256)}.1"))

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for looker in lookers:
        looker.start()
    try:
        for country in countries[1:] * 3:
            publish(tmp_path, files, country)
            assert [outcome.error for outcome in geography.reload()] == ["", ""]
            assert geography.place("192.0.2.1").country == country
    finally:
        done.set()
        for looker in lookers:
            looker.join()
    assert {place.country for place in seen} <= set(countries)
    assert all(place.country == place.organization for place in seen)
    assert seen


# The documented answers of MaxMind's test databases.


def sources(name: str) -> list[tuple[str, dict[str, Any]]]:
    """A test database's source: an address in each network, and its record.

    IPv4 networks are written as `::1.2.3.0/120`. Where networks overlap, the longest is meant.
    """
    records = {}
    for entry in json.loads((MAXMIND / f"{name}.json").read_text(encoding="utf-8")):
        for text, record in entry.items():
            network = ip_network(text, strict=False)
            if isinstance(network, IPv6Network) and int(network.network_address) < 2**32:
                network = ip_network((int(network.network_address), network.prefixlen - 96))
            records[network] = record
    answers = []
    for network, record in records.items():
        first = network.network_address
        around = [other for other in records if first in other]
        if max(around, key=lambda other: other.prefixlen) == network:
            answers.append((str(first), record))
    return answers


def at(record: Any, *steps: str | int) -> Any:
    for step in steps:
        try:
            record = record[step]
        except (KeyError, IndexError):
            return None
    return record


def local(ip: str) -> bool:
    address = IPv6Address(ip) if ":" in ip else IPv4Address(ip)
    return address.is_private and not address.is_reserved


@needs_maxmind
@pytest.mark.parametrize("name", ["GeoIP2-City-Test", "GeoLite2-City-Test", "GeoIP2-Country-Test"])
def test_city_and_country_databases_answer_as_their_sources_say(name: str) -> None:
    geography = loaded(settings.GeographySettings(city=str(MAXMIND / f"{name}.mmdb")))
    compared = 0
    for ip, record in sources(name):
        if local(ip):
            continue
        place, country = geography.place(ip), at(record, "country", "iso_code") or ""
        region = at(record, "subdivisions", 0, "iso_code")
        assert place.country == country, ip
        assert place.region == (f"{country}-{region}" if region else ""), ip
        assert place.city == (at(record, "city", "names", "en") or ""), ip
        assert place.latitude == at(record, "location", "latitude"), ip
        assert place.longitude == at(record, "location", "longitude"), ip
        assert place.meaningless == bool(at(record, "traits", "is_anycast")), ip
        compared += 1
    assert compared > 200


@needs_maxmind
@pytest.mark.parametrize("name", ["GeoLite2-ASN-Test", "GeoIP2-ISP-Test"])
def test_asn_databases_answer_as_their_sources_say(name: str) -> None:
    geography = loaded(
        settings.GeographySettings(asn=str(MAXMIND / f"{name}.mmdb"), meaningless_asns=())
    )
    compared = 0
    for ip, record in sources(name):
        if local(ip):
            continue
        place = geography.place(ip)
        assert place.asn == record.get("autonomous_system_number", 0), ip
        assert place.organization == record.get("autonomous_system_organization", ""), ip
        compared += 1
    assert compared > 600


@needs_maxmind
@pytest.mark.parametrize("name", ["GeoIP2-Anonymous-IP-Test", "GeoIP-Anonymous-Plus-Test"])
def test_anonymous_ip_databases_answer_as_their_sources_say(name: str) -> None:
    kinds = {
        "is_anonymous_vpn": "vpn",
        "is_hosting_provider": "hosting",
        "is_public_proxy": "public-proxy",
        "is_residential_proxy": "residential-proxy",
        "is_tor_exit_node": "tor",
    }
    geography = loaded(settings.GeographySettings(anonymous_ip=str(MAXMIND / f"{name}.mmdb")))
    answers = sources(name)
    for ip, record in answers:
        expected = sorted(kind for flag, kind in kinds.items() if record.get(flag))
        assert list(geography.place(ip).anonymizer) == (expected or ["anonymous"]), ip
        assert geography.place(ip).meaningless
    assert len(answers) >= 12
