"""What somebody may do to a signed bundle: each attack changes a copy in place and says how it must be refused.

The first part needs no key. The second is done with the trusted key itself, by a careless or hostile holder of it:
there the signature holds, and the rules of reading must.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from cmc_sdk.bundle.trust import TrustStore
from cmc_sdk.bundle.trust_edit import require_version, revoke_key
from cmc_sdk.errors import BundleError, TrustError
from tests.bundle.examples import edit_manifest
from tests.bundle.signed import STRANGER, VENDOR, store_of, write_signature

Draw = Callable[[st.SearchStrategy[Any]], Any]
TRUSTED = store_of(VENDOR)
OTHERS = ("graphs/f32/encoder_ct.onnx", "golden/golden.json", "golden/scan.nii.gz", "parity.json")
SEAL = ("manifest.json", "manifest.sig")


@dataclass(frozen=True)
class Refusal:
    """How an attack must end: an error of `error` whose line holds one of `words`.

    Args:
        must: False where the change may also be harmless, so that the bundle may be read.
    """

    error: type[BundleError]
    words: tuple[str, ...]
    store: TrustStore = field(default=TRUSTED)
    must: bool = True


def _changed(path: Path, draw: Draw) -> bytes:
    """The file's content, changed somewhere: bits, a cut, an addition, a swap of two pieces, or all of it."""
    whole = path.read_bytes()
    way = draw(st.sampled_from(["bit", "cut", "add", "swap", "other"]))
    at = draw(st.integers(0, len(whole) - 1))
    if way == "bit":
        return whole[:at] + bytes([whole[at] ^ (1 << draw(st.integers(0, 7)))]) + whole[at + 1 :]
    if way == "cut":
        return whole[:at]
    if way == "add":
        return whole[:at] + draw(st.binary(min_size=1, max_size=40)) + whole[at:]
    if way == "swap":
        return whole[at:] + whole[:at] if whole[at:] + whole[:at] != whole else whole + b"\0"
    content: bytes = draw(st.binary(max_size=300))
    return content if content != whole else content + b"\0"


def bytes_of_a_file(bundle: Path, draw: Draw) -> Refusal:
    name = draw(st.sampled_from(OTHERS))
    content = _changed(bundle / name, draw)
    (bundle / name).write_bytes(content)
    return Refusal(BundleError, ("sha256", "bytes, the manifest lists"))


def bytes_of_the_manifest(bundle: Path, draw: Draw) -> Refusal:
    path = bundle / "manifest.json"
    path.write_bytes(_changed(path, draw))
    return Refusal(TrustError, ("was changed",))


def bytes_of_the_signature(bundle: Path, draw: Draw) -> Refusal:
    path = bundle / "manifest.sig"
    path.write_bytes(_changed(path, draw))
    return Refusal(BundleError, ("is not a signature", "was changed", "not in the trust store"))


def a_file_is_gone(bundle: Path, draw: Draw) -> Refusal:
    name = draw(st.sampled_from([*OTHERS, *SEAL]))
    (bundle / name).unlink()
    words = {"manifest.json": "holds no manifest.json", "manifest.sig": "is not signed"}.get(name, "is missing")
    return Refusal(TrustError if name == "manifest.sig" else BundleError, (words,))


def a_file_is_added(bundle: Path, draw: Draw) -> Refusal:
    letters = st.text("abcXYZ019._- ü", min_size=1, max_size=30)
    parts = [part for part in draw(st.lists(letters, min_size=1, max_size=4)) if part not in (".", "..")] or ["x"]
    path = bundle.joinpath(*parts)
    if path.exists():
        path = bundle / "more"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(draw(st.binary(max_size=20)))
    return Refusal(BundleError, ("is not listed",))


def many_files_are_added(bundle: Path, draw: Draw) -> Refusal:
    if draw(st.booleans()):
        path = bundle.joinpath(*["d"] * draw(st.integers(18, 60)))
        path.mkdir(parents=True)
        return Refusal(BundleError, ("deep",))
    for index in range(4200):
        (bundle / f"extra{index}").touch()
    return Refusal(BundleError, ("more than 4096",))


def a_link(bundle: Path, draw: Draw) -> Refusal:
    name = draw(st.sampled_from([*OTHERS, *SEAL, "graphs", "golden", "graphs/f32"]))
    path, kept = bundle / name, bundle.parent / "kept"
    path.rename(kept)
    target = draw(st.sampled_from([str(kept), "/dev/zero", "/etc/passwd", name, "../kept", "/", "nowhere"]))
    path.symlink_to(target)
    return Refusal(BundleError, ("is a link",))


def no_plain_file(bundle: Path, draw: Draw) -> Refusal:
    name = draw(st.sampled_from([*OTHERS, *SEAL]))
    (bundle / name).unlink()
    if draw(st.booleans()):
        os.mkfifo(bundle / name)
        return Refusal(BundleError, ("not a plain file",))
    (bundle / name).mkdir()
    words = {"manifest.json": "holds no manifest.json", "manifest.sig": "is not signed"}.get(name, "is missing")
    return Refusal(TrustError if name == "manifest.sig" else BundleError, (words,))


def files_change_places(bundle: Path, draw: Draw) -> Refusal:
    first, second = draw(st.lists(st.sampled_from(OTHERS), min_size=2, max_size=2, unique=True))
    (bundle / first).rename(bundle / "x")
    (bundle / second).rename(bundle / first)
    (bundle / "x").rename(bundle / second)
    return Refusal(BundleError, ("sha256", "bytes, the manifest lists"))


def a_name_in_other_letters(bundle: Path, draw: Draw) -> Refusal:
    name = draw(st.sampled_from(OTHERS))
    (bundle / name).rename((bundle / name).with_name((bundle / name).name.upper()))
    return Refusal(BundleError, ("is missing",))


