"""Thousands of ways to change a signed bundle: each is refused by name, writes nothing, and takes no memory."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmc_sdk import Volume
from cmc_sdk.bundle import open_bundle, write_bundle
from cmc_sdk.bundle.trust import TrustStore
from cmc_sdk.cli.terminal.bundle_document import describe
from cmc_sdk.cli.terminal.gate_table import print_parity
from cmc_sdk.errors import BundleError
from cmc_sdk.runtime.backends.graphs import read_graph
from cmc_sdk.runtime.gate.golden import INDEX_PATH, encode_volume, read_golden_cases
from tests.bundle import attacks, attacks_with_key
from tests.bundle.signed import write_signature
from tests.cli.command import make_spec

pytest.importorskip("onnx")
FAMILIES = (*attacks.WITHOUT_KEY, *attacks_with_key.WITH_KEY)
RARELY = (*attacks.RARELY, *attacks_with_key.RARELY)
WRITING = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod"}
WRITING |= {"shutil.copyfile", "shutil.move", "shutil.rmtree", "subprocess.Popen", "os.system", "socket.connect"}


def make_signed(path: Path) -> Path:
    """A bundle as small as one can be that has all parts: real graphs, a golden scan, figures of parity."""
    from tests.cli.graphs import make_graph

    spec = make_spec()
    graphs = [make_graph(part, name, modalities=spec.names) for name in spec.names for part in ("encoder", "decoder")]
    scan = encode_volume(Volume(np.arange(64, dtype=np.int16).reshape(4, 4, 4), np.eye(4), name="scan"))
    one = {"ct": "golden/scan.nii.gz"}
    run = {"present": ["ct"], "labels": one, "confidence": one, "undecided": one}
    index = {"cases": [{"name": "case", "images": one, "runs": [run]}]}
    parity = {
        "f32": {
            "limits": {"min_dice": 0.999, "max_flips": 0.0001},
            "reference": "torch",
            "backends": {},
            "runs": [],
            "not_finite": [],
        }
    }
    files = {entry.path: content for entry, content in graphs}
    files |= {INDEX_PATH: json.dumps(index).encode(), "golden/scan.nii.gz": scan}
    files["parity.json"] = json.dumps(parity).encode()
    fields = {
        "name": "tiny", "version": "1", "licence": "Apache-2.0", "intended_use": "tests", "spec": spec,
        "graphs": tuple(entry for entry, _ in graphs), "gate": {}, "provenance": {"seed": 1},
    }  # fmt: skip
    write_bundle(path, manifest_fields=fields, files=files)
    write_signature(path)
    return path


def read_everything(path: Path, store: TrustStore) -> None:
    """All that `cmc info`, `verify` and `infer` read of a bundle, until a graph goes to its library."""
    bundle = open_bundle(path, policy=store)
    with contextlib.redirect_stdout(io.StringIO()):
        print_parity(describe(bundle)["parity"])
    bundle.verify_all()
    for graph in bundle.manifest.graphs:
        read_graph(bundle, graph)
    read_golden_cases(bundle.read)


class Watch:
    """Notes everything that is opened for writing, made, moved or started while it is on."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.on = False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event in WRITING:
            self.seen.append(f"{event} {arguments}")


def attack_once(attack: Any, victim: Path, draw: Any, watch: Watch) -> bool:
    """One attack; whether it was refused. Raises AssertionError if that was not as it must be."""
    expected = attack(victim, draw)
    refusal: BaseException | None = None
    watch.on = True
    try:
        read_everything(victim, expected.store)
    except BaseException as error:
        refusal = error
    finally:
        watch.on = False
    assert watch.seen == [], f"{attack.__name__}: wrote {watch.seen}"
    if refusal is None:
        assert not expected.must, f"{attack.__name__}: got through"
        return False
    line = str(refusal)
    assert isinstance(refusal, expected.error), f"{attack.__name__}: {type(refusal).__name__}: {line[:300]}"
    assert any(word in line for word in expected.words), f"{attack.__name__}: {line[:300]}"
    assert "\n" not in line
    assert len(line) < 2000, f"{attack.__name__}: {len(line)} characters"
    assert refusal.mend
    return True


def attack_many(folder: Path, *, families: tuple[Any, ...], examples: int) -> Counter[str]:
    """`examples` attacks, drawn from `families`; how many of each were refused, or read as harmless."""
    bundle, watch, seen = make_signed(folder / "sound.cmc"), Watch(), Counter[str]()
    read_everything(bundle, attacks.TRUSTED)

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(st.sampled_from(families), st.data())
    def one(attack: Any, data: st.DataObject) -> None:
        victim = attacks.fresh_copy(bundle, folder / "attacked")
        refused = attack_once(attack, victim, data.draw, watch)
        seen[f"{attack.__name__}: {'refused' if refused else 'harmless'}"] += 1

    one()
    return seen


@pytest.mark.parametrize("attack", FAMILIES, ids=lambda attack: attack.__name__)
def test_each_attack_is_refused(attack: Any, tmp_path: Path) -> None:
    seen = attack_many(tmp_path, families=(attack,), examples=6)
    assert sum(seen.values()) >= 4


CHILD = """
import json, resource, sys
from pathlib import Path
from tests.bundle import test_attacks
folder = Path(sys.argv[1])
test_attacks.attack_many(folder / "warm", families=test_attacks.FAMILIES, examples=30)
pages = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (pages + (1 << 30), pages + (1 << 30)))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
seen = test_attacks.attack_many(folder / "many", families=test_attacks.FAMILIES, examples=2000)
plain = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
seen += test_attacks.attack_many(folder / "rare", families=test_attacks.RARELY, examples=24)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"seen": seen, "grown": (plain - before) << 10, "grown_rarely": (after - plain) << 10}))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_two_thousand_attacks_are_refused_in_bounded_memory() -> None:
    # A file system in memory, where there is one: most of the time would go into making and removing files.
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        for name in ("warm", "many", "rare"):
            (Path(folder) / name).mkdir()
        words = [sys.executable, "-c", CHILD, folder]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    refused = sum(count for name, count in found["seen"].items() if name.endswith("refused"))
    print(json.dumps(found, indent=1))
    assert sum(found["seen"].values()) >= 2000
    assert refused >= 1700
    assert {name.split(":")[0] for name in found["seen"]} == {attack.__name__ for attack in (*FAMILIES, *RARELY)}
    assert found["grown"] < 64 << 20
    assert found["grown_rarely"] < 192 << 20


def test_the_watch_sees_a_file_that_is_written(tmp_path: Path) -> None:
    watch = Watch()
    watch.on = True
    (tmp_path / "x").write_bytes(b"")
    watch.on = False
    assert any("open" in event for event in watch.seen)
    with pytest.raises(AssertionError, match="got through"):
        attack_once(
            lambda victim, draw: attacks.Refusal(BundleError, ("x",)),
            make_signed(tmp_path / "sound.cmc"),
            None,
            watch=Watch(),
        )
