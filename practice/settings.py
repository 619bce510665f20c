"""What is to be checked: a folder with a `practice.toml`, a command line, or an address."""

import difflib
import ipaddress
import os
import shlex
import socket
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

FILE = "practice.toml"
# All admitted messages of stage 8 must fit into one list of 1,000.
MAX_WRITE_LIMIT = 150


class SettingsError(Exception):
    """What was named cannot be checked. The text says why, and what to do."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerTable(_Table):
    """[server]: how the server is started."""

    command: str
    ready: str = "/"


class TimeStage(_Table):
    """[stages.time]: the server as it was before stage 3, and how its data is brought along."""

    before: str | None = None
    migrate: str | None = None


class Stages(_Table):
    """[stages]: what single stages need."""

    time: TimeStage = TimeStage()


class Promises(_Table):
    """[promises]: what the server keeps, and is held to."""

    stale_ms: int = Field(default=0, ge=0, le=60_000)
    write_limit: int = Field(default=50, ge=5, le=MAX_WRITE_LIMIT)


class Answers(_Table):
    """[answers]: what the learner says, to be compared with what the lab finds."""

    slow: Literal["server", "database"] | None = None


class File(_Table):
    """A `practice.toml`."""

    server: ServerTable
    stages: Stages = Stages()
    promises: Promises = Promises()
    answers: Answers = Answers()


@dataclass(frozen=True)
class Target:
    """A server that can be checked: one that `command` starts in `folder`, or one that answers at `url`.

    `headers` are sent with each request, an access key for example.
    """

    folder: Path
    command: str | None = None
    url: str | None = None
    ready: str = "/"
    stages: Stages = field(default_factory=Stages)
    promises: Promises = field(default_factory=Promises)
    answers: Answers = field(default_factory=Answers)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def own_files(self) -> Path:
        """Where the lab keeps what it knows of this server: history, hints given, data of the last failure."""
        return self.folder / ".practice"


def of_folder(folder: Path) -> Target:
    """The server that the `practice.toml` in `folder` describes. Raises `SettingsError`."""
    path = folder / FILE
    if not folder.is_dir():
        raise SettingsError(f"there is no folder {folder}; `python -m practice start {folder}` makes one")
    if not path.is_file():
        raise SettingsError(
            f"{folder} has no {FILE}: `python -m practice start {folder}` writes one; or give --command, or --url"
        )
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        read = File.model_validate(document, strict=True)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}") from error
    except ValidationError as error:
        raise SettingsError("\n".join(f"{path}: {_in_words(each)}" for each in error.errors())) from error
    _check_command(f"{path}: server.command", read.server.command)
    return Target(
        folder.resolve(),
        command=read.server.command,
        ready=read.server.ready,
        stages=read.stages,
        promises=read.promises,
        answers=read.answers,
    )


def of_command(command: str) -> Target:
    """The server that `command` starts in the current folder. Raises `SettingsError`."""
    _check_command("--command", command)
    return Target(Path.cwd(), command=command)


def of_url(url: str, *, is_mine: bool) -> Target:
    """The server that answers at `url`. Raises `SettingsError` if it is on another machine, unless it `is_mine`."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise SettingsError(f"--url {url}: {error}") from error
    if parts.scheme not in {"http", "https"} or not host:
        raise SettingsError(f"--url {url} is no address: give one such as http://127.0.0.1:8000")
    if not is_mine and not _is_this_machine(host):
        raise SettingsError(
            f"{host} is not this machine, and the checks write, and load it: add --yes-it-is-mine if it is yours"
        )
    return Target(Path.cwd(), url=url.rstrip("/"))


def filled(command: str, port: int | str, data: Path) -> list[str]:
    """The words of a command line, with {port} and {data} filled in."""
    return [each.replace("{port}", str(port)).replace("{data}", str(data)) for each in shlex.split(command)]


def _check_command(where: str, command: str) -> None:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise SettingsError(f"{where} is no command line: {error}") from error
    if not any("{port}" in each for each in words):
        raise SettingsError(f"{where} has no {{port}}: the lab puts a free port there, on which the server must listen")


def _is_this_machine(host: str) -> bool:
    try:
        found = {each[4][0] for each in socket.getaddrinfo(host, None)}
    except OSError as error:
        raise SettingsError(f"--url: there is no machine named {host}") from error
    return all(ipaddress.ip_address(str(each).partition("%")[0]).is_loopback for each in found)


def _in_words(error: Any) -> str:
    """What is wrong with one value of the file, as one who has written it would say it."""
    where = ".".join(str(each) for each in error["loc"])
    match error["type"]:
        case "extra_forbidden":
            known = _known(error["loc"][:-1])
            near = difflib.get_close_matches(str(error["loc"][-1]), known, 1, cutoff=0.5)
            return f"{where} is unknown" + (f"; do you mean {near[0]}?" if near else f"; known are {', '.join(known)}")
        case "missing" if where == "server":
            return 'the table [server] is missing: give it a command, such as command = "python app.py --port {port}"'
        case "missing":
            return f"{where} is missing"
        case _:
            return f"{where}: {error['msg'][0].lower()}{error['msg'][1:]} (it is {error['input']!r})"


def _known(place: tuple[Any, ...]) -> list[str]:
    model: Any = File
    for name in place:
        model = model.model_fields[name].annotation
    return list(model.model_fields)


def path_with_this_python() -> str:
    """PATH for what learners start: `python` is one that they have activated, else the one that runs the lab."""
    own = str(Path(sys.executable).parent)
    found = os.environ.get("PATH", os.defpath)
    activated = os.environ.get("VIRTUAL_ENV") or os.environ.get("CONDA_PREFIX")
    return os.pathsep.join([found, own] if activated else [own, found])
