"""What a node looks up for itself of the envelopes it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hce.service.mailbox.service import Mailbox
from hce.service.mailbox.slots import SLOT_BYTES


def test_envelopes_are_looked_up_in_the_order_of_their_records_whoever_may_read_them(
    people: Any, box: Mailbox, tmp_path: Path
) -> None:
    """Both that wait in quarantine and that are in the feed; what is not here, was erased or has no key in its slot is None."""
    for number, name in enumerate(["wiped", "held", "erased", "waiting"]):
        token = None if name == "waiting" else people.token()
        box.deposit(bytes([number]) * 32, people.org_id, [people.delivery(name, token=token)], b"answer")
    box.act(people.act("erase", records=[people.record_id("erased")]))
    with (tmp_path / "mailbox" / "slots").open("r+b") as slots:
        slots.seek(SLOT_BYTES)
        slots.write(bytes(SLOT_BYTES))
    asked = [people.record_id(name) for name in ("waiting", "erased", "held", "never written", "wiped", "held")]
    held, waiting = people.delivered("held").envelope, people.delivered("waiting").envelope
    assert box.replica.envelopes(asked) == [waiting, None, held, None, None, held]
    assert box.replica.envelopes([]) == []
