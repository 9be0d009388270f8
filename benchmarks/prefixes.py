"""What a lookup costs: the radix table against a walk over `ipaddress` networks.

Usage: python -m benchmarks.prefixes [PREFIXES]
"""

import ipaddress
import random
import sys
import time

from sidecar.adapters.geography.networks import Prefix, Prefixes, PrefixTable, parse_cidr
from sidecar.domain.values import address
from sidecar.domain.values.location import Place

LOOKUPS = 200_000
WALKS = 50


def sample(count: int) -> list[str]:
    """Random CIDRs, one in four of them IPv6; the same at each run."""
    rng = random.Random(1)
    cidrs: set[str] = set()
    while len(cidrs) < count:
        bits, length = (128, rng.randint(20, 64)) if rng.random() < 0.25 else (32, 24)
        number = rng.getrandbits(bits) >> (bits - length) << (bits - length)
        kind = ipaddress.IPv6Address if bits == 128 else ipaddress.IPv4Address
        cidrs.add(f"{kind(number)}/{length}")
    return sorted(cidrs)


def walk(networks: list[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, str]], ip: str) -> str:
    """The longest match by looking at every network."""
    parsed = ipaddress.ip_address(ip)
    found = [(network.prefixlen, name) for network, name in networks if parsed in network]
    return max(found)[1] if found else ""


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    cidrs = sample(count)
    rng = random.Random(2)
    ips = [str(ipaddress.IPv4Address(rng.getrandbits(32))) for _ in range(4096)]

    begun = time.perf_counter()
    parsed = [parse_cidr(cidr) for cidr in cidrs]
    print(f"parse {count} CIDRs            {time.perf_counter() - begun:8.2f} s")
    begun = time.perf_counter()
    table = PrefixTable((prefix, prefix) for prefix in parsed)
    print(f"build the table                {time.perf_counter() - begun:8.2f} s")
    begun = time.perf_counter()
    named = [(prefix, f"n{i % 20}") for i, prefix in enumerate(parsed)]
    prefixes = Prefixes(named, named)
    print(f"networks and locations         {time.perf_counter() - begun:8.2f} s")

    packed = [Prefix(ipaddress.IPv4Address(ip).packed, 32).packed for ip in ips]
    begun = time.perf_counter()
    for i in range(LOOKUPS):
        table.find(packed[i % 4096])
    print(f"table, address in bytes        {per(begun, LOOKUPS):8.2f} us")
    for ip in ips:
        address.parse(ip)
    begun = time.perf_counter()
    for i in range(LOOKUPS):
        prefixes.network_of(ips[i % 4096])
    print(f"network_of, address as text    {per(begun, LOOKUPS):8.2f} us")
    place = Place(country="DE", asn=64496)
    begun = time.perf_counter()
    for i in range(LOOKUPS):
        prefixes.locations_of(ips[i % 4096], place)
    print(f"locations_of, address as text  {per(begun, LOOKUPS):8.2f} us")

    networks = [
        (ipaddress.ip_network(cidr), name) for cidr, (_, name) in zip(cidrs, named, strict=True)
    ]
    begun = time.perf_counter()
    for ip in ips[:WALKS]:
        walk(networks, ip)
    print(f"walk over ipaddress networks   {per(begun, WALKS):8.2f} us")


def per(begun: float, times: int) -> float:
    """Microseconds for each of `times` since `begun`."""
    return (time.perf_counter() - begun) / times * 1e6


if __name__ == "__main__":
    main()
