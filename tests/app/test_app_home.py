"""A network's folder: there wholly or not at all, one at a time, and no key of it is ever printed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hce.app.devnet import run
from hce.app.devnet.home import DemoWallet, Home, NodeKeys
from hce.app.devnet.making import HomeBusy, HomeOccupied, alone, make_whole, unfinished
from hce.app.gateway import read_settings
from hce.app.tour.stage import new_person
from hce.service.keyring.keyring import Keyring
from hce.service.terms.genesis import Params

KILLED_WHILE_MAKING = """
import os, signal, sys
from pathlib import Path
from hce.app.devnet import {module}
from hce.app.devnet import run
from hce.app.devnet.home import Home
from hce.service.terms.genesis import Params

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

{module}.{function} = die
run.create(Home(Path(sys.argv[1])), [1, 2, 3], 1, Params())
"""


def create(root: Path) -> bool:
    return run.create(Home(root), [7_100, 7_150, 7_151], 1, Params())


@pytest.mark.parametrize(
    ("module", "function"), [("genesis", "replace_file"), ("run", "make_gateways"), ("people", "make_gateway")]
)
def test_a_kill_while_the_folder_is_made_is_mended_by_the_next_try(tmp_path: Path, module: str, function: str) -> None:
    root = tmp_path / "run"
    script = KILLED_WHILE_MAKING.format(module=module, function=function)
    killed = subprocess.run([sys.executable, "-c", script, str(root)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not root.exists()
    assert create(root), "the leftovers were there and are gone"
    home = Home(root)
    assert home.exists
    assert not unfinished(home).exists()
    for name in home.network()["gateways"]:
        assert read_settings(home.gateway(name)).staff
        Keyring.open(home.gateway(name) / "keyring").close()


def test_an_empty_folder_is_taken_and_one_with_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert not create(tmp_path / "empty")
    mine = tmp_path / "mine" / "thesis.txt"
    mine.parent.mkdir()
    mine.write_text("years of work")
    with pytest.raises(HomeOccupied):
        create(tmp_path / "mine")
    assert mine.read_text() == "years of work"


def test_a_maker_that_fails_leaves_nothing_in_the_place(tmp_path: Path) -> None:
    def fail(place: Home) -> None:
        (place.root / "half").touch()
        raise ValueError("no room")

    with pytest.raises(ValueError, match="no room"):
        make_whole(Home(tmp_path / "run"), fail)
    assert not (tmp_path / "run").exists()


def test_a_second_up_on_the_same_folder_says_so(tmp_path: Path) -> None:
    root = tmp_path / "run"
    with alone(Home(root)):
        with pytest.raises(HomeBusy), alone(Home(root)):
            pass
        environment = os.environ | {"HCE_LANG": "en"}
        second = subprocess.run(
            [sys.executable, "-m", "hce.app.cli", "up", "--home", str(root)],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        assert second.returncode == 1
        assert "home.busy" in second.stderr
        assert "Traceback" not in second.stderr
        assert not root.exists()
    with alone(Home(root)):
        pass


def test_keys_are_not_printed() -> None:
    secret = bytes(range(32))
    for holder in (NodeKeys(secret, secret, secret, secret), DemoWallet(secret)):
        for text in (repr(holder), str(holder), f"{[holder]}"):
            assert repr(secret)[2:20] not in text
            assert secret.hex() not in text


def test_the_words_of_a_person_are_not_printed() -> None:
    class Chain:
        chain = bytes(16)

    person = new_person(Chain(), "en")  # type: ignore[arg-type]  # of the network only the chain's name is needed
    assert person.words.split()[0] not in repr(person).split()
    assert person.words not in repr(person)
