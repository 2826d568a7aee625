"""From a YAML file and `key=value` overrides to a TrainConfig, with every fault named at once."""

from __future__ import annotations

import difflib
import re
from collections.abc import Hashable, Mapping, Sequence
from importlib import resources
from pathlib import Path

import yaml
from pydantic import ValidationError

from cmc_sdk.errors import ConfigError
from cmc_sdk.training.data.faults import schema_faults
from cmc_sdk.training.engine.config import TrainConfig

__all__ = ["dump_config", "load_config", "parse_config", "recipe_names"]


class _UniqueKeyLoader(yaml.SafeLoader):
    """PyYAML's safe loader, except that a key given twice is an error, and that words and numbers read as in YAML 1.2.

    In YAML 1.1 `cac: off` is false and `lr: 1e-4` is a word; people mean the word and the number.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        seen: dict[str, int] = {}
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise yaml.YAMLError(f"line {line}: the key {key!r} is not a word; put it in quotes")
            if key in seen:
                raise yaml.YAMLError(f"line {line}: the key {key!r} stands already in line {seen[key]}; remove one")
            seen[key] = line
        return super().construct_mapping(node, deep=deep)


_UniqueKeyLoader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":float"))]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_UniqueKeyLoader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_UniqueKeyLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+|\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"),
    list("-+0123456789."),
)


def recipe_names() -> list[str]:
    """Names of the recipes that ship with the package."""
    folder = resources.files("cmc_sdk.training.configs")
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def load_config(source: str | Path, *, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a configuration.

    Args:
        source: Path of a YAML file, or the name of a shipped recipe (a name without folder and suffix).
        overrides: `key=value` with dotted keys, for example `optimiser.lr=3e-4`; the value is read as YAML.

    Raises:
        ConfigError: The file is missing, no YAML, or any key or value is wrong; all faults are named.
    """
    name, text = _read(source)
    try:
        document = yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{name} is not valid YAML: {error}", mend="correct it") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{name} holds no mapping of keys to values", mend="start from `cmc train tiny`'s recipe")
    document.setdefault("name", Path(name).stem)
    faults = [fault for override in overrides if (fault := _apply(document, override)) is not None]
    return parse_config(document, name=name, faults=faults)


def parse_config(document: Mapping[str, object], *, name: str, faults: Sequence[str] = ()) -> TrainConfig:
    """Turn a mapping into a TrainConfig.

    Args:
        document: Nested keys and values, as YAML gives them.
        name: What to call it in messages.
        faults: What was already found wrong; reported together with what is found here.

    Raises:
        ConfigError: Something is wrong; one clause for each fault, unknown keys with the nearest right one.
    """
    found = list(faults)
    try:
        config = TrainConfig.model_validate(document)
    except ValidationError as error:
        found.extend(schema_faults(error, model=TrainConfig))
    if found:
        raise ConfigError(f"{name}: {'; '.join(found)}", mend="nothing was run")
    return config


def dump_config(config: TrainConfig) -> str:
    """The configuration as YAML with every key, defaults included; `load_config` reads it back to an equal one."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _read(source: str | Path) -> tuple[str, str]:
    path = Path(source)
    if not path.exists() and path.name == str(source) and str(source) in recipe_names():
        recipe = resources.files("cmc_sdk.training.configs") / f"{source}.yaml"
        return f"{source}.yaml", recipe.read_text(encoding="utf-8")
    if not path.is_file():
        known = ", ".join(recipe_names())
        near = difflib.get_close_matches(str(source), recipe_names(), n=1)
        hint = f"did you mean {near[0]}? The " if near else "the "
        raise ConfigError(f"{source}: no such file and no recipe of that name", mend=f"{hint}recipes are {known}")
    try:
        return str(path), path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a text file in UTF-8", mend="give a YAML file") from error


def _apply(document: dict[str, object], override: str) -> str | None:
    """Write one `key=value` into the document; returns what is wrong with it, if anything."""
    key, separator, text = override.partition("=")
    parts = key.strip().split(".")
    if not separator or not all(parts):
        return f"--set {override}: write it as key=value, for example optimiser.lr=3e-4"
    try:
        value = yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.YAMLError:
        return f"--set {override}: its value is not valid YAML"
    node: object = document
    for part in parts[:-1]:
        node = node.setdefault(part, {}) if isinstance(node, dict) else None
    if not isinstance(node, dict):
        return f"--set {override}: {'.'.join(parts[:-1])} holds a value, not keys"
    node[parts[-1]] = value
    return None
