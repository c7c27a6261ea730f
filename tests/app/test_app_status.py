"""`hce status` is short when all is well and names what is not."""

from __future__ import annotations

from typing import Any

import pytest

from hce.app.cli.options import make_console
from hce.app.cli.status import _print, notes_on

WELL: dict[str, Any] = {
    "peers": [{"connected": True}, {"connected": True}],
    "syncing": False,
    "voting": True,
    "shards": {"verified": 9, "damaged": 4, "restored": 4},
    "awaited": 0,
    "free_bytes": 1 << 40,
}


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HCE_LANG", "en")


def test_a_node_that_is_well_shows_its_links_and_nothing_more() -> None:
    assert notes_on(WELL) == ["links 2/2"]
    assert notes_on(WELL | {"peers": []}) == []


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ({"peers": [{"connected": True}, {"connected": False}]}, "links 1/2"),
        ({"syncing": True}, "catching up"),
        ({"voting": False}, "watching after a restore, not signing yet"),
        ({"shards": {"verified": 9, "damaged": 5, "restored": 2}}, "3 damaged shards not restored yet"),
        ({"free_bytes": 12 << 20}, "12 MB left on its disk, no new batches are taken"),
        ({"awaited": 7}, "7 records still to fetch from others"),
    ],
)
def test_what_is_not_as_it_should_be_is_named(trouble: dict[str, Any], said: str) -> None:
    assert said in notes_on(WELL | trouble)


def test_a_node_that_waits_for_room_is_shown_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"code": "disk.full", "status": 507, "detail": ""}
    _print(make_console(), {"node-0": "http://127.0.0.1:7100"}, {"node-0": answer}, "")
    said = capsys.readouterr().out
    assert "node-0 (http://127.0.0.1:7100) waits: There is no room left to write." in said
    assert "(disk.full)" in said
