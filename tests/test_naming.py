"""What runs are called: bounded, and different where they are."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fnn.config import Config, configure
from fnn.naming import LONGEST, WORDS, name_of


def test_the_name_tells_what_is_on_and_stays_as_it_was_where_nothing_is() -> None:
    plain = name_of(Config())
    assert plain == "hl_2_bs_256_ac_ReLU_op_adam_sz_1024_lr_0.001_ep_25_wi_He_wd_0_lo_ce_fashion_mnist_seed_0"
    off = Config(schedule="constant", label_smoothing=0, decoupled_weight_decay=0, beta1=0.5, threads=2)
    assert name_of(off) == plain
    on: dict[str, Any] = {"flip": "yes", "views": "both", "features": "gradients", "validation_fraction": 0}
    on["normalization"] = "batch"
    names = [
        name_of(Config(**{word: on.get(word, 1 if word == "shift" else 0.5)})) for word in WORDS if word != "dtype"
    ]
    assert len({*names, plain}) == len(WORDS) and "_flip_fashion" in names[1]
    head, tail = plain.split("_fashion")
    assert all(name.startswith(f"{head}_") and name.endswith(f"_fashion{tail}") for name in names)


@given(
    st.lists(st.integers(1, 10**9), min_size=1, max_size=60), st.lists(st.integers(1, 10**9), min_size=60, max_size=60)
)
def test_a_name_is_bounded_and_still_tells_apart(one: list[int], other: list[int]) -> None:
    names = [name_of(configure(Config(), {"hidden_size": widths})) for widths in (one, other)]
    assert all(len(name) <= LONGEST for name in names) and (names[0] == names[1]) is (one == other)
    assert all(name.endswith("_fashion_mnist_seed_0") for name in names)


def test_the_name_tells_the_settings_that_runs_differ_by() -> None:
    names = {name_of(Config(**{name: value})) for name, value in (("seed", 1), ("loss", "mean_squared_error"))}
    assert len(names | {name_of(Config())}) == 3 and all("/" not in name for name in names)
