"""Profiled runs: a real one, and figures that were worked out by hand."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from loadtests.ingest import Run
from loadtests.run import Load
from profiles import stacks
from profiles.experiment import SYSTEM, WAITING, Profiles, any_complete_round, breakdown, profile
from profiles.record import ProfilerError
from tests.profiles import recorded

# So long that py-spy sees the server at work also where others leave it little of the processor.
LOAD = Load("mixed", users=4, seconds=3.0, warmup=0.0, rate=300)


# A real recording of a busy server.


@pytest.fixture(scope="module")
def profiles(mongodb_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Profiles:
    """One round of one server, which several tests look at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_MONGODB_URI", mongodb_uri)
        folder = tmp_path_factory.mktemp("runs") / "profile"
        return profile({"cache off": {"cache": "off"}}, LOAD, rounds=1, messages=10, folder=folder)


@pytest.fixture(scope="module")
def folder(profiles: Profiles) -> Path:
    return profiles.folders[1, "cache off"]


def test_a_profiled_run_is_a_run_folder_with_the_recording_in_it(folder: Path) -> None:
    assert folder.name == "01 cache off"
    assert {"run.json", "requests.csv", "profile.raw", "profile.json"} <= {file.name for file in folder.iterdir()}
    assert "profile.speedscope.json" in {file.name for file in folder.iterdir()}
    assert "ok" in set(Run(folder).requests["outcome"]) <= {"ok", "unsent"}


def test_the_load_lasts_from_the_beginning_of_the_recording_to_its_end(folder: Path) -> None:
    recording = json.loads((folder / "profile.json").read_text())
    begin = recording["began"] - Run(folder).began
    sent = Run(folder).requests["sent_s"]
    assert sent.min() < begin < begin + recording["seconds"] < sent.max()


def test_the_recording_shows_tornado_at_work(folder: Path) -> None:
    rows = stacks.read(folder / "profile.raw")
    assert rows["stack"].str.contains("(tornado/", regex=False).any()
    assert {"HTTP parsing", "routing and handler", "driver"} & set(rows["category"])


def test_the_shares_of_the_clock_add_up_to_all_of_it(profiles: Profiles) -> None:
    assert profiles.breakdown["share"].sum() == pytest.approx(1.0)
    assert profiles.breakdown["share"].between(0, 1).all()
    assert profiles.shares()["cache off"].sum() == pytest.approx(1.0)


def test_each_category_is_one_of_the_known_ones(profiles: Profiles) -> None:
    assert set(profiles.breakdown["category"]) <= {*stacks.ORDER, SYSTEM, WAITING}
    assert (profiles.breakdown["us_per_request"] >= 0).all()


def test_recording_has_a_price_and_it_is_told(profiles: Profiles) -> None:
    (row,) = profiles.overhead.to_dict("records")
    assert min(row["plain_us"], row["profiled_us"], row["plain_p50_ms"], row["profiled_p50_ms"]) > 0


def test_motors_threads_wait_for_mongodb_and_the_event_loop_for_requests(profiles: Profiles) -> None:
    waiting = profiles.waiting()["cache off"]
    assert waiting["an answer of MongoDB"] > 0
    assert waiting["requests and answers (the event loop)"] > 0


def test_every_function_has_its_own_time(profiles: Profiles) -> None:
    total = profiles.stacks["us_per_request"].sum()
    python = ~profiles.breakdown["category"].isin([SYSTEM, WAITING])
    assert total == pytest.approx(profiles.breakdown.loc[python, "us_per_request"].sum())


def test_several_workers_are_refused_because_a_recording_is_of_one_process() -> None:
    with pytest.raises(ProfilerError, match="profile two with workers=1"):
        profile({"one": {}, "two": {"workers": 2}}, LOAD)


# Figures worked out by hand.


def changed(*rows: tuple[int, str, str, float]) -> pd.DataFrame:
    """The changes from A to B; each row gives round, variant, stack and µs for each request."""
    frames = pd.DataFrame(rows, columns=["round", "variant", "stack", "us_per_request"])
    return Profiles(LOAD, ("A", "B"), pd.DataFrame(), folders={}, stacks=frames).changes()


def test_what_changed_in_both_directions_with_the_largest_first() -> None:
    rounds = [
        (number, variant, stack, microseconds + number / 10)
        for number in (1, 2, 3)
        for variant, stack, microseconds in [
            ("A", "main;parse", 10.0), ("B", "main;parse", 30.0),
            ("A", "main;store", 50.0), ("B", "other;store", 20.0),
            ("A", "main;old", 40.0), ("B", "main;new", 100.0),
            ("A", "main", 5.0), ("B", "main", 5.0),
        ]
    ]  # fmt: skip
    table = changed(*rounds)
    assert table["what"].to_dict() == {
        "new": "appeared",
        "old": "vanished",
        "store": "shrank",
        "parse": "grew",
        "main": "",
    }
    assert table.index[0] == "new"
    assert table.loc["parse", ["A", "B", "change"]].tolist() == pytest.approx([10.2, 30.2, 20.0])


def test_what_was_seen_in_one_round_only_is_not_called_a_change() -> None:
    table = changed((1, "A", "main", 1.0), (2, "A", "main", 1.0), (1, "B", "main", 1.0), (2, "B", "main;rare", 9.0))
    assert set(table["what"]) == {""}


