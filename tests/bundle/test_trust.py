"""Whose bundles run: signatures, the store, revocation, validity, rollback."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from cmc_sdk.bundle import open_bundle, reader
from cmc_sdk.bundle.schema import trust_schema
from cmc_sdk.bundle.signature import SIGNATURE_BYTES, Signature
from cmc_sdk.bundle.signing import attach_signature, bundle_message, sign_bundle
from cmc_sdk.bundle.trust import TrustStore, read_trust_store, require_trust
from cmc_sdk.bundle.trust_edit import add_key, require_version, revoke_key, write_trust_store
from cmc_sdk.environment import TRUST_VARIABLE
from cmc_sdk.errors import BundleError, InputError, TrustError
from tests.bundle.examples import edit_manifest, make_bundle
from tests.bundle.signed import STRANGER, VENDOR, store_of, write_signature

PUBLISHED = Path(__file__).parents[2] / "docs" / "schema" / "trust-store.schema.json"


@pytest.fixture
def bundle(tmp_path):
    path = make_bundle(tmp_path / "a.cmc")
    sign_bundle(path, key=VENDOR)
    return path


def refused(call, *parts, error=TrustError):
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    for part in parts:
        assert part in message
    assert caught.value.mend
    assert "\n" not in message
    return caught.value


def test_a_signed_bundle_opens_for_whoever_trusts_the_key(bundle):
    opened = open_bundle(bundle, policy=store_of(STRANGER, VENDOR))
    assert opened.verdict.key_id == opened.verdict.note == VENDOR.public.key_id
    opened.verify_all()
    assert len((bundle / "manifest.sig").read_bytes()) == SIGNATURE_BYTES
    assert VENDOR.public.verifies(opened.signature.value, b"cmc-bundle-v1\0" + (bundle / "manifest.json").read_bytes())


def test_who_is_refused(bundle):
    name = str(bundle)
    refused(
        lambda: open_bundle(bundle, policy=store_of(STRANGER)), name, VENDOR.public.key_id, "not in the trust store"
    )
    refused(lambda: open_bundle(bundle, policy=TrustStore()), name, "not in the trust store")
    revoked = revoke_key(store_of(VENDOR), VENDOR.public.key_id, reason="laptop stolen")
    refused(lambda: open_bundle(bundle, policy=revoked), name, "revoked: laptop stolen")
    write_signature(bundle, STRANGER)
    # The stranger's signature under the vendor's id: the id picks the key, and the key decides.
    text = (bundle / "manifest.sig").read_text().replace(STRANGER.public.key_id, VENDOR.public.key_id)
    (bundle / "manifest.sig").write_text(text)
    refused(lambda: open_bundle(bundle, policy=store_of(VENDOR)), name, "no signature of key", "was changed")
    (bundle / "manifest.sig").unlink()
    refused(lambda: open_bundle(bundle, policy=store_of(VENDOR)), name, "is not signed", "cmc bundle sign")


def test_the_signature_is_checked_before_the_manifest_is_parsed(bundle, monkeypatch):
    (bundle / "manifest.json").write_bytes(b'{"schema_version": 1, "schema_version": 1}')
    parsed = []
    monkeypatch.setattr(reader, "parse_manifest", lambda *a, **k: parsed.append(1))
    refused(lambda: open_bundle(bundle, policy=store_of(VENDOR)), "was changed")
    assert not parsed


def test_a_signed_manifest_is_still_read_strictly(bundle):
    edit_manifest(bundle, lambda manifest: manifest.update(schema_version=2))
    write_signature(bundle)
    refused(lambda: open_bundle(bundle, policy=store_of(VENDOR)), "schema version 2", error=BundleError)


@pytest.mark.parametrize(
    "change",
    [
        lambda line: b"",
        lambda line: line[:-1],
        lambda line: line + b"\n",
        lambda line: line.replace(b"v1", b"v2"),
        lambda line: line.upper(),
        lambda line: line.replace(b" ", b"  ", 1),
        lambda line: line.rstrip() + b"\r",
        lambda line: b"\0" * len(line),
        lambda line: line * 1000,
    ],
)
def test_there_is_one_way_to_write_a_signature(bundle, change):
    path = bundle / "manifest.sig"
    path.write_bytes(change(path.read_bytes()))
    for policy in (None, "development", store_of(VENDOR)):
        refused(lambda policy=policy: open_bundle(bundle, policy=policy), "manifest.sig", error=BundleError)


def test_development_says_what_was_not_checked(bundle):
    verdict = open_bundle(bundle, policy="development").verdict
    assert (verdict.key_id, verdict.note) == (None, f"development: signed by key {VENDOR.public.key_id}, not checked")
    (bundle / "manifest.sig").unlink()
    assert open_bundle(bundle, policy="development").verdict.note == "development: unsigned"
    assert open_bundle(bundle).verdict is None


def test_a_key_has_its_time():
    store = store_of(VENDOR, valid_from=date(2026, 3, 1), valid_until=date(2026, 3, 31))
    manifest = b"{}"
    made = Signature(VENDOR.public.key_id, VENDOR.sign(b"cmc-bundle-v1\0" + manifest))
    for day in (date(2026, 3, 1), date(2026, 3, 31)):
        assert store.verify(manifest, made, name="a.cmc", today=day) == VENDOR.public.key_id
    for day in (date(2026, 2, 28), date(2026, 4, 1)):
        refused(lambda day=day: store.verify(manifest, made, name="a.cmc", today=day), "2026-03-01", str(day))


@pytest.mark.parametrize(
    ("version", "least", "verdict"),
    [
        ("1.2", "1.2", "runs"),
        ("1.2.0", "1.2", "runs"),
        ("1.10", "1.9", "runs"),
        ("2", "1.9.9", "runs"),
        ("01.3", "1.3", "runs"),
        ("1.9", "1.10", "is older than"),
        ("1", "1.0.1", "is older than"),
        ("0", "0.0.1", "is older than"),
        ("2026-rc1", "2026-rc1", "runs"),
        ("2026-rc2", "2026-rc1", "cannot be compared"),
        ("1.2", "v1.2", "cannot be compared"),
        ("v1.3", "1.2", "cannot be compared"),
        ("1.2.", "1.1", "cannot be compared"),
        ("1..2", "1.1", "cannot be compared"),
        ("-1", "1", "cannot be compared"),
        ("1.2 ", "1.1", "cannot be compared"),
        ("١.٢", "1.1", "cannot be compared"),
        ("9" * 5000, "1", "cannot be compared"),
        ("", "1", "cannot be compared"),
    ],
)
def test_rollback(tmp_path, version, least, verdict):
    bundle = make_bundle(tmp_path / "a.cmc", version=version)
    sign_bundle(bundle, key=VENDOR)
    store = require_version(store_of(VENDOR), "abdomen", least)
    if verdict == "runs":
        assert open_bundle(bundle, policy=store).verdict.key_id
    else:
        refused(lambda: open_bundle(bundle, policy=store), "a.cmc", "abdomen", verdict)
    assert open_bundle(bundle, policy=require_version(store_of(VENDOR), "liver", "99")).verdict.key_id


def test_signing_touches_the_signature_alone(tmp_path):
    path = make_bundle(tmp_path / "a.cmc")
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    assert bundle_message(path) == b"cmc-bundle-v1\0" + before[path / "manifest.json"]
    sign_bundle(path, key=VENDOR)
    after = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    assert after.pop(path / "manifest.sig")
    assert after == before
    refused(lambda: sign_bundle(path, key=STRANGER), "signed already", VENDOR.public.key_id, error=BundleError)
    sign_bundle(path, key=STRANGER, replace=True)
    assert open_bundle(path, policy=store_of(STRANGER)).verdict.key_id == STRANGER.public.key_id


def test_a_changed_bundle_is_not_signed(tmp_path):
    path = make_bundle(tmp_path / "a.cmc")
    content = bytearray((path / "parity.json").read_bytes())
    content[0] ^= 1
    (path / "parity.json").write_bytes(content)
    for call in (
        lambda: sign_bundle(path, key=VENDOR),
        lambda: bundle_message(path),
        lambda: attach_signature(path, signature=bytes(64), public=VENDOR.public),
    ):
        refused(call, "parity.json", "sha256", error=BundleError)
    assert not (path / "manifest.sig").exists()


def test_an_attached_signature_is_verified_before_it_is_written(tmp_path):
    path = make_bundle(tmp_path / "a.cmc")
    right = VENDOR.sign(bundle_message(path))
    for wrong in (STRANGER.sign(bundle_message(path)), VENDOR.sign(bundle_message(path)[14:]), bytes(64), right[:-1]):
        refused(lambda raw=wrong: attach_signature(path, signature=raw, public=VENDOR.public), error=InputError)
        assert not (path / "manifest.sig").exists()
    attach_signature(path, signature=right, public=VENDOR.public)
    assert open_bundle(path, policy=store_of(VENDOR)).verdict.key_id == VENDOR.public.key_id


def test_the_policy_must_be_named(tmp_path, monkeypatch):
    monkeypatch.delenv(TRUST_VARIABLE, raising=False)
    refused(lambda: require_trust(None), "--trust STORE", "--development", TRUST_VARIABLE)
    assert require_trust("development") == "development"
    store = store_of(VENDOR)
    assert require_trust(store) is store
    write_trust_store(store, tmp_path / "trust.json")
    assert require_trust(tmp_path / "trust.json") == require_trust(str(tmp_path / "trust.json")) == store
    monkeypatch.setenv(TRUST_VARIABLE, str(tmp_path / "trust.json"))
    assert require_trust(None) == store
    # The environment may name a store; it cannot switch the check off.
    monkeypatch.setenv(TRUST_VARIABLE, "development")
    refused(lambda: require_trust(None), "development cannot be read")


def test_a_store_comes_back_as_it_was_written(tmp_path):
    store = add_key(store_of(VENDOR), STRANGER.public, owner="B", valid_from=date(2026, 1, 1), valid_until=None)
    store = require_version(revoke_key(store, "00" * 8, reason="lost"), "liver", "1.2")
    write_trust_store(store, tmp_path / "trust.json")
    assert read_trust_store(tmp_path / "trust.json") == store
    refused(lambda: add_key(store, VENDOR.public), "already", error=InputError)
    refused(lambda: revoke_key(store, "00" * 8), "already", error=InputError)
    refused(lambda: revoke_key(store, "xyz"), "'xyz'", error=InputError)
    gone = revoke_key(store, VENDOR.public.key_id)
    refused(lambda: add_key(TrustStore(revoked=gone.revoked), VENDOR.public), "is revoked", error=InputError)
    late = {"valid_from": date(2026, 2, 1), "valid_until": date(2026, 1, 1)}
    refused(lambda: add_key(TrustStore(), VENDOR.public, **late), "before 2026-02-01", error=InputError)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda d: d.pop("trust_version"), "no trust_version"),
        (lambda d: d.update(trust_version="1"), "no trust_version"),
        (lambda d: d.update(trust_version=2), "upgrade cmc-sdk"),
        (lambda d: d.update(surprise=1), "surprise"),
        (lambda d: d["keys"].append(d["keys"][0]), "twice"),
        (lambda d: d["keys"][0].update(key_id="00" * 8), "is not that of its public_key"),
        (lambda d: d["keys"][0].update(public_key="00" * 31), "keys.0.public_key"),
        (lambda d: d["keys"][0].update(valid_until="soon"), "keys.0.valid_until"),
        (lambda d: d["keys"][0].update(owner="x" * 201), "keys.0.owner"),
        (lambda d: d["revoked"].append({"key_id": "X" * 16}), "revoked.0.key_id"),
        (lambda d: d["min_versions"].update(liver=1), "min_versions.liver"),
    ],
)
def test_stores_that_break_the_schema(tmp_path, change, word):
    document = store_of(VENDOR).model_dump(mode="json")
    change(document)
    (tmp_path / "trust.json").write_text(json.dumps(document))
    refused(lambda: read_trust_store(tmp_path / "trust.json"), "trust.json", word)


def test_stores_that_are_not_read_at_all(tmp_path):
    path = tmp_path / "trust.json"
    refused(lambda: read_trust_store(path), "trust.json", "No such file")
    for content, word in (
        (b"", "Expecting value"),
        (b"[" * 40 + b"]" * 40, "deep"),
        (b'{"trust_version": 1, "trust_version": 1}', "twice"),
        (b" " * ((1 << 20) + 1), "more than"),
    ):
        path.write_bytes(content)
        refused(lambda: read_trust_store(path), "trust.json", word)
    write_trust_store(store_of(VENDOR), path)
    path.chmod(0o666)
    refused(lambda: read_trust_store(path), "may be written by everyone", "chmod o-w")
    path.chmod(0o644)
    (tmp_path / "link.json").symlink_to(path)
    refused(lambda: read_trust_store(tmp_path / "link.json"), "link.json", "is a link")
    refused(lambda: write_trust_store(TrustStore(), tmp_path / "link.json"), "is a link", error=InputError)
    refused(lambda: read_trust_store(tmp_path), "cannot be read")


def test_the_published_schema_is_the_stores():
    assert json.loads(PUBLISHED.read_text()) == trust_schema()
