"""A bundle, opened and ready to label scans."""

from __future__ import annotations

import os

from cmc_sdk.bundle.reader import open_bundle
from cmc_sdk.runtime.backends.select import BackendChoice, open_backend
from cmc_sdk.runtime.record import BundleIdentity
from cmc_sdk.runtime.segmenter import Segmenter

__all__ = ["Session"]


class Session(Segmenter):
    """Opens a bundle and picks a backend.

    Args:
        bundle: The folder `NAME.cmc`.
        backend: Inference library; `auto` takes OpenVINO where it is installed, else ONNX Runtime.
        threads: Threads of the inference library; None for its own choice.

    Raises:
        BundleError: The bundle is not what it says.
        BackendError: No backend is installed.
        InputError: An unknown backend, or less than one thread.
    """

    def __init__(
        self, bundle: str | os.PathLike[str], *, backend: BackendChoice = "auto", threads: int | None = None
    ) -> None:
        self.bundle = open_bundle(bundle)
        manifest = self.bundle.manifest
        super().__init__(
            manifest.spec,
            open_backend(self.bundle, choice=backend, threads=threads),
            seen=manifest.seen,
            validated_subsets=manifest.validated_subsets,
            identity=BundleIdentity(
                name=manifest.name, version=manifest.version, manifest_sha256=self.bundle.manifest_sha256
            ),
            threads=threads,
        )
