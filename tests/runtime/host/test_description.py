"""How a machine is described: the same facts under the keys of a kept report and under those of a table."""

from __future__ import annotations

import json
import platform

import pytest

from cmc_sdk.runtime.host import description as module
from cmc_sdk.runtime.host.description import MachineDescription, describe_machine
from cmc_sdk.threads import usable_threads

VERSIONS = {"numpy": "2.0", "cmc-sdk": "0.1", "onnxruntime-gpu": "1.2", "torch": "2.13"}


def test_this_machine() -> None:
    found = describe_machine()
    assert found.platform == platform.platform()
    assert found.python == platform.python_version()
    assert found.cores == usable_threads()
    assert found.packages["numpy"]
    assert None not in found.packages.values()
    json.dumps(found.to_dict())


def test_a_kept_report_names_every_installed_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "installed_version", VERSIONS.get)
    document = describe_machine().to_dict()
    assert list(document) == ["platform", "processor", "python", "cores", "packages"]
    assert document["cores"] == usable_threads()
    expected = {"cmc-sdk": "0.1", "numpy": "2.0", "onnxruntime-gpu": "1.2", "torch": "2.13"}
    assert json.dumps(document["packages"]) == json.dumps(expected)  # in this order


def test_a_table_names_the_packages_that_compute() -> None:
    machine = MachineDescription(platform="Linux", processor="", python="3.11", cores=2, packages=VERSIONS)
    assert list(machine.to_words().items()) == [
        ("processor", "unknown"),
        ("system", "Linux"),
        ("cores", "2"),
        ("python", "3.11"),
        ("cmc-sdk", "0.1"),
        ("onnxruntime-gpu", "1.2"),
        ("numpy", "2.0"),
    ]
