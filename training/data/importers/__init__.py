"""Data lists from the layouts of other programs."""

from cmc_sdk.training.data.importers.common import Shares
from cmc_sdk.training.data.importers.decathlon import import_decathlon
from cmc_sdk.training.data.importers.nnunet import import_nnunet
from cmc_sdk.training.data.importers.released import import_released

__all__ = ["Shares", "import_decathlon", "import_nnunet", "import_released"]
