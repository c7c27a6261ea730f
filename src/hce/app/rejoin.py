"""A node that lost its sign state, as one that was restored from a backup, watches before it signs.

The sign state, what its key signed last, is in no backup: an old one would let it sign a second time what it signed after the backup.
It is made with the network, before the node's first start, so one that is missing was lost, also when the whole disk is new.
So the node follows the chain as one that does not vote, releases nothing and anchors nothing, until the chain has passed every height
the lost node can have signed at.

Which height is that? The lost node signed at s, so s - 1 was final for it: a quorum had precommitted it, all of them before the restore.
A block that was proposed after the restore and became final at height f was voted on by a quorum too. Two quorums share an honest node,
which was at s - 1 or above, so f >= s - 1. The node therefore waits for a block that was made a safe time after the restore, and for
two more on top of it. Then a new sign state that refuses everything up to there takes the place of the mark.

A node that is alone has nobody to watch. It may sign on above the end of its backup only if whoever restores it says that later blocks
are given up; somebody who has seen them would see a fork.

If more nodes lose their sign state at one time than the quorum can miss, nobody makes the blocks they all wait for, and the network
stands. No machine may end that: a block can have been final at a node that lost it, by votes of nodes that forgot them, and the others
cannot know. Whoever runs the nodes may say that such a block is given up (`give_up_watch`); it is the same word as for a lone node.
That word is about blocks nobody has. So the node's own log must be whole: one that damage cut ends below blocks this node had, and they
come from the others first.

The mark says since when, and goes last. A kill before that leaves a mark and perhaps a new sign state nobody has used; the next watch
replaces it.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

from hce.foundation.store.check import damaged_stores
from hce.foundation.store.disk import replace_file, set_aside, sync_directory
from hce.foundation.store.errors import StoreCorrupt
from hce.foundation.store.kv import KeyValueStore
from hce.foundation.types.errors import Corrupt, Refused
from hce.foundation.types.scalars import ChainId, Height, NodeIndex, PublicKey, TimeMs
from hce.network.runtime.blocklog import BlockLog
from hce.network.runtime.errors import SignStateCorrupt
from hce.network.runtime.recovery import require_own_sign_state
from hce.network.runtime.salvage import open_records
from hce.network.runtime.signstate import SignState
from hce.service.ledger.genesis import genesis_block
from hce.service.ledger.ledger import Ledger
from hce.service.ledger.queries import Queries
from hce.service.terms.genesis import Genesis

log = logging.getLogger("hce.node")

MARK = "restored.json"
"""In a node's data folder, from the restore or the first start after a loss until the node signs again."""
SIGN_FOLDER, SIGN_STATE = "sign", "sign-state"
LOG, ASIDE = "blocks.log", ".damaged-"
LEFT_BY_A_LIFE = frozenset({LOG, MARK, "ledger", "mailbox", "packs", "placements"})
"""In the data folder of a node that ran, each perhaps set aside."""
SAFE_MS = 30_000
"""A block counts as made after the restore when its time is so much later: far more than nodes let a block's time be off."""
BLOCKS_ABOVE = 2
"""Final blocks to wait for on top of that one."""


class MarkUnreadable(Corrupt):
    """The file that says when this node was restored is damaged. Without it nobody knows when the node may sign."""

    code = "backup.mark_unreadable"


class NotWatching(Refused):
    """This node has its sign state; there is no watch to give up."""

    code = "node.not_watching"
    status = 409


class LogNotWhole(Refused):
    """This node's block log lost blocks to its disk. They have to be fetched again before anybody can say which come after them."""

    code = "node.log_not_whole"
    status = 409


class Watch:
    """From the restore until the node may sign."""

    def __init__(self, restored_ms: TimeMs, blocks_above: int = BLOCKS_ABOVE) -> None:
        self._restored_ms, self._blocks_above = restored_ms, blocks_above
        self._safe_height: Height | None = None

    def may_sign(self, height: Height, time_ms: TimeMs) -> bool:
        """Told of each final block in order: whether everything above this height is free to be signed."""
        if self._safe_height is None and time_ms > self._restored_ms + SAFE_MS:
            self._safe_height = height + self._blocks_above
        return self._safe_height is not None and height >= self._safe_height


def begin_watch(data: Path, restored_ms: TimeMs) -> None:
    """Marks a restored node's data; durable on return."""
    replace_file(data / MARK, json.dumps({"restored_ms": restored_ms}).encode())


def make_sign_state(data: Path, chain: ChainId, key: PublicKey) -> None:
    """Of a new network's node. From now on a node without one has lost it."""
    SignState.open(data / SIGN_FOLDER, chain, key).close()


