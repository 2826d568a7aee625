"""`cmc bundle` and the options --trust and --development: from a new key to a label, and every refusal."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from cmc_sdk import Session
from cmc_sdk.bundle import open_bundle, pkcs8
from cmc_sdk.cli.bundle import bundle_commands as bundle_command
from cmc_sdk.environment import TRUST_VARIABLE
from cmc_sdk.errors import TrustError
from tests.cli.command import Outcome, with_trust

Cmc = Callable[..., Outcome]
PASSPHRASE = "a passphrase for tests"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pkcs8, "ROUNDS", 1000)
    monkeypatch.setenv("CMC_TEST_PASSPHRASE", PASSPHRASE)
    monkeypatch.delenv(TRUST_VARIABLE, raising=False)


@pytest.fixture
def mine(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "mine.cmc"))


def keygen(cmc: Cmc, path: Path) -> str:
    done = cmc("bundle", "keygen", "-o", path, "--passphrase-env", "CMC_TEST_PASSPHRASE", "--json")
    assert done.code == 0, done.err
    identifier: str = json.loads(done.out)["key_id"]
    return identifier


def test_from_a_key_to_a_label(cmc: Cmc, mine: Path, scans: dict[str, Path], tmp_path: Path) -> None:
    key, store = tmp_path / "vendor.key", tmp_path / "trust.json"
    identifier = keygen(cmc, key)
    signed = cmc("bundle", "sign", mine, "--key", key, "--passphrase-env", "CMC_TEST_PASSPHRASE")
    assert (signed.code, signed.out) == (0, f"{mine} is signed by key {identifier}\n")
    assert cmc("bundle", "trust", "add", store, f"{key}.pub", "--owner", "Vendor", "--until", "2999-12-31").code == 0
    checked = cmc("bundle", "check", mine, "--trust", store)
    assert checked.out.splitlines() == [
        "tiny 1: 4 files have the right hash",
        f"signed by key {identifier}, which is trusted",
    ]
    words = ["infer", mine, "--image", f"ct={scans['ct']}", "-o", tmp_path / "out", "--trust", store]
    done = cmc(*words, "--backend", "onnxruntime")
    assert done.code == 0, done.err
    assert f"trust    signed by key {identifier}" in done.out
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["trust"] == record["bundle"]["key_id"] == identifier
    assert f"signed by     key {identifier}, which is trusted" in cmc("info", mine, "--trust", store).out
    shown = cmc("bundle", "trust", "show", store).out
    assert identifier in shown
    assert "ever … 2999-12-31" in shown
    assert "Vendor" in shown
    # Revoked, all doors are shut.
    assert cmc("bundle", "trust", "revoke", store, identifier, "--reason", "laptop stolen").code == 0
    assert f"{identifier}" in cmc("bundle", "trust", "show", store).out.split("revoked: laptop stolen")[0]
    for command in ("info", "verify", "bench"):
        assert "revoked: laptop stolen" in cmc(command, mine, "--trust", store).error
    assert "revoked: laptop stolen" in cmc(*words, "-o", tmp_path / "again").error
    assert not (tmp_path / "again").exists()
    assert cmc("bundle", "check", mine, "--trust", store).code == 2


def test_rollback_from_the_command_line(cmc: Cmc, mine: Path, tmp_path: Path) -> None:
    key, store = tmp_path / "vendor.key", tmp_path / "trust.json"
    keygen(cmc, key)
    cmc("bundle", "sign", mine, "--key", key, "--passphrase-env", "CMC_TEST_PASSPHRASE")
    cmc("bundle", "trust", "add", store, f"{key}.pub")
    assert cmc("bundle", "trust", "require", store, "tiny", "1.0").code == 0
    assert cmc("info", mine, "--trust", store).code == 0
    cmc("bundle", "trust", "require", store, "tiny", "1.1")
    assert "version 1 of tiny is older than 1.1" in cmc("info", mine, "--trust", store).error
    assert "tiny: version 1.1 or later" in cmc("bundle", "trust", "show", store).out


@pytest.mark.parametrize("command", ["info", "verify", "bench", "infer"])
def test_without_keys_only_an_explicit_choice_runs(
    command: str, cmc: Cmc, bundle: Path, scans: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.cli.conftest.with_trust", list)
    words = [command, bundle]
    if command == "infer":
        words += ["--image", f"ct={scans['ct']}", "-o", tmp_path / "out"]
    refused = cmc(*words)
    assert refused.code == 2
    for way_out in ("--trust STORE", "--development", "CMC_TRUST=STORE"):
        assert way_out in refused.error
    assert not (tmp_path / "out").exists()
    both = cmc(*words, "--development", "--trust", tmp_path / "trust.json")
    assert "contradict" in both.error
    store = tmp_path / "trust.json"
    store.write_text('{"trust_version": 1}')
    assert "is not signed" in cmc(*words, "--trust", store).error
    monkeypatch.setenv(TRUST_VARIABLE, str(store))
    assert "is not signed" in cmc(*words).error
    if command in ("info", "infer"):
        done = cmc(*words, "--development")
        assert done.code == 0, done.err
        assert "development: unsigned" in done.out
    if command == "infer":
        assert json.loads((tmp_path / "out" / "record.json").read_text())["trust"] == "development: unsigned"


def test_a_session_asks_once(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrustError, match="nobody was named"):
        Session(bundle)
    with pytest.raises(TrustError, match="opened without asking"):
        Session(open_bundle(bundle))
    opened = open_bundle(bundle, policy="development")
    assert Session(opened).bundle is opened
    with pytest.raises(TrustError, match="was judged when it was opened"):
        Session(opened, trust="development")


def test_a_run_has_no_signature(cmc: Cmc, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("")
    (tmp_path / "list.yaml").write_text("")
    from cmc_sdk.cli.options.run_or_bundle import open_segmenter

    with pytest.raises(Exception, match="only a bundle is signed"):
        open_segmenter(tmp_path / "run", trust="development")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl stands in for the hardware module")
def test_a_module_that_keeps_its_key_signs(cmc: Cmc, mine: Path, tmp_path: Path) -> None:
    def openssl(*words: object) -> None:
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)

    key, public, message, raw = (tmp_path / name for name in ("hsm.pem", "hsm.pub", "mine.tosign", "mine.raw"))
    openssl("genpkey", "-algorithm", "ed25519", "-out", key)
    openssl("pkey", "-in", key, "-pubout", "-out", public)
    done = cmc("bundle", "digest", mine, "-o", message)
    assert done.code == 0, done.err
    assert message.read_bytes() == b"cmc-bundle-v1\0" + (mine / "manifest.json").read_bytes()
    openssl("pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", message, "-out", raw)
    words = ["bundle", "attach-signature", mine, "--public-key", public, "--signature", raw]
    sound = raw.read_bytes()
    for wrong, word in ((sound[:-1], "has 63 bytes"), (sound + b"x", "65 bytes"), (bytes(64), "is not one of key")):
        raw.write_bytes(wrong)
        refused = cmc(*words)
        assert refused.code == 2
        assert word in refused.error
        assert not (mine / "manifest.sig").exists()
    raw.write_bytes(sound)
    attached = cmc(*words)
    assert attached.code == 0, attached.err
    cmc("bundle", "trust", "add", tmp_path / "trust.json", public)
    assert cmc("bundle", "check", mine, "--trust", tmp_path / "trust.json").code == 0
    assert "signed already" in cmc(*words).error
    assert cmc(*words, "--replace").code == 0
    assert "exists already" in cmc("bundle", "digest", mine, "-o", message).error


def test_a_passphrase_is_asked_for_or_read_but_never_a_word(
    cmc: Cmc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "a.key"
    assert "nobody can be asked" in cmc("bundle", "keygen", "-o", key).error
    assert cmc("bundle", "keygen", "-o", key, "--passphrase", "word").code == 2
    assert "NOT_SET is not set" in cmc("bundle", "keygen", "-o", key, "--passphrase-env", "NOT_SET").error
    file = tmp_path / "word"
    file.write_text(f"{PASSPHRASE}\n")
    file.chmod(0o644)
    assert "read by others" in cmc("bundle", "keygen", "-o", key, "--passphrase-file", file).error
    file.chmod(0o600)
    both = cmc("bundle", "keygen", "-o", key, "--passphrase-file", file, "--passphrase-env", "CMC_TEST_PASSPHRASE")
    assert "contradict" in both.error
    assert not key.exists()
    assert cmc("bundle", "keygen", "-o", key, "--passphrase-file", file).code == 0
    asked: list[dict[str, object]] = []
    monkeypatch.setattr(bundle_command.sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(click, "prompt", lambda text, **options: asked.append(options) or PASSPHRASE)
    assert cmc("bundle", "keygen", "-o", tmp_path / "b.key").code == 0
    assert [(item["hide_input"], item["confirmation_prompt"], item["err"]) for item in asked] == [(True, True, True)]


def test_every_command_has_help_with_an_example(cmc: Cmc) -> None:
    for words in (["keygen"], ["sign"], ["check"], ["digest"], ["attach-signature"], ["trust"]):
        done = cmc("bundle", *words, "--help")
        assert done.code == 0
        assert f"cmc bundle {words[0]}" in done.out.split("Example")[1]
    for word in ("add", "revoke", "require", "show"):
        assert f"cmc bundle trust {word}" in cmc("bundle", "trust", word, "--help").out.split("Example")[1]


def test_the_tests_own_helper_adds_development_only_where_a_bundle_is_opened(bundle: Path) -> None:
    assert with_trust(["info", "a.cmc"]) == ["info", "a.cmc", "--development"]
    assert with_trust(["info", "a.cmc", "--trust", "s"]) == ["info", "a.cmc", "--trust", "s"]
    assert with_trust(["evaluate", "run", "d"]) == ["evaluate", "run", "d"]
    assert with_trust(["evaluate", str(bundle), "d"])[-1] == "--development"
    assert with_trust(["doctor"]) == ["doctor"]
