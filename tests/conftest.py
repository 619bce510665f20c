"""What the tests share: one real MongoDB for the whole run, databases of their own, and servers."""

import os
import shutil
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from pymongo import MongoClient

from harness import mongod
from harness.servers import Server
from loadtests import service
from migrations import runner
from tests import quick
from tests.processes import children, using
from tests.waiting import eventually

pytest.register_assert_rewrite("tests.commands", "tests.server.answers")

# No deadline: other tests run beside it. No explanations: they trace every line of what fails. In CI the examples are
# the same each time.
settings.register_profile("lab", deadline=None, max_examples=200, phases=set(Phase) - {Phase.explain})
settings.register_profile("quick", settings.get_profile("lab"), max_examples=50)
settings.register_profile("ci", settings.get_profile("lab"), derandomize=True, database=None)
settings.load_profile("ci" if "CI" in os.environ else "lab")

# Coverage follows the processes that tests of these folders start. Elsewhere the tests' own process is enough, and what
# measures must not be slowed down.
TRACED = {"client", "migrations", "server"}
HERE = Path(__file__).parent
COVERAGE = "COVERAGE_PROCESS_CONFIG"
coverage_of_processes = os.environ.get(COVERAGE)

StartServer = Callable[..., Server]


def pytest_addoption(parser: pytest.Parser) -> None:
    quick.add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("quick"):
        settings.load_profile("quick")
    # With xdist, only the process that starts the others hears of all tests.
    if config.getoption("note_long") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(quick.Stopwatch())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that have time limits of their own first: else one of them would run alone at the end."""
    quick.leave_out_long(config, items)
    limits = {item: item.get_closest_marker("timeout") for item in items}
    items.sort(key=lambda item: -float(mark.args[0]) if (mark := limits[item]) else 0.0)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before any fixture starts a process: whether coverage follows it."""
    os.environ.pop(COVERAGE, None)
    if coverage_of_processes and TRACED & set(item.path.relative_to(HERE).parts):
        os.environ[COVERAGE] = coverage_of_processes


@pytest.fixture(scope="session", autouse=True)
def environment() -> Iterator[dict[str, str]]:
    """Hide the caller's LAB_* variables (but LAB_MONGOD) and proxies from the tests; gives what was hidden."""
    hidden = {
        name: value
        for name, value in os.environ.items()
        if (name.startswith("LAB_") and name != "LAB_MONGOD") or name.lower().endswith("_proxy")
    }
    with pytest.MonkeyPatch.context() as patch:
        for name in hidden:
            patch.delenv(name)
        yield hidden


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard() -> None:
    """A process started in the background ignores Ctrl-C, and so would all that the tests start and send it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """After the last test, every process the tests have started is gone."""
    base = tmp_path_factory.getbasetemp()
    yield
    eventually(lambda: not using(base) and not children())


@pytest.fixture(scope="session")
def mongodb_uri(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The MongoDB of the whole run: that of LAB_MONGODB_URI, or an embedded one. Not to be harmed."""
    directory = tmp_path_factory.mktemp("mongodb")
    given = environment.get("LAB_MONGODB_URI")
    with mongod.given_or_running(given, directory, os.environ.get("LAB_MONGOD")) as uri:
        yield uri
    shutil.rmtree(directory)


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """A data dir for an embedded MongoDB of the test's own, which it may harm. The files are large."""
    directory = tmp_path / "lab"
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def database(mongodb_uri: str) -> Iterator[str]:
    """The name of an empty database of the test's own."""
    with _new_database(mongodb_uri) as name:
        yield name


@pytest.fixture
def db(mongodb_uri: str, database: str) -> Iterator[runner.Database]:
    """The same as `database`, to look into."""
    found = runner.connect(mongodb_uri, database)
    yield found
    found.client.close()


@pytest.fixture
def migrated(db: runner.Database) -> runner.Database:
    """The same as `db`, migrated as far as documents of every shape are allowed: up to the validator."""
    runner.up(db, "0005")
    return db


@pytest.fixture
def start_server(mongodb_uri: str, migrated: runner.Database, tmp_path: Path) -> Iterator[StartServer]:
    """Start a server on the test's own database, with the settings given by name."""
    with ExitStack() as servers:

        def start(**settings: object) -> Server:
            log = tmp_path / f"server-{uuid.uuid4().hex}.log"
            place = {"mongodb_uri": mongodb_uri, "database": migrated.name}
            return servers.enter_context(service.running(log, **place | settings))

        yield start


@pytest.fixture
def server(start_server: StartServer) -> Server:
    """A server with default settings on the test's own database."""
    return start_server()


@pytest.fixture(scope="module")
def shared_db(mongodb_uri: str) -> Iterator[runner.Database]:
    """A migrated database for all tests of a module."""
    with _new_database(mongodb_uri) as name:
        found = runner.connect(mongodb_uri, name)
        runner.up(found)
        yield found
        found.client.close()


@pytest.fixture(scope="module")
def shared_server(
    mongodb_uri: str, shared_db: runner.Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """One server on `shared_db`, for tests that do not mind what others have stored. It logs requests."""
    log = tmp_path_factory.mktemp("server") / "server.log"
    with service.running(log, mongodb_uri=mongodb_uri, database=shared_db.name, access_log="on") as server:
        yield server


@contextmanager
def _new_database(mongodb_uri: str) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    yield name
    with MongoClient(mongodb_uri) as client:
        client.drop_database(name)
