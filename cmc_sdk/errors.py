"""The errors that cmc-sdk raises on purpose: each says what was given, what is allowed and how to mend it."""

from __future__ import annotations

__all__ = [
    "BackendError",
    "BundleError",
    "CheckpointError",
    "CmcError",
    "ConfigError",
    "DataError",
    "DeadlineError",
    "GeometryError",
    "InputError",
    "InterruptError",
    "ParityError",
    "PlanError",
    "ResourceError",
    "TrainingError",
    "TrustError",
]


class CmcError(Exception):
    """Something that was asked for failed; the command line prints it as one line and exits with `exit_code`.

    Args:
        what: What was given and which rule it breaks, naming the file, key or class.
        mend: The way out, as an imperative ("give ...", "run ..."). Printed after a semicolon.
    """

    exit_code = 1

    def __init__(self, what: str, *, mend: str = "") -> None:
        super().__init__(what)
        self.what = " ".join(what.split())
        self.mend = " ".join(mend.split())

    def __str__(self) -> str:
        return f"{self.what}; {self.mend}" if self.mend else self.what


class InputError(CmcError):
    """The caller gave something wrong: exit code 2."""

    exit_code = 2


class DataError(InputError):
    """A scan, a label or a data list is missing, truncated or breaks a rule."""


class GeometryError(DataError):
    """An affine, a grid or a pairing of grids cannot be right."""


class ConfigError(InputError):
    """A training configuration is wrong; lists every fault at once."""


class BundleError(InputError):
    """A bundle is not what it says it is."""


class TrustError(BundleError):
    """Nobody whom the caller trusts vouches for a bundle, or nobody was named whose bundles may run."""


class CheckpointError(InputError):
    """A checkpoint does not fit the network that it is loaded into."""


class BackendError(CmcError):
    """No inference backend can run the bundle on this machine, or one failed while running."""


class ParityError(CmcError):
    """The exported graphs do not label as the trained network does."""


class ResourceError(CmcError):
    """Disk, memory or permission ran out while working."""


class PlanError(CmcError):
    """A run would need more memory or time than the caller allows, and was not started: exit code 4."""

    exit_code = 4


class DeadlineError(CmcError):
    """A run reached its deadline and was ended at the next window's end, without a result: exit code 3."""

    exit_code = 3


class InterruptError(CmcError):
    """A run was ended by Ctrl-C or by its caller, without a result: exit code 130."""

    exit_code = 130


class TrainingError(CmcError):
    """Training cannot go on, for example because a loss is not finite."""