def test_a_server_that_was_never_seen_at_work_took_no_time() -> None:
    waits = [(number, variant, WAITING, 0.0, 1.0) for number in (1, 2, 3) for variant in "AB"]
    frames = pd.DataFrame(
        [(number, "A", "main;parse", 10.0 + number) for number in (1, 2, 3)],
        columns=["round", "variant", "stack", "us_per_request"],
    )
    table = replace(made_up(*waits), stacks=frames).changes()
    assert table.loc["parse", ["A", "B", "change", "what"]].tolist() == [12.0, 0.0, -12.0, "vanished"]


def test_the_breakdown(tmp_path: Path) -> None:
    rows = breakdown(recorded.write(tmp_path / "run")).set_index("category")
    assert rows["us_per_request"].to_dict() == pytest.approx(recorded.US_PER_REQUEST)
    assert rows["share"].to_dict() == pytest.approx(recorded.SHARE)


def test_a_biased_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfilerError, match="fell behind"):
        breakdown(recorded.write(tmp_path / "run", behind=True))


def test_a_server_that_did_nothing_only_waited(tmp_path: Path) -> None:
    folder = recorded.write(tmp_path / "run")
    (folder / "profile.raw").write_text("")
    rows = breakdown(folder).set_index("category")
    assert rows["share"].to_dict() == pytest.approx({SYSTEM: 0.3, WAITING: 0.7})


def made_up(*rows: tuple[int, str, str, float, float]) -> Profiles:
    """Profiles of A and B, from rows of round, variant, category, us_per_request and share."""
    columns = ["round", "variant", "category", "us_per_request", "share"]
    return Profiles(LOAD, ("A", "B"), pd.DataFrame(rows, columns=columns), folders={})


TWO_ROUNDS = made_up(
    (1, "A", "JSON", 30.0, 0.10),
    (1, "A", "driver", 100.0, 0.30),
    (1, "A", SYSTEM, 40.0, 0.10),
    (1, "A", WAITING, 500.0, 0.50),
    (2, "A", "JSON", 50.0, 0.20),
    (2, "A", "driver", 140.0, 0.30),
    (2, "A", SYSTEM, 60.0, 0.10),
    (2, "A", WAITING, 500.0, 0.40),
    (1, "B", "JSON", 45.0, 0.20),
    (1, "B", "driver", 20.0, 0.10),
    (1, "B", SYSTEM, 50.0, 0.20),
    (1, "B", WAITING, 900.0, 0.50),
)


def test_the_table_is_the_mean_of_the_rounds_in_a_fixed_order_without_waiting() -> None:
    table = TWO_ROUNDS.table()
    assert list(table.index) == ["driver", "JSON", SYSTEM]
    assert table.to_dict() == {
        "A": {"driver": 120.0, "JSON": 40.0, SYSTEM: 50.0},
        "B": {"driver": 20.0, "JSON": 45.0, SYSTEM: 50.0},
    }


def test_waits_that_were_not_recorded_are_not_shown_as_none() -> None:
    with pytest.raises(ProfilerError, match="with_waits=True"):
        TWO_ROUNDS.waiting()


def test_a_cost_that_was_not_measured_is_not_shown_as_none() -> None:
    with pytest.raises(ProfilerError, match="with_overhead=True"):
        replace(TWO_ROUNDS, overhead=pd.DataFrame()).cost_of_profiling()


def test_the_shares_are_the_mean_of_the_rounds() -> None:
    shares = TWO_ROUNDS.shares()
    assert list(shares.index) == ["Python", SYSTEM, WAITING]
    assert shares["A"].tolist() == pytest.approx([0.45, 0.10, 0.45])
    assert shares["B"].tolist() == pytest.approx([0.30, 0.20, 0.50])


def test_the_largest_change_is_told_in_its_direction() -> None:
    assert TWO_ROUNDS.largest_change() == "B spends 100 µs less in driver for each request than A"
    reverse = Profiles(LOAD, ("B", "A"), TWO_ROUNDS.breakdown, folders={})
    assert reverse.largest_change() == "A spends 100 µs more in driver for each request than B"


def test_a_category_that_one_variant_never_shows_counts_as_nothing() -> None:
    profiles = made_up(
        (1, "A", "driver", 100.0, 0.5),
        (1, "A", "cache", 1.0, 0.1),
        (1, "B", "cache", 2.0, 0.1),
        (1, "B", "rate limit", 5.0, 0.1),
    )
    assert profiles.largest_change() == "B spends 100 µs less in driver for each request than A"


def test_a_category_that_one_round_never_shows_counts_as_nothing_in_its_mean() -> None:
    profiles = made_up((1, "A", "telemetry", 10.0, 0.5), (2, "A", "driver", 10.0, 0.5), (1, "B", "driver", 10.0, 0.5))
    assert profiles.table()["A"].to_dict() == {"driver": 5.0, "telemetry": 5.0}


@pytest.mark.parametrize(
    ("recorded", "is_complete"),
    [
        ([(1, "a"), (1, "b")], True),
        ([(1, "a"), (2, "b"), (3, "a")], False),
        ([(1, "a"), (2, "b"), (2, "a")], True),
        ([], False),
    ],
)
def test_a_comparison_needs_a_round_with_a_recording_of_each(
    recorded: list[tuple[int, str]], is_complete: bool
) -> None:
    tables = [pd.DataFrame({"round": [number], "variant": [name]}) for number, name in recorded]
    assert any_complete_round(tables, ["a", "b"]) == is_complete