def sign_state_of(data: Path, genesis: Genesis, index: NodeIndex, blocklog: BlockLog, now_ms: TimeMs) -> SignState | Watch:
    """What this node signs with, or the watch it has to keep first.

    One that is damaged, or older than what the node has signed, is as good as lost: it is kept beside as `sign.damaged-<n>`. A lone
    node has nobody to watch: `SignStateCorrupt`.
    """
    nodes, key = len(genesis.nodes), genesis.node_list[index].consensus_key
    watch = watch_of(data, nodes, now_ms)
    if watch is not None:
        return watch
    try:
        return _open_sign_state(data / SIGN_FOLDER, genesis.chain, key, index, blocklog)
    except SignStateCorrupt as error:
        if nodes == 1:
            raise
        begin_watch(data, now_ms)
        aside = set_aside(data / SIGN_FOLDER)
        log.error("%s: this node watches before it signs again; its sign state is %s", error, aside.name)
        return Watch(now_ms)


def _open_sign_state(folder: Path, chain: ChainId, key: PublicKey, index: NodeIndex, blocklog: BlockLog) -> SignState:
    state = SignState.open(folder, chain, key)
    try:
        require_own_sign_state(state, blocklog, index)
    except BaseException:
        state.close()
        raise
    return state


def watch_of(data: Path, nodes: int, now_ms: TimeMs) -> Watch | None:
    """The watch this node has to keep, None when it may sign. `MarkUnreadable` for a lone one.

    One among others whose sign state is gone, or whose mark does not say since when, begins to watch now. A lone one without a sign
    state goes on: nobody else could ever tell it anything.
    """
    path = data / MARK
    if not path.exists():
        if nodes == 1 or (data / SIGN_FOLDER / SIGN_STATE).exists():
            return None
        begin_watch(data, now_ms)
    try:
        return Watch(int(json.loads(path.read_bytes())["restored_ms"]))
    except (ValueError, KeyError, TypeError) as error:
        if nodes == 1:
            raise MarkUnreadable(file=path.name) from error
        begin_watch(data, now_ms)
        return Watch(now_ms)


def has_begun(data: Path, nodes: int) -> bool:
    """Whether this node ran before, by whatever is left of it, also when its block log is gone.

    Its sign state is made with the network, so among others a node without one lost it. Its list of revocations tells nothing: it is what
    is opened first.
    """
    if nodes > 1 and not (data / SIGN_FOLDER / SIGN_STATE).exists():
        return True
    return data.exists() and any(path.name.split(ASIDE)[0] in LEFT_BY_A_LIFE for path in data.iterdir())


def give_up_watch(data: Path, genesis: Genesis, index: NodeIndex) -> Height:
    """The watch ends now, by somebody's word that no block above this node's last one is known; that one's height.

    The node must not run: `StoreBusy`. `NotWatching` when it has its sign state. `LogCorrupt`, `LogNotWhole`: it has to be started and
    to fetch what it lost; a damaged log that lies beside is moved away by whoever saw that it did.
    """
    if not (data / MARK).exists():
        raise NotWatching(node=index)
    kept = sorted(path.name for path in data.glob(LOG + ASIDE + "*"))
    if kept or not (data / LOG).exists():
        raise LogNotWhole(node=index, beside=kept)
    with open_records(data / LOG, alone=True) as records:
        height = BlockLog(records, genesis_block(genesis)).height
        executed = _executed(data / "ledger", genesis, index)
        if executed > height:
            raise LogNotWhole(node=index, height=height, executed=executed)
        end_watch(data, genesis.chain, genesis.node_list[index].consensus_key, height)
    return height


def _executed(folder: Path, genesis: Genesis, index: NodeIndex) -> Height:
    """Up to where the ledger in this folder knows blocks, 0 without one. `StoreCorrupt`: the node makes it anew when it starts."""
    if not folder.exists():
        return 0
    if damaged_stores([folder]):
        raise StoreCorrupt("start the node: it makes them anew", folder=folder.name)
    with KeyValueStore.open(folder, tables=Ledger.tables(), identity=ledger_identity(genesis, index)) as store:
        return Queries(store).final_height if Ledger.exists(store) else 0


def ledger_identity(genesis: Genesis, index: NodeIndex) -> bytes:
    """Whose ledger it is."""
    return b"ledger" + genesis.chain + bytes([index])


def end_watch(data: Path, chain: ChainId, key: PublicKey, height: Height) -> None:
    """From the next start on the node signs above `height`, which must be final here."""
    SignState.create_above(data / SIGN_FOLDER, chain, key, height)
    (data / MARK).unlink(missing_ok=True)
    sync_directory(data)
