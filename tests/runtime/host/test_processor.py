"""What the processor is, from the words of Linux and of Windows."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from cmc_sdk.runtime.host import processor

CPUINFO = """processor\t: 0
vendor_id\t: {vendor}
cpu family\t: {family}
model name\t: A processor of 4 GHz
cpu MHz\t\t: 2400.0
flags\t\t: fpu vme {flags}

processor\t: 1
cpu MHz\t\t: 2500.0
"""


def describe(monkeypatch, tmp_path, *, vendor="AuthenticAMD", family=25, flags="avx2 avx512f"):
    path = tmp_path / "cpuinfo"
    path.write_text(CPUINFO.format(vendor=vendor, family=family, flags=flags))
    monkeypatch.setattr(processor, "CPUINFO", path)


def test_facts_of_every_core(monkeypatch, tmp_path):
    describe(monkeypatch, tmp_path)
    assert processor.processor_facts("cpu MHz") == ["2400.0", "2500.0"]
    assert processor.processor_facts("cpu") == []
    assert processor.processor_name() == "A processor of 4 GHz"


def test_the_file_is_read_once_a_process(monkeypatch, tmp_path):
    describe(monkeypatch, tmp_path)
    reads = []
    read_text = Path.read_text

    def count(path, *args, **kwargs):
        reads.append(path)
        return read_text(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", count)
    assert processor.is_zen4()
    assert processor.processor_name() == "A processor of 4 GHz"
    assert processor.is_zen4()
    assert reads == [processor.CPUINFO]


def test_the_clock_is_that_of_now(monkeypatch, tmp_path):
    describe(monkeypatch, tmp_path)
    assert processor.processor_facts("cpu MHz") == ["2400.0", "2500.0"]
    assert processor.clock_mhz() == (2400.0, 2500.0)
    processor.CPUINFO.write_text(processor.CPUINFO.read_text().replace("2400.0", "800.0"))
    assert processor.clock_mhz() == (800.0, 2500.0)
    assert processor.processor_facts("cpu MHz") == ["2400.0", "2500.0"]


@pytest.mark.parametrize("text", ["", "cpu MHz\t\t: unknown\n"])
def test_a_system_that_does_not_say_its_clock(monkeypatch, tmp_path, text):
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    monkeypatch.setattr(processor, "CPUINFO", path)
    assert processor.clock_mhz() is None


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, True),
        ({"flags": "avx2"}, False),  # Zen 3
        ({"family": 26}, False),  # Zen 5 computes 512 bits at once
        ({"vendor": "GenuineIntel"}, False),
    ],
)
def test_zen4_on_linux(monkeypatch, tmp_path, changed, expected):
    describe(monkeypatch, tmp_path, **changed)
    assert processor.is_zen4() is expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("AMD64 Family 25 Model 17 Stepping 1, AuthenticAMD", True),
        ("AMD64 Family 26 Model 2 Stepping 1, AuthenticAMD", False),
        ("Intel64 Family 6 Model 85 Stepping 7, GenuineIntel", False),
        ("arm", False),
    ],
)
def test_zen4_elsewhere(monkeypatch, tmp_path, name, expected):
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "none")
    monkeypatch.setattr(platform, "processor", lambda: name)
    assert processor.is_zen4() is expected
    assert processor.processor_name() == name
