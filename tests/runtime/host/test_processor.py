"""What the processor is, from the words of Linux and of Windows."""

from __future__ import annotations

import platform

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
