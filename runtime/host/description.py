"""The machine under a measurement: its processor, its system, the versions of what computes."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass

from cmc_sdk.runtime.host.packages import COMPUTING, PACKAGES, installed_version
from cmc_sdk.runtime.host.processor import processor_name
from cmc_sdk.threads import usable_threads

__all__ = ["MachineDescription", "describe_machine"]


@dataclass(frozen=True)
class MachineDescription:
    """Where something was measured.

    Args:
        platform: System, release and architecture.
        processor: Its name; empty where nobody knows it.
        python: Its version.
        cores: That this process may use.
        packages: Version of each of `PACKAGES` that is installed.
    """

    platform: str
    processor: str
    python: str
    cores: int
    packages: Mapping[str, str]

    def to_dict(self) -> dict[str, str | int | dict[str, str]]:
        """For a report that is kept, such as that of `cmc verify`: every package, by itself."""
        return {
            "platform": self.platform,
            "processor": self.processor,
            "python": self.python,
            "cores": self.cores,
            "packages": dict(self.packages),
        }

    def to_words(self) -> dict[str, str]:
        """For a table of figures, such as that of `cmc bench`: in words, with the packages that compute them."""
        return {
            "processor": self.processor or "unknown",
            "system": self.platform,
            "cores": str(self.cores),
            "python": self.python,
            **{name: self.packages[name] for name in COMPUTING if name in self.packages},
        }


def describe_machine() -> MachineDescription:
    """This machine; imports none of the packages that it names."""
    found = {name: installed_version(name) for name in PACKAGES}
    return MachineDescription(
        platform=platform.platform(),
        processor=processor_name(),
        python=platform.python_version(),
        cores=usable_threads(),
        packages={name: version for name, version in found.items() if version is not None},
    )
