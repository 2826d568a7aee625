"""A bundle, opened and ready to label scans."""

from __future__ import annotations

import os

from cmc_sdk.bundle.admission import admit
from cmc_sdk.bundle.reader import Bundle
from cmc_sdk.bundle.trust import Trust
from cmc_sdk.runtime.backends.select import PrecisionChoice, open_backend
from cmc_sdk.runtime.planning.limits import Limits, parse_bytes, parse_seconds
from cmc_sdk.runtime.results.record import BundleIdentity
from cmc_sdk.runtime.segmenter import Segmenter

__all__ = ["Session"]


class Session(Segmenter):
    """Opens a bundle, if somebody who is trusted vouches for it, and picks a backend.

    Args:
        bundle: The folder `NAME.cmc`, or a bundle that was opened with a policy.
        trust: A trust store or its path; or `development`, to run a bundle whoever made it, which the run record
            then says. None: the store that the environment variable `CMC_TRUST` names; where there is none, nothing
            is run. Of an opened bundle, it must be None: it was judged when it was opened.
        backend: Inference library; `auto` takes OpenVINO where it is installed, else ONNX Runtime.
        precision: What it computes in. `fastest` takes the fastest that kept the gate's limits when the bundle was
            made and that this machine can compute; the run record says which, and why.
        threads: Threads of the inference library and of the core; None for all that this process may use.
        max_mem: Most memory that a run may bring this process to, a number of bytes or words like `4GB`. A run that
            would need more is refused before it starts. None: no limit.
        deadline: Most time for a run, from reading to labels, in seconds or words like `30s`. A run that would take
            longer is refused; one that does is ended at the next window's end. None: no limit.
        state: The state folder with the engines of backend `tensorrt`; the other backends take none.

    Raises:
        TrustError: Nobody who is trusted vouches for the bundle, or no trust was named.
        BundleError: The bundle is not what it says.
        BackendError: No backend is installed that computes in this precision.
        InputError: An unknown backend or precision, less than one thread, or a limit that is no amount.
    """

    def __init__(
        self,
        bundle: str | os.PathLike[str] | Bundle,
        *,
        trust: Trust | None = None,
        backend: str = "auto",
        precision: PrecisionChoice = "f32",
        threads: int | None = None,
        max_mem: str | float | None = None,
        deadline: str | float | None = None,
        state: str | os.PathLike[str] | None = None,
    ) -> None:
        limits = Limits(
            max_mem_bytes=None if max_mem is None else parse_bytes(max_mem),
            deadline_s=None if deadline is None else parse_seconds(deadline),
        )
        self.bundle, verdict = admit(bundle, trust=trust)
        manifest = self.bundle.manifest
        chosen = open_backend(self.bundle, choice=backend, precision=precision, threads=threads, state=state)
        super().__init__(
            manifest.spec,
            chosen,
            backend_reason=chosen.reason,
            seen=manifest.seen,
            validated_subsets=manifest.validated_subsets,
            identity=BundleIdentity(
                name=manifest.name,
                version=manifest.version,
                manifest_sha256=self.bundle.manifest_sha256,
                key_id=verdict.key_id,
            ),
            trust=verdict.note,
            threads=threads,
            limits=limits,
        )
