"""The evidence as a checklist for people: what to look at, where, and what was seen."""

from collections.abc import Mapping
from math import isnan

import pandas as pd

from profiles.diagnosis.evidence import SIGNALS, Evidence


def checklist(seen: Mapping[str, Evidence]) -> pd.DataFrame:
    """What one looks at to tell the server from the database, from the outside to the inside.

    A row for each signal; columns: what, where, unit, and one for each of `seen`, with the value as text.
    """
    rows = {
        signal: {
            "what": kind.what,
            "where": kind.source,
            "unit": kind.unit,
            **{name: _text(each[signal]) for name, each in seen.items()},
        }
        for signal, kind in SIGNALS.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def _text(value: float) -> str:
    return "not seen" if isnan(value) else f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
