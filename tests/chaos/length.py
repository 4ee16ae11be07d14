"""How long the chaos lasts: the short form beside the other long tests, the long one when it is asked for."""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")

#: `CHAOS=long` asks for the long form. Not `GEO_…`: the tests take all such names out of their environment.
VARIABLE = "CHAOS"

LONG = os.environ.get(VARIABLE, "").lower() == "long"


def length(short: T, long: T) -> T:
    """`long` in the long form, else `short`."""
    return long if LONG else short
