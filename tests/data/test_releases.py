"""Dates of generators: the names that folders give them, and the order of the table."""

import re

import pytest

from dfdlib.data.releases import RELEASED, released


@pytest.mark.parametrize(
    ("name", "month"),
    [
        ("progan", "2017-10"),
        ("stable_diffusion_v_1_4", "2022-08"),
        ("SD v1.5", "2022-10"),
        ("StyleGAN-v3", "2021-06"),
        ("sdxl", "2023-07"),
        ("DALL·E 3", "2023-09"),
        ("VQDM", "2021-11"),
        ("splicing", None),
        ("", None),
    ],
)
def test_names_as_folders_give_them(name, month):
    assert released(name) == month


def test_the_table_is_in_order_and_each_name_is_found():
    months = list(RELEASED.values())
    assert months == sorted(months)
    assert all(re.fullmatch(r"20\d\d-(0[1-9]|1[0-2])", month) for month in months)
    assert {name: released(name) for name in RELEASED} == RELEASED
