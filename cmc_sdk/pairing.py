"""How scans pair: three questions with three answers, which are easily taken for each other."""

from __future__ import annotations

from typing import Literal

__all__ = ["CasePairing", "ScanPairing", "WindowPairing"]

CasePairing = Literal["registered", "misaligned", "unpaired"]
"""How the modalities of each case of a data list relate: `registered`, one frame of reference and the same anatomy;
`misaligned`, one frame, but the anatomy has moved between the scans; `unpaired`, different patients or frames.
"""

ScanPairing = Literal["auto", "registered", "separate"]
"""How the scans given to one run relate: `registered`, in one frame, whatever their headers say; `separate`, each is
labelled by itself; `auto`, as their headers say.
"""

WindowPairing = Literal["world", "body"]
"""How the training windows of the modalities of one sample correspond: `world`, the same physical box; `body`, the same
position in the body's box.
"""
