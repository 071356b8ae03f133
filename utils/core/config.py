"""YAML in, dataclasses out: strict about keys and types, helpful about mistakes; finds files by bare name."""

import contextlib
import difflib
import os
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from utils.core.files import write_text

ROOT = Path(__file__).resolve().parents[2]
HOMES = (ROOT / "models" / "configs", ROOT / "data", ROOT / "data" / "hyps", ROOT / "weights", ROOT)

Settings = TypeVar("Settings")


def find(name: str | Path) -> Path:
    """The file a user means: the path as typed, or a bare name in one of the repository's own folders."""
    path = Path(name)
    with contextlib.suppress(RuntimeError):  # '~' of somebody who is not known here
        path = path.expanduser()
    if _is_file(path):
        return path
    for home in HOMES if not path.is_absolute() else ():
        for candidate in (home / path, home / f"{path}.yaml"):
            if _is_file(candidate):
                return candidate
    if os.path.isdir(path):  # noqa: PTH112 (Path.is_dir raises for a name that is too long)
        raise ValueError(f"{path}: is a folder; expected a file")
    known = [file.name for home in HOMES for file in home.glob("*") if file.suffix in (path.suffix, ".yaml")]
    looked = ", ".join(str(home.relative_to(ROOT)) for home in HOMES[:-1])
    raise ValueError(f"{name}: no such file here or in {looked}{did_you_mean(path.name, known)}")


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113 (Path.is_file raises for a name that is too long)


def cache_folder() -> Path:
    """Where things are kept that can be made or fetched again: $LIMBER_CACHE, or limber among the user's caches."""
    if own := os.environ.get("LIMBER_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "limber"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """'; did you mean ...?' when something known is near, else nothing."""
    near = difflib.get_close_matches(
        str(word), list(dict.fromkeys(known)), n=1, cutoff=0.5 if len(str(word)) < 4 else 0.6
    )
    return f"; did you mean '{near[0]}'?" if near else ""


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file; a syntax error or a key written twice names its line."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file ({error.reason} at byte {error.start})") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from None
    try:
        values = yaml.load(text, Loader=_StrictLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise ValueError(f"{path}:{line}: not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected 'key: value' lines, found {_kind(values)}")
    if list(values) == ["same_as"]:  # another name for a file beside it
        return read_yaml(Path(path).parent / str(values["same_as"]))
    return values


def write_yaml(path: str | Path, values: Mapping[str, Any]) -> None:
    """Write plain values in the order they are given."""
    write_text(path, to_yaml(values))


def to_yaml(values: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True, default_flow_style=None)


def into(cls: type[Settings], values: Mapping[str, Any], where: str) -> Settings:
    """Build a settings dataclass from plain values; unknown, missing and mistyped keys are named."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{where}: expected 'key: value' lines, found {_kind(values)}")
    hints = typing.get_type_hints(cls)
    known = [field.name for field in fields(cls)]
    for key in values:
        if key not in known:
            raise ValueError(f"{where}: no key '{key}' ({', '.join(known)}){did_you_mean(key, known)}")
    for field in fields(cls):
        if field.name not in values and field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{where}: '{field.name}' is missing; expected {_type_name(hints[field.name])}")
    return cls(**{key: as_type(value, hints[key], f"{where}: {key}") for key, value in values.items()})


def as_type(value: Any, wanted: Any, where: str) -> Any:
    """A plain YAML value as the annotated type, or one sentence about why not."""
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if wanted is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return _as_union(value, arguments, where)
    if origin is typing.Literal:
        if value not in arguments:
            meant = did_you_mean(value, map(str, arguments))
            raise ValueError(f"{where}: found {value!r}; expected {_type_name(wanted)}{meant}")
        return value
    if is_dataclass(wanted):
        return value if isinstance(value, wanted) else into(wanted, value, where)
    if origin is tuple and isinstance(value, (list, tuple)):
        return _as_tuple(value, arguments, where)
    if origin in (dict, Mapping) and isinstance(value, Mapping):
        return {key: as_type(item, arguments[1], f"{where}.{key}") for key, item in value.items()}
    return _as_scalar(value, wanted, where)


def _as_scalar(value: Any, wanted: Any, where: str) -> Any:
    if wanted is float and isinstance(value, str):
        with contextlib.suppress(ValueError):  # YAML 1.1 reads 1e-3 as a word; people mean the number
            return float(value)
    if wanted is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):  # a whole number beyond all fractions
            return float(value)
    if wanted is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if wanted in (str, bool) and isinstance(value, wanted):
        return value
    raise ValueError(f"{where}: found {value!r}; expected {_type_name(wanted)}")


def _as_union(value: Any, options: tuple[Any, ...], where: str) -> Any:
    if value is None and type(None) in options:
        return None
    for option in options:
        if option is not type(None):
            try:
                return as_type(value, option, where)
            except ValueError:
                continue
    expected = " or ".join(_type_name(option) for option in options)
    raise ValueError(f"{where}: found {value!r}; expected {expected}")


def _as_tuple(value: Iterable[Any], arguments: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    items = list(value)
    if len(arguments) == 2 and arguments[1] is ...:
        arguments = (arguments[0],) * len(items)
    if len(arguments) != len(items):
        raise ValueError(f"{where}: found {len(items)} values; expected {len(arguments)}")
    return tuple(
        as_type(item, kind, f"{where}[{i}]") for i, (item, kind) in enumerate(zip(items, arguments, strict=True))
    )


_NAMES = {float: "a number", int: "a whole number", str: "a word", bool: "true or false", type(None): "nothing"}


def _type_name(wanted: Any) -> str:
    if typing.get_origin(wanted) is tuple:
        return "a list"
    if typing.get_origin(wanted) is typing.Literal:
        return " or ".join(map(str, typing.get_args(wanted)))
    if typing.get_origin(wanted) in (dict, Mapping) or is_dataclass(wanted):
        return "'key: value' lines"
    if typing.get_origin(wanted) in (typing.Union, types.UnionType):
        return " or ".join(_type_name(option) for option in typing.get_args(wanted))
    return _NAMES.get(wanted, str(wanted))


def _kind(value: Any) -> str:
    return {list: "a list", str: "a word", type(None): "nothing"}.get(type(value), repr(value))


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key written twice, where YAML would silently keep the last."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError):  # PyYAML's own, for a 13th month or a '!!bool perhaps'
            problem = f"'{str(node.value)[:40]}' is no {node.tag.rpartition(':')[2]}"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # '<<' is no key
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, (str, int, float)) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key}' is written twice", key_node.start_mark
                )
            if isinstance(key, (str, int, float)):
                seen.add(key)
        return super().construct_mapping(node, deep)
