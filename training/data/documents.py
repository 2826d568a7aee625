"""Reading YAML and JSON files whose top is a mapping."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from cmc_sdk.errors import DataError

__all__ = ["read_document"]


def read_document(file: Path, *, what: str) -> dict[str, object]:
    """The mapping in a `.yaml`, `.yml` or `.json` file.

    Args:
        file: Its path; the suffix decides how it is read.
        what: What to call it in messages, for example "data list".

    Raises:
        DataError: Missing, unreadable, another suffix, not valid, or no mapping.
    """
    if file.suffix not in {".yaml", ".yml", ".json"}:
        raise DataError(
            f"{what} {file}: its name does not end in .yaml, .yml or .json", mend="give such a file, or rename it"
        )
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DataError(f"{what} {file} does not exist", mend="check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{what} {file} cannot be read: {error}", mend="give a UTF-8 text file") from error
    try:
        document = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
    except (yaml.YAMLError, json.JSONDecodeError, RecursionError) as error:
        kind = "JSON" if file.suffix == ".json" else "YAML"
        raise DataError(f"{what} {file} is not valid {kind}: {error}", mend="correct it there") from error
    if not isinstance(document, dict):
        raise DataError(f"{what} {file} holds no mapping at its top", mend="see docs/data.md")
    return document
