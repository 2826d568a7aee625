"""The report of `cmc verify`, kept in a state folder of the caller's."""

from __future__ import annotations

import json
import os

from cmc_sdk.runtime.backends.tensorrt.state import StateFolder
from cmc_sdk.runtime.gate.verify import VerifyReport

__all__ = ["SUFFIX", "holds_engines", "keep_report"]

SUFFIX = ".report"


def holds_engines(state: str | os.PathLike[str]) -> bool:
    """Whether a state folder has engines; it is made where it does not exist.

    Raises:
        InputError, ResourceError: As `StateFolder`.
    """
    with StateFolder(state, create=True) as folder:
        return bool(folder.names(suffix=".engine"))


def keep_report(report: VerifyReport, *, state: str | os.PathLike[str]) -> str:
    """Write a report into a state folder, in place of an earlier one of the same bundle; passed or not.

    Args:
        report: Of `verify_bundle`.
        state: The folder; made where it does not exist, 0700.

    Returns:
        The file's name: `verify-`, the first digits of the manifest's sha256, `.report`; JSON, 0600.

    Raises:
        InputError: The folder is a link, of another owner, or open to others.
        ResourceError: It cannot be written.
    """
    name = f"verify-{report.manifest_sha256[:16]}{SUFFIX}"
    content = json.dumps(report.to_dict(), indent=1, allow_nan=False) + "\n"
    with StateFolder(state, create=True) as folder, folder.lock(), folder.write(name) as handle:
        handle.write(content.encode())
    return name
