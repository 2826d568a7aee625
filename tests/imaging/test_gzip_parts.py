"""gzip in parts: what any reader unpacks is what was given, in one member, whatever the number of processors."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_sdk.imaging import gzip_parts as module
from cmc_sdk.imaging.gzip_parts import gzip_parts


@given(parts=st.lists(st.binary(max_size=4000), max_size=12), level=st.integers(0, 9))
def test_what_is_unpacked_is_what_was_given(parts: list[bytes], level: int) -> None:
    packed = b"".join(gzip_parts(parts, level=level))
    assert gzip.decompress(packed) == b"".join(parts)
    # One member: a reader that stops after the first has all of it.
    reader = zlib.decompressobj(16 + zlib.MAX_WBITS)
    assert reader.decompress(packed) == b"".join(parts)
    assert reader.eof
    assert reader.unused_data == b""


def test_the_bytes_do_not_depend_on_the_number_of_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [os.urandom(1000) + bytes(50_000) for _ in range(9)]
    found = set()
    for count in (1, 2, 16):
        monkeypatch.setattr(module, "usable_threads", lambda count=count: count)
        found.add(b"".join(gzip_parts(parts, level=4)))
    assert len(found) == 1


@pytest.mark.skipif(shutil.which("gzip") is None, reason="the program gzip is not installed")
def test_the_program_gzip_finds_nothing_wrong(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(b"".join(gzip_parts([b"a" * 100_000, b"", b"b" * 7], level=4)))
    done = subprocess.run(["gzip", "--test", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_part_that_cannot_be_made_ends_it() -> None:
    def parts():
        yield b"a"
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        b"".join(gzip_parts(parts(), level=4))