def a_file_of_ten_gigabytes(bundle: Path, draw: Draw) -> Refusal:
    name = draw(st.sampled_from([*OTHERS, *SEAL]))
    os.truncate(bundle / name, draw(st.integers(3 << 30, 10 << 30)))
    return Refusal(BundleError, ("bytes, the manifest lists", "bytes, more than", "is not a signature"))


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(leaf for key, item in inner for leaf in _leaves(item, (*path, key)))]


def _put(bundle: Path, draw: Draw) -> None:
    """Any value of the manifest becomes another, is taken out, or gets a neighbour."""
    document = json.loads((bundle / "manifest.json").read_text())
    path = draw(st.sampled_from(_leaves(document)[1:]))
    place = document
    for key in path[:-1]:
        place = place[key]
    scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=8) | st.floats(-1e9, 1e9)
    way = draw(st.sampled_from(["other", "gone", "neighbour"]))
    if way == "gone":
        del place[path[-1]]
    elif way == "neighbour" and isinstance(place, dict):
        place[draw(st.text(max_size=8))] = draw(scalars)
    elif way == "neighbour":
        place.append(place[path[-1]])
    else:
        place[path[-1]] = draw(scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.text(max_size=5), scalars))
    (bundle / "manifest.json").write_text(json.dumps(document))


def the_manifest_is_edited(bundle: Path, draw: Draw) -> Refusal:
    _put(bundle, draw)
    return Refusal(TrustError, ("was changed",))


def the_manifest_is_laid_out_anew(bundle: Path, draw: Draw) -> Refusal:
    document = json.loads((bundle / "manifest.json").read_text())
    text = json.dumps(document, indent=draw(st.sampled_from([None, 0, 1, 3, 4])), sort_keys=draw(st.booleans()))
    (bundle / "manifest.json").write_text(text + draw(st.sampled_from(["", " ", "\n\n", "\r\n"])))
    return Refusal(TrustError, ("was changed",))


def the_wrong_key(bundle: Path, draw: Draw) -> Refusal:
    manifest = (bundle / "manifest.json").read_bytes()
    sound = (bundle / "manifest.sig").read_bytes()
    mine, theirs = STRANGER.public.key_id, VENDOR.public.key_id
    order = 2**252 + 27742317777372353535851937790883648493
    value = bytes.fromhex(sound.split()[2].decode())
    forged = {
        "a stranger": (mine, STRANGER.sign(b"cmc-bundle-v1\0" + manifest)),
        "a stranger under the vendor's id": (theirs, STRANGER.sign(b"cmc-bundle-v1\0" + manifest)),
        "the vendor under a stranger's id": (mine, value),
        "for another purpose": (theirs, VENDOR.sign(manifest)),
        "of another bundle": (theirs, VENDOR.sign(b"cmc-bundle-v1\0" + manifest + b"\n")),
        "the second form": (theirs, value[:32] + (int.from_bytes(value[32:], "little") + order).to_bytes(32, "little")),
        "zeros": (theirs, bytes(64)),
        "noise": (theirs, draw(st.binary(min_size=64, max_size=64))),
    }
    name, raw = forged[draw(st.sampled_from(sorted(forged)))]
    (bundle / "manifest.sig").write_text(f"cmc-signature-v1 {name} {raw.hex()}\n")
    return Refusal(TrustError, ("not in the trust store" if name == mine else "was changed",))


def a_key_out_of_use(bundle: Path, draw: Draw) -> Refusal:
    how = draw(st.sampled_from(["revoked", "expired", "not yet", "unknown", "empty store"]))
    if how == "revoked":
        return Refusal(TrustError, ("is revoked",), revoke_key(TRUSTED, VENDOR.public.key_id))
    if how == "expired":
        return Refusal(TrustError, ("which is valid",), store_of(VENDOR, valid_until=date(2020, 1, 1)))
    if how == "not yet":
        return Refusal(TrustError, ("which is valid",), store_of(VENDOR, valid_from=date(9000, 1, 1)))
    return Refusal(TrustError, ("not in the trust store",), store_of(STRANGER) if how == "unknown" else TrustStore())


def rollback(bundle: Path, draw: Draw) -> Refusal:
    numbers = st.lists(st.integers(0, 99), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))
    words = st.sampled_from(["rc1", "1.2a", "", " 1", "1,2", "٢", "1e9", "v3"])
    version, least = draw(numbers | words), draw(numbers | words)
    edit_manifest(bundle, lambda document: document.update(version=version))
    write_signature(bundle)

    def key(word: str) -> list[int]:
        parts = [int(part) for part in word.split(".")]
        return parts + [0] * (4 - len(parts))

    plain = all(word.replace(".", "").isascii() and word.replace(".", "").isdigit() for word in (version, least))
    old = key(version) < key(least) if plain else version != least
    return Refusal(
        TrustError, ("is older than", "cannot be compared"), require_version(TRUSTED, "tiny", least), must=old
    )


WITHOUT_KEY = (
    bytes_of_a_file, bytes_of_the_manifest, bytes_of_the_signature, a_file_is_gone, a_file_is_added, a_link,
    no_plain_file, files_change_places, a_name_in_other_letters, a_file_of_ten_gigabytes, the_manifest_is_edited,
    the_manifest_is_laid_out_anew, the_wrong_key, a_key_out_of_use, rollback,
)  # fmt: skip
RARELY = (many_files_are_added,)


def fresh_copy(bundle: Path, folder: Path) -> Path:
    """A copy to attack, in a folder of its own that may hold what the attack needs outside."""
    shutil.rmtree(folder, ignore_errors=True)
    return Path(shutil.copytree(bundle, folder / "victim.cmc"))
