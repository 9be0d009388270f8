"""Writes the bill of materials of an environment as CycloneDX 1.6, from what is installed in it.

`python sbom.py FILE [LIBRARY...]` lists the distributions of the running environment and the
interpreter; of libraries (paths of shared objects) the Debian packages that they come from. The
same environment gives the same bytes: nothing says when it was made.
"""

import json
import platform
import re
import subprocess
import sys
import uuid
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

ROOT = "stepup-sidecar"
_LICENSES = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""SPDX's names of what classifiers say, where a distribution has no expression of its own."""


def normal(name: str) -> str:
    """Return a distribution's name as the index has it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def reference(kind: str, name: str, version: str) -> str:
    """Return a package's URL, which is also its reference here."""
    return f"pkg:{kind}/{name}@{version}"


def licenses(one: Distribution) -> list[dict[str, Any]]:
    """Return the licence, as SPDX has it if that is known, else in the distribution's words."""
    expression = one.metadata.get("License-Expression")
    if expression:
        return [{"expression": expression}]
    named = [
        text.rpartition(" :: ")[2]
        for text in one.metadata.get_all("Classifier") or ()
        if text.startswith("License :: ")
    ]
    known = [_LICENSES[text] for text in named if text in _LICENSES]
    if known:
        return [{"license": {"id": text}} for text in known]
    words = next((text for text in named if text), one.metadata.get("License") or "")
    return [{"license": {"name": words.splitlines()[0][:100]}}] if words.strip() else []


def component(one: Distribution) -> dict[str, Any]:
    """Return an installed distribution as a component."""
    name, version = normal(one.metadata["Name"]), one.version
    described = {
        "type": "application" if name == ROOT else "library",
        "bom-ref": reference("pypi", name, version),
        "name": name,
        "version": version,
        "purl": reference("pypi", name, version),
    }
    found = licenses(one)
    return {**described, "licenses": found} if found else described


def needs(one: Distribution, references: dict[str, str]) -> list[str]:
    """Return the references of what a distribution needs and has."""
    required = (re.split(r"[ ;<>=!~\[(]", text, maxsplit=1)[0] for text in one.requires or ())
    return sorted({references[normal(name)] for name in required if normal(name) in references})


def debian(libraries: Iterable[str]) -> list[dict[str, Any]]:
    """Return the Debian packages that these files come from; none where there is no dpkg."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(set(libraries)):
        package = _owner(path)
        if package and package not in found:
            shown = "${Package} ${Version} ${Architecture}"
            name, version, architecture = _asked("dpkg-query", "-W", "-f", shown, package).split()
            url = f"{reference('deb/debian', name, version)}?arch={architecture}"
            described = {"type": "library", "bom-ref": url, "name": name, "version": version}
            found[package] = {**described, "purl": url}
    return list(found.values())


def _owner(path: str) -> str:
    for one in (path, path.removeprefix("/usr")):  # as it was called before /usr was merged
        owners = _asked("dpkg-query", "-S", one)
        if owners:
            return owners.partition(": ")[0]
    return ""


def _asked(*words: str) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603 - our words
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


def bill(libraries: Iterable[str] = ()) -> dict[str, Any]:
    """Return the bill of materials of the running environment."""
    installed = {normal(one.metadata["Name"]): one for one in distributions()}
    references = {
        name: reference("pypi", name, one.version) for name, one in sorted(installed.items())
    }
    version = platform.python_version()
    python = {
        "type": "platform",
        "bom-ref": reference("generic", "python", version),
        "name": "python",
        "version": version,
        "purl": reference("generic", "python", version),
        "licenses": [{"license": {"id": "PSF-2.0"}}],
    }
    root = component(installed[ROOT])
    others = [component(one) for name, one in sorted(installed.items()) if name != ROOT]
    components = [*others, python, *debian(libraries)]
    dependencies = [
        {"ref": references[name], "dependsOn": needs(one, references)}
        for name, one in sorted(installed.items())
    ]
    content = {"metadata": {"component": root}, "components": components}
    digest = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(content, sort_keys=True))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{digest}",
        "version": 1,
        **content,
        "dependencies": dependencies,
    }


def main(arguments: list[str]) -> int:
    """Write the file."""
    file, *libraries = arguments
    Path(file).write_text(json.dumps(bill(libraries), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
