"""Begin: a folder with a first server, its `practice.toml`, and the tasks."""

from importlib.resources import as_file, files
from pathlib import Path

from practice import stages
from practice.settings import FILE, SettingsError

COMMANDS = {
    "python": "python app.py --port {port} --data {data}",
    "flask": "python app.py --port {port} --data {data}",
    "node": "node server.mjs --port {port} --data {data}",
}
README = """\
# A message service of my own

{tasks}

The contract of a stage, by examples, and what will be checked: `python -m practice show 1`.

    python -m practice check . --stage 1     is it right?
    python -m practice hint CHECK .          one step further each time

The checks run your server as you, on this machine, on a port that is free and on data that they throw away.
The data of the last failure, and what the server printed, stay in `.practice/`.
When stage 2 is done: `git init` if you have not, commit, and `git tag stage-2`. Stage 3 needs it.
"""


def start(folder: Path, language: str) -> list[Path]:
    """Write a first server in `language` to `folder`; the files that were written. Raises `SettingsError`.

    Nothing that is there already is changed.
    """
    starters = files("practice").joinpath("starters")
    with as_file(starters) as root:
        written = {
            path.name: path.read_text(encoding="utf-8") for path in (root / language).iterdir() if path.is_file()
        }
        settings = (root / FILE).read_text(encoding="utf-8").replace("COMMAND", COMMANDS[language])
    tasks = "\n".join(f"{each.number}. **{each.name}**: {each.task}" for each in stages.STAGES)
    written |= {FILE: settings, "README.md": README.format(tasks=tasks), ".gitignore": ".practice/\n__pycache__/\n"}
    there = [name for name in written if (folder / name).exists()]
    if there:
        raise SettingsError(f"{folder} has {there[0]} already: name a new folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in written.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"cannot write to {folder}: {error.strerror}") from error
    return [folder / name for name in written]
