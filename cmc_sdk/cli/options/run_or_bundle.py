"""What a command measures: a training run, or a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cmc_sdk.bundle.trust import Trust
from cmc_sdk.errors import InputError

if TYPE_CHECKING:
    from cmc_sdk.runtime.segmenter import Segmenter
    from cmc_sdk.runtime.session import Session

__all__ = ["open_segmenter"]


def open_segmenter(path: Path, *, trust: Trust | None = None) -> tuple[Segmenter | Session, str, int]:
    """A run's network under torch, or a bundle's graphs; with the name of the method and the seed that made it.

    Args:
        path: Of the run or the bundle.
        trust: Of a bundle, as for `Session`; a run has none.

    Raises:
        InputError: Neither a run folder nor a bundle, or trust was given for a run.
        TrustError: Nobody who is trusted vouches for the bundle.
    """
    if (path / "manifest.json").is_file():
        from cmc_sdk.runtime.session import Session

        session = Session(path, trust=trust)
        provenance = session.bundle.manifest.provenance
        return session, str(provenance.get("method", "cmc")), int(provenance.get("seed", 0))
    if (path / "config.yaml").is_file():
        if trust is not None:
            raise InputError(f"{path} is a training run: only a bundle is signed", mend="leave out the choice of trust")
        from cmc_sdk.runtime.segmenter import Segmenter
        from cmc_sdk.training.engine import TorchBackend, load_run

        run = load_run(path)
        return Segmenter(run.spec, TorchBackend(run.network)), run.config.method, run.config.seed
    raise InputError(
        f"{path} is neither a training run nor a bundle" if path.exists() else f"{path} does not exist",
        mend="give the folder that `cmc train` or `cmc export` wrote",
    )
