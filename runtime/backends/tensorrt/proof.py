"""Engines before `cmc verify`, and its word on them after."""

from __future__ import annotations

import datetime
import os
from collections.abc import Collection, Iterable

from cmc_sdk.bundle.precision import Precision
from cmc_sdk.bundle.reader import Bundle
from cmc_sdk.errors import BackendError
from cmc_sdk.runtime.backends.tensorrt.backend import TensorRtBackend
from cmc_sdk.runtime.backends.tensorrt.driver import device_key
from cmc_sdk.runtime.backends.tensorrt.state import StateFolder
from cmc_sdk.runtime.backends.tensorrt.store import EngineStore, VerifiedRecord

__all__ = ["holds_engines", "keep_word", "unproved_backends"]

_PRECISIONS: tuple[Precision, ...] = ("f32", "fp16")


def holds_engines(state: str | os.PathLike[str]) -> bool:
    """Whether a state folder has engines; it is made where it does not exist.

    Raises:
        InputError, ResourceError: As `StateFolder`.
    """
    with StateFolder(state, create=True) as folder:
        return bool(folder.names(suffix=".engine"))


def unproved_backends(
    bundle: Bundle, *, state: str | os.PathLike[str], precisions: Collection[Precision] | None = None
) -> list[TensorRtBackend]:
    """A backend for each precision that the state folder has engines of this device for.

    Args:
        bundle: Opened.
        state: The state folder.
        precisions: Only these; None for all.

    Raises:
        BackendError: It has none: says why.
        InputError: The state folder, or an engine in it, is refused.
    """
    found: list[TensorRtBackend] = []
    why: list[str] = []
    for precision in _PRECISIONS:
        if (precisions is None or precision in precisions) and any(
            graph.precision == precision for graph in bundle.manifest.graphs
        ):
            try:
                found.append(TensorRtBackend(bundle, state=state, precision=precision, proving=True))
            except BackendError as error:
                why.append(error.what)
    if not found:
        raise BackendError(
            f"there are no engines to verify: {why[0] if why else 'the bundle has no graphs for them'}",
            mend=f"run `cmc engine build BUNDLE --state {state}` here",
        )
    return found


def keep_word(backends: Iterable[TensorRtBackend], *, bundle: Bundle, state: str | os.PathLike[str]) -> None:
    """Note in the state folder that these backends kept the bundle's limits, on this device, with these engines."""
    with StateFolder(state) as folder:
        for backend in backends:
            EngineStore(folder).keep_verified(
                VerifiedRecord(
                    manifest_sha256=bundle.manifest_sha256,
                    precision=backend.precision,
                    engines=tuple(backend.engines),
                    device=device_key(backend.device),
                    when=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
                )
            )
