"""The image's recipe: what a linter asks of it, and what we promise of it."""

import subprocess
import sysconfig
from pathlib import Path

from tests.deploy.image import DOCKERFILE, ROOT, final_stage, instructions, the

IMAGE = ROOT / "deploy" / "image"


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    done = subprocess.run(
        [hadolint, "--no-color", DOCKERFILE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_runs_as_a_numeric_user_that_is_not_root() -> None:
    uid, _, gid = the("USER").partition(":")
    assert (int(uid), int(gid)) == (65532, 65532)


def test_it_stops_on_sigterm_and_runs_the_daemon() -> None:
    assert the("STOPSIGNAL") == "SIGTERM"
    assert the("ENTRYPOINT") == '["sidecar"]'
    assert the("CMD") == '["run", "--config", "/etc/sidecar/sidecar.yaml"]'


def test_the_base_is_named_with_a_version() -> None:
    (default,) = (rest for word, rest in instructions() if word == "ARG")
    image, _, tag = default.removeprefix("BASE=").partition(":")
    assert image == "python"
    assert tag[0].isdigit()
    named = {rest.split()[0] for word, rest in instructions() if word == "FROM"}
    assert named == {"${BASE}", "scratch"}


def test_the_final_stage_has_no_base_and_so_no_shell() -> None:
    assert the("FROM") == "scratch"
    assert not [rest for word, rest in final_stage() if word == "RUN"]
    assert the("COPY") == "--from=builder /image /"


def test_the_recipe_names_no_architecture() -> None:
    text = DOCKERFILE.read_text() + "".join(path.read_text() for path in IMAGE.glob("*.py"))
    for name in ("x86_64", "aarch64", "TARGETARCH", "--platform=$BUILDPLATFORM"):
        assert name not in text


def test_whatever_comes_from_an_index_is_held_to_its_hash() -> None:
    runs = " && ".join(rest for word, rest in instructions() if word == "RUN")
    installs = [step for step in runs.split("&&") if " install " in step and "pip" in step]
    assert installs
    for step in installs:
        assert "--require-hashes" in step or "--no-index" in step, step
    wheels = [step for step in runs.split("&&") if "pip wheel" in step]
    assert all("--no-deps" in step and "--no-build-isolation" in step for step in wheels)


def test_the_final_stage_installs_nothing_and_fetches_nothing() -> None:
    for word, rest in final_stage():
        assert word != "ADD"
        assert not (word == "RUN" and any(tool in rest for tool in ("pip", "apt", "curl")))


def test_what_the_image_copies_is_not_ignored() -> None:
    kept = {
        line.removeprefix("!").rstrip("/")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {
        source.rstrip("/")
        for word, rest in instructions()
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    assert copied == kept
