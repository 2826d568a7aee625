"""`python -m cmc_sdk.cli` is `cmc`; torchrun starts it so."""

from __future__ import annotations

from cmc_sdk.cli.main import main

if __name__ == "__main__":
    main()
