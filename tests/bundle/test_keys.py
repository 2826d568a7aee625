"""Keys: ids, files, passphrases, and who may read them; OpenSSL is the second opinion."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from cmc_sdk.bundle import keys, pkcs8
from cmc_sdk.bundle.keys import PublicKey, make_keys, read_passphrase, read_private_key, read_public_key
from cmc_sdk.errors import InputError, ResourceError
from tests.bundle.signed import PASSPHRASE, VENDOR

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(pkcs8, "ROUNDS", 1000)


def openssl(*words, **options):
    return subprocess.run(["openssl", *map(str, words)], capture_output=True, check=False, **options)


def refused(call, *parts):
    with pytest.raises(InputError) as caught:
        call()
    for part in parts:
        assert part in str(caught.value)
    assert caught.value.mend
    return caught.value


def test_the_id_is_the_head_of_a_hash_of_the_public_key():
    # RFC 8032, 7.1, test 1.
    secret = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    raw = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    key = keys.PrivateKey(Ed25519PrivateKey.from_private_bytes(secret))
    assert key.public.raw == raw
    assert key.public.key_id == hashlib.sha256(raw).hexdigest()[:16]
    assert (
        key.sign(b"")
        .hex()
        .startswith("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33ba")
    )
    assert secret.hex() not in repr(key)


def test_a_signature_is_of_one_message_by_one_key():
    signature = VENDOR.sign(b"message")
    assert VENDOR.public.verifies(signature, b"message")
    for wrong in (signature[:-1], signature + b"\0", b"", bytes(64), bytes([signature[0] ^ 1]) + signature[1:]):
        assert not VENDOR.public.verifies(wrong, b"message")
    assert not VENDOR.public.verifies(signature, b"message ")
    assert not PublicKey(bytes(31)).verifies(signature, b"message")
    # A second form of the same signature, S + L: what a lax verifier would take as another valid one.
    order = 2**252 + 27742317777372353535851937790883648493
    second = signature[:32] + (int.from_bytes(signature[32:], "little") + order).to_bytes(32, "little")
    assert not VENDOR.public.verifies(second, b"message")


def test_a_new_pair_signs_and_only_its_owner_may_read_the_private_half(tmp_path, quick):
    made = make_keys(tmp_path / "a.key", passphrase=PASSPHRASE)
    assert os.stat(tmp_path / "a.key").st_mode & 0o777 == 0o600
    assert (tmp_path / "a.key").read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    read = read_private_key(tmp_path / "a.key", passphrase=PASSPHRASE)
    assert read.public == made.public == read_public_key(tmp_path / "a.key.pub")
    assert made.public.verifies(read.sign(b"x"), b"x")
    assert make_keys(tmp_path / "b.key", passphrase=PASSPHRASE).public != made.public


@needs_openssl
def test_openssl_reads_the_private_key_with_all_its_rounds(tmp_path):
    made = make_keys(tmp_path / "a.key", passphrase=PASSPHRASE)
    dump = openssl("asn1parse", "-in", tmp_path / "a.key").stdout.decode()
    assert f"INTEGER           :{pkcs8.ROUNDS:06X}" in dump
    for name in (":PBES2", ":PBKDF2", ":hmacWithSHA256", ":aes-256-cbc"):
        assert name in dump
    word = f"pass:{PASSPHRASE}"
    done = openssl("pkey", "-in", tmp_path / "a.key", "-passin", word, "-pubout")
    assert done.stdout == (tmp_path / "a.key.pub").read_bytes()
    assert openssl("pkey", "-in", tmp_path / "a.key", "-passin", "pass:wrong", "-pubout").returncode != 0
    (tmp_path / "m").write_bytes(b"message")
    sign = ("pkeyutl", "-sign", "-rawin", "-inkey", tmp_path / "a.key", "-passin", word, "-in", tmp_path / "m")
    assert made.sign(b"message") == openssl(*sign).stdout


def test_a_key_that_openssl_or_another_library_wrote_is_read(tmp_path):
    key = Ed25519PrivateKey.generate()
    words = Encoding.PEM, PrivateFormat.PKCS8
    (tmp_path / "a.key").write_bytes(key.private_bytes(*words, BestAvailableEncryption(PASSPHRASE.encode())))
    os.chmod(tmp_path / "a.key", 0o600)
    assert read_private_key(tmp_path / "a.key", passphrase=PASSPHRASE).sign(b"x") == key.sign(b"x")


def test_private_keys_that_are_refused(tmp_path, quick):
    path = tmp_path / "a.key"
    make_keys(path, passphrase=PASSPHRASE)

    def read(word=PASSPHRASE):
        return lambda: read_private_key(path, passphrase=word)

    refused(read("another passphrase"), "a.key", "passphrase is wrong")
    refused(read(""), "passphrase is wrong")
    for mode in (0o640, 0o604, 0o660, 0o622):
        path.chmod(mode)
        refused(read(), "a.key", "may be read by others", f"{mode:04o}", "chmod 600")
    path.chmod(0o600)
    (tmp_path / "link.key").symlink_to(path)
    refused(lambda: read_private_key(tmp_path / "link.key", passphrase=PASSPHRASE), "link.key", "is a link")
    refused(lambda: read_private_key(tmp_path / "none.key", passphrase=PASSPHRASE), "none.key", "No such file")
    refused(lambda: read_private_key(tmp_path, passphrase=PASSPHRASE), "cannot be read")
    plain = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(plain)
    refused(read(), "a.key", "is not encrypted", "openssl pkcs8")
    other = rsa.generate_private_key(65537, 2048)
    words = Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(PASSPHRASE.encode())
    path.write_bytes(other.private_bytes(*words))
    refused(read(), "not of Ed25519")
    for content in (b"", b"x", b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"):
        path.write_bytes(content)
        refused(read(), "a.key")
    path.write_bytes(b"x" * 20_000)
    refused(read(), "more than 16384 bytes")


def test_public_keys_that_are_refused(tmp_path):
    path = tmp_path / "a.pub"
    other = rsa.generate_private_key(65537, 2048).public_key()
    from cryptography.hazmat.primitives.serialization import PublicFormat

    path.write_bytes(other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    refused(lambda: read_public_key(path), "a.pub", "not of Ed25519")
    path.write_bytes(b"nothing")
    refused(lambda: read_public_key(path), "a.pub", "not a public key in PEM")
    (tmp_path / "b.pub").symlink_to(path)
    refused(lambda: read_public_key(tmp_path / "b.pub"), "b.pub", "is a link")


def test_a_key_is_never_written_over_and_never_half_written(tmp_path, quick, monkeypatch):
    (tmp_path / "a.key.pub").write_text("somebody's")
    refused(lambda: make_keys(tmp_path / "a.key", passphrase=PASSPHRASE), "a.key.pub exists already")
    refused(lambda: make_keys(tmp_path / "b.key", passphrase="short"), "5 characters", "12")
    refused(lambda: make_keys(tmp_path / "none" / "b.key", passphrase=PASSPHRASE), "folder does not exist")
    assert [path.name for path in tmp_path.iterdir()] == ["a.key.pub"]

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keys.os, "fsync", full)
    with pytest.raises(ResourceError, match="No space left"):
        make_keys(tmp_path / "c.key", passphrase=PASSPHRASE)
    assert [path.name for path in tmp_path.iterdir()] == ["a.key.pub"]


def test_a_passphrase_file_is_a_secret_too(tmp_path):
    path = tmp_path / "word"
    path.write_text(f"{PASSPHRASE}\r\nnot this\n")
    path.chmod(0o600)
    assert read_passphrase(path) == PASSPHRASE
    path.chmod(0o644)
    refused(lambda: read_passphrase(path), "word", "may be read by others")
    path.chmod(0o600)
    path.write_bytes(b"\n")
    refused(lambda: read_passphrase(path), "word", "empty")
    path.write_bytes(b"\xff\n")
    refused(lambda: read_passphrase(path), "word", "UTF-8")
