"""A state folder of the caller's beside `cmc verify`: engines that it judges, and the report that it keeps."""

from __future__ import annotations

import json
import os
from collections.abc import Collection

from cmc_sdk.bundle.precision import Precision
from cmc_sdk.bundle.reader import Bundle
from cmc_sdk.runtime.backends.catalogue import CATALOGUE
from cmc_sdk.runtime.backends.row import Proof
from cmc_sdk.runtime.backends.tensorrt.state import StateFolder
from cmc_sdk.runtime.gate.verify import VerifyReport

__all__ = ["SUFFIX", "keep_report", "open_engines"]

SUFFIX = ".report"


def open_engines(
    bundle: Bundle, *, state: str | os.PathLike[str], precisions: Collection[Precision] | None = None
) -> list[Proof]:
    """The engines of a bundle in a state folder, of every backend that has engines, to be held to the limits.

    Args:
        bundle: Opened.
        state: The folder; made where it does not exist.
        precisions: Only these; None for all.

    Raises:
        BackendError: There are engines, but none that this machine can run: says why.
        InputError, ResourceError: The folder, or an engine in it, is refused.
    """
    found = [row.prove(bundle, state, precisions) for row in CATALOGUE.values() if row.prove is not None]
    return [proof for proof in found if proof is not None]


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
