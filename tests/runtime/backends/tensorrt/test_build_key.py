"""Keys: every field counts, profiles cover every batch, and a difference is told in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_sdk.runtime.backends.base import BATCHES
from cmc_sdk.runtime.backends.tensorrt.build_key import BuildKey, DeviceKey, Profile, batch_profiles, differences

KEY = BuildKey(
    flavour="tensorrt",
    version="10.3.0.30",
    capabilities=("sm87",),
    graph_sha256="ab" * 32,
    precision="fp16",
    profiles=batch_profiles(BATCHES, flavour="tensorrt"),
)
DEVICE = DeviceKey(gpu="Orin", capability="sm87", driver="540.4.0, L4T 36.4.3", os="Linux ubuntu 22.04 aarch64")
CHANGES = {
    "flavour": "tensorrt_rtx",
    "version": "10.7.0.23",
    "capabilities": ("sm86",),
    "graph_sha256": "cd" * 32,
    "precision": "f32",
    "profiles": batch_profiles((1,), flavour="tensorrt"),
    "rules": 2,
}


@pytest.mark.parametrize("field", sorted(CHANGES))
def test_every_field_of_a_build_key_makes_another_engine(field):
    other = KEY.model_copy(update={field: CHANGES[field]})
    assert other.digest != KEY.digest
    assert not other.covers(KEY)
    (words,) = differences(other, KEY)
    assert words.startswith(f"{field} ")


@pytest.mark.parametrize("field", ["gpu", "capability", "driver", "os"])
def test_every_field_of_a_device_key_makes_another_device(field):
    other = DEVICE.model_copy(update={field: "sm90" if field == "capability" else "another"})
    assert other.digest != DEVICE.digest
    assert len(differences(other, DEVICE)) == 1


def test_the_digest_is_the_same_everywhere():
    assert KEY.digest == BuildKey.model_validate_json(KEY.model_dump_json()).digest
    assert len(KEY.digest) == 64


def test_an_engine_for_many_devices_serves_each_of_them_and_no_other():
    many = KEY.model_copy(update={"capabilities": ("sm80", "sm86", "sm89")})
    assert many.covers(KEY.model_copy(update={"capabilities": ("sm86",)}))
    assert many.covers(KEY.model_copy(update={"capabilities": ("sm80", "sm89")}))
    assert not many.covers(KEY.model_copy(update={"capabilities": ("sm86", "sm120")}))


def test_differences_name_what_was_and_what_is():
    newer = KEY.model_copy(update={"version": "10.7.0.23", "capabilities": ("sm80", "sm86")})
    assert differences(newer, KEY) == [
        "version 10.3.0.30 is now 10.7.0.23",
        "capabilities sm87 is now sm80+sm86",
    ]


@given(st.lists(st.integers(1, 64), min_size=1, max_size=6), st.sampled_from(["tensorrt", "tensorrt_rtx"]))
def test_profiles_take_every_batch_up_to_the_largest_once(batches, flavour):
    profiles = batch_profiles(batches, flavour=flavour)
    taken = [size for item in profiles for size in range(item.least, item.most + 1)]
    assert taken == list(range(1, max(batches) + 1))
    assert all(item.least <= item.best <= item.most for item in profiles)
    if flavour == "tensorrt":
        assert {item.best for item in profiles} == set(batches)


def test_the_planners_batches_have_their_profiles():
    expected = (Profile(least=1, best=1, most=1), Profile(least=2, best=2, most=2), Profile(least=3, best=4, most=4))
    assert batch_profiles(BATCHES, flavour="tensorrt") == expected
    assert batch_profiles(BATCHES, flavour="tensorrt_rtx") == (Profile(least=1, best=1, most=4),)
