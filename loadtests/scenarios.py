"""Scenarios: what the users of a load test do, as a table of behaviours and their weights.

A behaviour is a function that is given a session (see `loadtests.sessions`) and sends requests with it, or a `Request`,
which is sent as it stands. A scenario is named as FILE:NAME, such as `shop.py:browse`, where NAME is a behaviour or a
table `{behaviour: weight}` in that file; or by one of the names of the lab's own (`loadtests.lab_scenarios`).
"""

import functools
import importlib.util
import json as json_format
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from loadtests import lab_scenarios

# The parts of a path that differ from one thing to the next: numbers, and ids in hexadecimal digits.
_ID = re.compile(r"(?<=/)(\d+|[0-9a-fA-F-]{16,})(?=/|$)")


class ScenarioError(ValueError):
    """A scenario cannot be used. The text says why, and what to write instead."""


@dataclass(frozen=True)
class Request:
    """One request that is always the same: a behaviour that fast users send as bytes prepared beforehand.

    `json` is sent as a JSON body, `data` as it is. `name` is what it is called in tables, else its method and path.
    """

    method: str
    path: str
    json: Any = field(default=None, hash=False)
    data: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)
    name: str = ""

    @property
    def label(self) -> str:
        """What the request is called in tables."""
        return self.name or request_name(self.method, self.path.partition("?")[0])

    @property
    def body(self) -> bytes:
        """The body in bytes."""
        return self.data if self.json is None else json_format.dumps(self.json).encode()

    def encode(self, host: str, prefix: str, headers: Mapping[str, str]) -> bytes:
        """The request as it goes over the wire to `host`, below the path `prefix`, with `headers` and its own."""
        fields = {"Host": host, "Accept": "*/*", **headers, **self.headers}
        if self.json is not None:
            fields.setdefault("Content-Type", "application/json")
        if self.body or self.method in {"POST", "PUT", "PATCH"}:
            fields["Content-Length"] = str(len(self.body))
        lines = [f"{self.method} {prefix}{self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body

    def __call__(self, session: Any) -> None:
        """Send the request with a session, as any other behaviour does."""
        content = {"json": self.json} if self.json is not None else {"data": self.data or None}
        session.request(self.method, self.path, headers=self.headers, name=self.label, **content)


Behaviour = Callable[[Any], object]


@dataclass(frozen=True)
class Scenario:
    """The weights of the behaviours, and the exceptions by which a behaviour says that an answer was wrong."""

    weights: Mapping[Behaviour, int]
    errors: tuple[type[Exception], ...] = ()

    def turns(self) -> list[Behaviour]:
        """One round of the scenario: each behaviour as often as it weighs, so that the mix is exact."""
        return [behaviour for behaviour, weight in self.weights.items() for _ in range(weight)]


def find(name: str, fast: bool = False) -> Scenario:
    """The scenario of this name: FILE:NAME, or one of the lab's own; for `fast` users those of prepared requests.

    A file may name further exceptions in `ERRORS`: AssertionError and those of requests always mean a wrong answer.
    Raises `ScenarioError`.
    """
    if ":" not in name:
        tables: Mapping[str, Any] = {**lab_scenarios.SCENARIOS, **(_prepared() if fast else {})}
        if name not in tables:
            known = ", ".join(lab_scenarios.SCENARIOS)
            raise ScenarioError(f"there is no scenario {name!r}: name one of {known}, or FILE.py:NAME of your own")
        return Scenario(_weights(name, tables[name]), lab_scenarios.ERRORS)
    file, _, wanted = name.rpartition(":")
    module = _module(Path(file))
    if not hasattr(module, wanted):
        raise ScenarioError(f"{file} has no {wanted!r}: write a function {wanted}(session), or a table of weights")
    return Scenario(_weights(name, getattr(module, wanted)), tuple(getattr(module, "ERRORS", ())))


def request_name(method: str, path: str) -> str:
    """What a request is called in every table: its method and its path, in which ids are replaced by `{id}`."""
    return f"{method} {_ID.sub('{id}', path)}"


def title(name: str) -> str:
    """A short name of a scenario, for folders and progress bars."""
    file, _, wanted = name.rpartition(":")
    return f"{Path(file).stem}-{wanted}" if file else name


def _prepared() -> Mapping[str, Any]:
    return {
        name: {Request(*words): weight for words, weight in table} for name, table in lab_scenarios.PREPARED.items()
    }


def _weights(name: str, found: Any) -> Mapping[Behaviour, int]:
    if callable(found):
        return {found: 1}
    good = (
        isinstance(found, Mapping)
        and found
        and all(callable(behaviour) and isinstance(weight, int) and weight > 0 for behaviour, weight in found.items())
    )
    if not good:
        raise ScenarioError(f"{name} is neither a function nor a table of functions and weights, such as {{browse: 3}}")
    return dict(found)


@functools.cache
def _module(file: Path) -> ModuleType:
    """The module in `file`, executed once. What it imports may lie beside it."""
    if not file.is_file():
        raise ScenarioError(f"there is no file {file} with scenarios")
    spec = importlib.util.spec_from_file_location(f"scenarios_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ScenarioError(f"{file} is not a Python file: its name ends in .py")
    folder = str(file.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # last: a file there must not hide a package of the same name
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ScenarioError(f"{file} cannot be imported: {type(error).__name__}: {error}") from error
    return module
