"""What the machine prevented: why a check may have failed although the service did what it should.

Apart from `notebooks.lab`, because that needs nbclient, and this is imported in notebooks.
"""

import pandas as pd

PREVENTED = "the machine prevented it: "
# Errors that say the same by themselves: py-spy, or Locust, did not get the processor it needed.
OF_THE_MACHINE = ("Behind", "RunError")


def prevented(*measured: pd.DataFrame) -> str:
    """Why runs do not count, for the message of an assert, or "" if all do. `measured` have a column `void`."""
    reasons = [reason for rows in measured for reason in rows["void"] if reason]
    runs = sum(len(rows) for rows in measured)
    return f"{PREVENTED}{len(reasons)} of {runs} runs do not count ({reasons[0]})" if reasons else ""


def is_of_the_machine(failure: str) -> bool:
    """Whether the failure of a notebook, "name: message", tells of the machine, and not of the service."""
    name, _, message = failure.partition(": ")
    return name in OF_THE_MACHINE or message.startswith(PREVENTED)
