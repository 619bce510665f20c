"""What practice.toml may say, and what a learner is told who has written it wrong."""

from pathlib import Path

import pytest

from practice import settings
from practice.settings import SettingsError

SERVER = '[server]\ncommand = "python app.py --port {port}"\n'


def read(folder: Path, text: str) -> settings.Target:
    (folder / "practice.toml").write_text(text)
    return settings.of_folder(folder)


def test_what_is_not_said_has_a_default(tmp_path: Path) -> None:
    target = read(tmp_path, SERVER)
    assert (target.ready, target.promises.stale_ms, target.promises.write_limit) == ("/", 0, 50)
    assert target.stages.time.before is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the table [server] is missing"),
        ("[server]\n", "server.command is missing"),
        ("[server]\ncomand = 'x {port}'\ncommand = 'x {port}'", "server.comand is unknown; do you mean command?"),
        ("[server]\ncommand = 'python app.py'", "server.command has no {port}"),
        ("[server]\ncommand = '''python 'app.py {port}'''", "server.command is no command line"),
        (SERVER + "[promises]\nstale = 5", "promises.stale is unknown; do you mean stale_ms?"),
        (SERVER + "[promises]\nzzz = 5", "promises.zzz is unknown; known are stale_ms, write_limit"),
        (
            SERVER + "[promises]\nstale_ms = -1",
            "promises.stale_ms: input should be greater than or equal to 0 (it is -1)",
        ),
        (SERVER + "[promises]\nwrite_limit = 'many'", "promises.write_limit: input should be a valid integer"),
        (SERVER + "[stages.tme]\nbefore = 'x'", "stages.tme is unknown; do you mean time?"),
        (SERVER + "[answers]\nslow = 'disk'", "answers.slow: input should be 'server' or 'database' (it is 'disk')"),
        ("[server", "is not TOML"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        read(tmp_path, text)
    assert said in str(raised.value)
    assert str(tmp_path) in str(raised.value)


def test_a_folder_without_the_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"has no practice\.toml: `python -m practice start"):
        settings.of_folder(tmp_path)
    with pytest.raises(SettingsError, match="there is no folder"):
        settings.of_folder(tmp_path / "nowhere")


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://localhost:1/", "http://[::1]:8000"])
def test_this_machine_may_be_checked(url: str) -> None:
    assert settings.of_url(url, is_mine=False).url == url.rstrip("/")


def test_another_machine_only_if_it_is_said_to_be_ours() -> None:
    with pytest.raises(SettingsError, match="add --yes-it-is-mine"):
        settings.of_url("http://192.0.2.1", is_mine=False)
    assert settings.of_url("http://192.0.2.1", is_mine=True).url == "http://192.0.2.1"


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://127.0.0.1", "http://:99999", "http://127.0.0.1:99999"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="--url"):
        settings.of_url(url, is_mine=False)
