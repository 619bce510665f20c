"""How sure a ratio is: exact where it can be, and right as often as it says."""

import numpy as np
import pytest

from loadtests.intervals import Ratio, paired_difference, paired_ratio


@pytest.mark.parametrize("ratio", [0.25, 1.0, 3.0])
def test_pairs_that_agree_leave_no_doubt(ratio: float) -> None:
    found = paired_ratio([1.0, 2.0, 5.0], [ratio * 1.0, ratio * 2.0, ratio * 5.0])
    assert (found.value, found.low, found.high) == pytest.approx((ratio, ratio, ratio))
    assert found.pairs == 3


def test_the_ratio_is_the_geometric_mean() -> None:
    # Half as much and twice as much cancel out, which their mean, 1.25, would deny.
    assert paired_ratio([1.0, 1.0], [0.5, 2.0]).value == pytest.approx(1.0)


def test_turned_round_it_is_the_reciprocal() -> None:
    base, other = [1.0, 1.1, 1.2, 0.9], [2.0, 2.5, 2.2, 2.1]
    found, reverse = paired_ratio(base, other), paired_ratio(other, base)
    assert reverse.value == pytest.approx(1 / found.value)
    assert found.low < found.value < found.high


def test_the_pairing_cancels_what_both_share() -> None:
    slow_machine = np.array([1.0, 5.0, 2.0, 9.0, 1.5, 3.0])
    found = paired_ratio(slow_machine, slow_machine * np.array([1.50, 1.52, 1.49, 1.51, 1.50, 1.48]))
    assert 1.45 < found.low < found.high < 1.55


def test_more_pairs_give_a_narrower_interval() -> None:
    widths = []
    for times in (1, 4, 16):
        found = paired_ratio([1.0, 1.0, 1.0] * times, [0.9, 1.0, 1.1] * times)
        widths.append(found.high - found.low)
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < widths[0] / 4


def test_the_same_measurements_give_the_same_interval() -> None:
    base, other = [1.0, 1.1, 1.2], [1.3, 1.2, 1.4]
    assert paired_ratio(base, other) == paired_ratio(base, other)


@pytest.mark.parametrize(
    ("low", "high", "differs"),
    [(0.8, 1.2, False), (1.0, 1.2, False), (0.8, 1.0, False), (1.01, 1.2, True), (0.8, 0.99, True)],
)
def test_it_differs_if_the_interval_excludes_1(low: float, high: float, differs: bool) -> None:
    assert Ratio(1.0, low, high, pairs=6, visible=0.1).differs is differs


def test_it_reads_as_ratio_and_interval() -> None:
    assert str(Ratio(0.5, 0.456, 0.6, pairs=6, visible=0.1)) == "0.50 [0.46, 0.60]"


@pytest.mark.parametrize(
    ("base", "other"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([1.0], [2.0], id="one pair"),
        pytest.param([1.0, 1.0], [2.0, 2.0, 2.0], id="not in pairs"),
        pytest.param([1.0], [2.0, 2.0], id="one for two"),
        pytest.param([1.0, 0.0], [2.0, 2.0], id="zero"),
        pytest.param([1.0, 1.0], [2.0, -2.0], id="negative"),
        pytest.param([1.0, 1.0], [2.0, float("nan")], id="missing"),
        pytest.param([1.0, 1.0], [2.0, float("inf")], id="infinite"),
    ],
)
def test_what_is_no_pairs_of_positive_values_is_refused(base: list[float], other: list[float]) -> None:
    with pytest.raises(ValueError, match="2 or more pairs of values above 0"):
        paired_ratio(base, other)


def simulated(true_ratio: float, comparisons: int = 200) -> list[Ratio]:
    """What comparisons of 6 rounds find, on a machine whose rounds differ by about 5 %."""
    generator = np.random.default_rng(seed=42)
    pairs = [generator.normal(0, 0.05, size=(2, 6)) for _ in range(comparisons)]
    return [paired_ratio(np.exp(base), true_ratio * np.exp(other)) for base, other in pairs]


def test_equals_are_called_different_about_once_in_twenty() -> None:
    wrong = sum(found.differs for found in simulated(true_ratio=1.0))
    assert 0 < wrong / 200 < 0.10


def test_a_true_ratio_of_2_is_always_found() -> None:
    for found in simulated(true_ratio=2.0):
        assert found.differs
        assert found.value == pytest.approx(2.0, rel=0.15)


def test_the_visible_change_is_what_a_paired_test_of_that_scatter_shows_four_times_in_five() -> None:
    generator = np.random.default_rng(1)
    visible, found = [], 0
    for number in range(200):
        noise = generator.normal(0, 0.05, size=6)
        ratio = paired_ratio([100.0] * 6, (100 * 1.08 * np.exp(noise)).tolist(), seed=number)
        visible.append(ratio.visible)
        found += ratio.differs
    # With this scatter 8 % lies a little above what is visible, so it is found a little more often.
    assert 0.04 < np.median(visible) < 0.08
    assert 0.75 < found / 200 < 0.99


def test_a_difference_of_few_pairs_reaches_beyond_them() -> None:
    two = paired_difference([10.0, 20.0], [12.0, 21.0])
    assert two.value == 1.5
    assert two.low < 1.0
    assert two.high > 2.0
    assert not two.differs
    assert paired_difference([1.0, 2.0, 3.0], [11.0, 12.1, 12.9]).differs
    assert paired_difference([1.0], [2.0]).low == -np.inf


@pytest.mark.parametrize(("base", "other"), [([], []), ([1.0], [1.0, 2.0])])
def test_a_difference_needs_pairs(base: list[float], other: list[float]) -> None:
    with pytest.raises(ValueError, match="in pairs"):
        paired_difference(base, other)
