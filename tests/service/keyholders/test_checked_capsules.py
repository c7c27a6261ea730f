"""What was found right is not computed again, what is wrong is refused however often it comes, and memory is bounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import structs
from tests.service.keyholders.scene import Scene

from hce.foundation.crypto.threshold import Capsule, deal, encapsulate
from hce.service.keyholders import checked as room
from hce.service.keyholders.checked import CHECK_EACH_S, CHECK_REST_S, CheckedCapsules, CheckingAhead
from hce.service.terms.states import key_record

KEY = deal(3, 2, bytes(32)).public_key
OTHER_KEY = deal(3, 2, bytes([1]) * 32).public_key


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The labels of capsules that were really checked."""
    labels: list[bytes] = []
    really = room.verify_capsule

    def noted(public_key: bytes, label: bytes, capsule: Any) -> bool:
        labels.append(label)
        return really(public_key, label, capsule)

    monkeypatch.setattr(room, "verify_capsule", noted)
    return labels


def test_what_was_right_is_computed_once_and_only_for_its_own_key_and_label(computed: list[bytes]) -> None:
    checked, (capsule, _) = CheckedCapsules(), encapsulate(KEY, b"one")
    assert [checked.verify(KEY, b"one", capsule) for _ in range(3)] == [True] * 3
    assert computed == [b"one"]
    assert not checked.verify(KEY, b"two", capsule)
    assert not checked.verify(OTHER_KEY, b"one", capsule)
    for field in ("c", "u", "u_bar", "e", "f"):
        bent = bytearray(getattr(capsule, field))
        bent[0] ^= 1
        assert not checked.verify(KEY, b"one", structs.replace(capsule, **{field: bytes(bent)})), field


def test_what_is_wrong_stays_wrong(computed: list[bytes]) -> None:
    checked, (capsule, _) = CheckedCapsules(), encapsulate(KEY, b"one")
    assert [checked.verify(KEY, b"two", capsule) for _ in range(2)] == [False] * 2
    assert (len(checked), len(computed)) == (0, 2)


def test_the_oldest_are_forgotten(computed: list[bytes]) -> None:
    checked = CheckedCapsules(most=2)
    made = [(label, encapsulate(KEY, label)[0]) for label in (b"a", b"b", b"c")]
    assert all(checked.verify(KEY, label, capsule) for label, capsule in [*made, made[0]])
    assert (len(checked), computed) == (2, [b"a", b"b", b"c", b"a"])


def own_capsules(scene: Scene) -> dict[bytes, Capsule]:
    return {name: one.capsule for name, one in zip(scene.request.requested, scene.request.openings, strict=True)}


def ahead_of(
    scene: Scene, checked: CheckedCapsules, most: int = 100, capsules: Mapping[bytes, Capsule] | None = None
) -> CheckingAhead:
    """A node that holds envelopes with these capsules; the records' own when none are given."""
    held = own_capsules(scene) if capsules is None else capsules

    def envelopes(names: Sequence[bytes]) -> list[Any]:
        return [SimpleNamespace(capsule=held[name]) if name in held else None for name in names]

    return CheckingAhead(scene.world.chain, checked, scene.state, envelopes, most)


def test_a_release_computes_nothing_again_that_was_checked_ahead(scene: Scene, computed: list[bytes]) -> None:
    checked = CheckedCapsules()
    ahead, records = ahead_of(scene, checked), len(scene.request.requested)
    ahead.records_final(scene.request.requested)
    ahead.check_some(1)
    assert (ahead.waiting, len(checked)) == (records - 1, 1)
    ahead.check_some(100)
    assert (ahead.waiting, len(computed)) == (0, records)
    scene.keyholder(capsules=checked).release(scene.request)
    assert len(computed) == records
    scene.keyholder().release(scene.request)
    assert len(computed) == 2 * records, "a node that checked nothing ahead checks now"


def test_a_wrong_capsule_that_was_looked_at_ahead_is_not_remembered(scene: Scene) -> None:
    checked, own = CheckedCapsules(), own_capsules(scene)
    capsules = list(own.values())
    ahead = ahead_of(scene, checked, capsules=dict(zip(own, capsules[1:] + capsules[:1], strict=True)))
    ahead.records_final(own)
    ahead.check_some(len(own))
    assert len(checked) == 0
    scene.keyholder(capsules=checked).release(scene.request)
    assert len(checked) == len(own), "its own are right"


def test_records_that_are_not_here_or_not_final_are_passed_over(scene: Scene, computed: list[bytes]) -> None:
    ahead, last = ahead_of(scene, CheckedCapsules()), scene.request.requested[-1]
    del scene.table[key_record(last)]
    ahead.records_final([bytes(32), *scene.request.requested])
    ahead.check_some(100)
    assert (ahead.waiting, len(computed)) == (0, len(scene.request.requested) - 1)


def test_no_more_wait_than_there_is_room_for(scene: Scene) -> None:
    ahead = ahead_of(scene, CheckedCapsules(), most=3)
    ahead.records_final(bytes([number]) * 32 for number in range(9))
    assert ahead.waiting == 3


def test_a_little_is_checked_at_a_time_and_nothing_while_more_comes_in_than_could_be(scene: Scene, computed: list[bytes]) -> None:
    ahead = ahead_of(scene, CheckedCapsules())
    assert ahead.step(CHECK_REST_S) == CHECK_REST_S, "nothing to do"
    ahead.records_final([bytes(32)] * 1_000 + scene.request.requested)
    assert ahead.step(CHECK_REST_S) == CHECK_REST_S, "an import goes on"
    assert (ahead.waiting, computed) == (100, []), "the newest hundred"
    steps = 0
    while ahead.waiting:
        ahead.records_final([bytes([steps]) * 32] if steps < 50 else [])
        assert ahead.step(CHECK_EACH_S) == (CHECK_EACH_S if ahead.waiting else CHECK_REST_S), "a trickle stops nothing"
        steps += 1
    assert len(computed) == len(scene.request.requested)
