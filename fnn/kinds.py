"""What values an option takes, in words and as a function: the same for flags, sweep keys and files."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import Any

from attrs import frozen


@frozen
class Kind:
    """What values an option takes: ``parse`` returns the value or raises ValueError, ``expected`` says it in words."""

    expected: str
    parse: Callable[[Any], Any]
    several: bool = False
    metavar: str = "X"


def one_of(choices: Iterable[str]) -> Kind:
    names = tuple(choices)

    def parse(value: Any) -> str:
        if value not in names:
            raise ValueError
        return str(value)

    return Kind(f"one of {', '.join(names)}", parse, metavar=f"{{{','.join(names)}}}")


LARGEST = 10**9  # of whole numbers: seeds fit it, and no count that could be trained exceeds it


def whole(least: int, most: int = LARGEST) -> Kind:
    def parse(value: Any) -> int:
        number = int(value) if isinstance(value, float) and value.is_integer() else int(str(value))
        if not least <= number <= most:
            raise ValueError
        return number

    end = "10^9" if most == LARGEST else most
    return Kind(f"a whole number from {least} to {end}", parse, metavar="N")


def real(words: str, valid: Callable[[float], bool]) -> Kind:
    def parse(value: Any) -> float:
        number = float(str(value))
        if not math.isfinite(number) or not valid(number):
            raise ValueError
        return number

    return Kind(words, parse)


def _widths(value: Any) -> tuple[int, ...]:
    items = value if isinstance(value, list | tuple) else (value,)
    words = re.findall(r"[^\s,\[\]()]+", " ".join(map(str, items)))  # a sweep agent passes "[512, 256]"
    if not words:
        raise ValueError
    return tuple(map(whole(1).parse, words))


def _yes_or_no(value: Any) -> str:
    word = str(value).lower()  # YAML makes a boolean of a plain yes
    if word not in ("yes", "true", "1", "no", "false", "0"):
        raise ValueError
    return "yes" if word in ("yes", "true", "1") else "no"


YES_OR_NO = Kind("yes or no", _yes_or_no, metavar="{no,yes}")
POSITIVE = real("a number above 0", lambda x: x > 0)
NOT_NEGATIVE = real("a number of at least 0", lambda x: x >= 0)
SHARE = real("a number of at least 0 and below 1", lambda x: 0 <= x < 1)
ANGLE = real("a number of at least 0 and below 90", lambda x: 0 <= x < 90)
WIDTHS = Kind("one width, or one for each hidden layer, each a whole number from 1", _widths, several=True, metavar="N")
THREADS = Kind(
    "auto or a whole number from 1 to 1024",
    lambda value: value if value == "auto" else whole(1, 1024).parse(value),
    metavar="N",
)
TEXT = Kind("a text", str, metavar="TEXT")
