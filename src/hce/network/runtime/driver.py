"""The driver: feeds the state machine and does what it asks for, in order, on one thread.

An input is stepped, then all its effects are done before the next input: sign state before signature, log before application,
application before listeners. Whatever an effect answers (a block made, a verdict, an own vote) is queued as a further input.
Nothing here waits: time comes as timer callbacks, messages as calls. Execution runs inline; to move it off this thread, answer
`MakeBlock` and `ValidateBlock` later: the machine already waits for the answers.

A crash at any point is safe. On start the last final block comes from the log, the application is replayed up to it, and the
state machine resumes from the sign state.

A log that lost blocks the application has executed (a disk's doing: the log is written first) gets them from peers like a node that was
away. The application compares each with what it knows of that height. Until they are here the node signs nothing.

The log is what commits were verified for, so an application that knows another block of a height, or does not come to a final block's
header, has damaged or foreign state of its own: `ExecutionDiffers`. The newest height both have is compared before anything else.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence

from hce.foundation.crypto.sign import SigningKey
from hce.foundation.types.blocks import Block, Commit, Node
from hce.foundation.types.clock import Clock
from hce.foundation.types.errors import Bug, Malformed, PeerFault, Refused, TooLarge
from hce.foundation.types.scalars import ChainId, Cid, Height, NodeIndex, Round, TimeMs
from hce.network.consensus.application import Application, BlockContext
from hce.network.consensus.blockrules import Tip, assemble, check_block, context_of, tip_of
from hce.network.consensus.commit import verify_commit
from hce.network.consensus.events import (
    NO_ROUND,
    BlockMade,
    BlockValidated,
    Decide,
    Effect,
    Evidence,
    Input,
    Lock,
    MakeBlock,
    ProposalArrived,
    Rebroadcast,
    ReportEvidence,
    ScheduleTimeout,
    SignAndBroadcastProposal,
    SignAndBroadcastVote,
    SignStep,
    StartHeight,
    TimeoutFired,
    TimeoutKind,
    ValidateBlock,
    VoteArrived,
)
from hce.network.consensus.machine import step
from hce.network.consensus.messages import (
    Fetch,
    FinalBlock,
    Head,
    Message,
    Proposal,
    Status,
    Votes,
    block_id_of,
    decode_message,
    encode_message,
)
from hce.network.consensus.state import State, Step, votes_to_share
from hce.network.consensus.turns import SLOTS_PER_TURN, position_of
from hce.network.runtime.alarms import Alarms
from hce.network.runtime.blocklog import BlockLog
from hce.network.runtime.catchup import CatchUp
from hce.network.runtime.early import EarlyMessages
from hce.network.runtime.errors import ExecutionDiffers, SignRefused
from hce.network.runtime.intake import accept_final_block, accept_proposal, accept_votes
from hce.network.runtime.pace import Pace
from hce.network.runtime.recovery import kept_blocks, load_tip, require_known, require_own_sign_state, require_source
from hce.network.runtime.sieve import Sieve
from hce.network.runtime.signer import Signer
from hce.network.runtime.signstate import SignState
from hce.network.runtime.world import Network, Timers

log = logging.getLogger(__name__)

MAX_EVIDENCE = 256
"""Double signs remembered for the operator; more say nothing new."""


class Driver:
    """One node's consensus. Call `start` once, then `on_message` for every message; `stop` makes it deaf."""

    def __init__(
        self,
        *,
        chain: ChainId,
        nodes: Sequence[Node],
        my_index: NodeIndex | None,
        key: SigningKey | None,
        app: Application,
        blocklog: BlockLog,
        signstate: SignState | None,
        clock: Clock,
        timers: Timers,
        network: Network,
        pace: Pace,
        on_final: Callable[[Block, Commit], None],
        slots_per_turn: int = SLOTS_PER_TURN,
    ) -> None:
        """`my_index`, `key` and `signstate` are None together, for a node that follows without voting."""
        self._chain = chain
        self._nodes = tuple(nodes)
        self._me = my_index
        self._app = app
        self._blocklog = blocklog
        self._signstate = signstate
        self._signer = None if my_index is None or key is None or signstate is None else Signer(chain, my_index, key, signstate)
        self._clock = clock
        self._network = network
        self._pace = pace
        self._on_final = on_final
        self._slots_per_turn = slots_per_turn
        self.state = State(n=len(self._nodes), me=my_index)
        self.evidence: dict[tuple[NodeIndex, Height, Round, int], Evidence] = {}
        """Double signs seen, one for each (node, height, round, type)."""
        self._blocks: dict[Cid, Block] = {}
        self._proposal: Proposal | None = None
        self._catch_up = CatchUp(blocklog, network, clock, pace.rebroadcast_ms)
        self._early = EarlyMessages()
        self._sieve = Sieve(self._early, self._catch_up, clock, pace.rebroadcast_ms)
        self._alarms = Alarms(timers, clock)
        self._inputs: deque[Input] = deque()
        self._stepping = False
        self._stopped = False
        self._due_ms: TimeMs = 0
        self._tip = load_tip(blocklog, chain, self._nodes, slots_per_turn)
        both = min(app.height, blocklog.height)
        if both > blocklog.base_height:
            self._finalize(blocklog.read(both).block)

    # Life

    @property
    def tip(self) -> Tip:
        """The last final block."""
        return self._tip

    @property
    def syncing(self) -> bool:
        """A peer proved a height final that this node does not have, or the application is not at the last final block's."""
        return self._catch_up.syncing or self._app.height != self._tip.header.height

    def replay_next(self) -> bool:
        """Executes the next block that is in the log and not in the application; False when there is none."""
        if self._app.height >= self._blocklog.height:
            return False
        self._execute(self._blocklog.read(self._app.height + 1).block)
        return True

    def start(self) -> None:
        """Replay what the application has not, then enter the next height where the sign state left it."""
        require_own_sign_state(self._signstate, self._blocklog, self._me)
        require_source(self._blocklog, self._app.height, len(self._nodes))
        while self.replay_next():
            pass
        self._due_ms = max(self._tip.header.time_ms + self._pace.block_interval_ms, self._clock.now_ms())
        self._enter_height()
        self._broadcast(Status(self._tip.next_height))

    def greet(self, peer: int) -> None:
        """A peer is connected: tell it where we are, so that it sends what we miss."""
        if not self._stopped:
            self._network.send(peer, encode_message(Status(self._tip.next_height)))

    def stop(self) -> None:
        """Nothing is signed, sent or executed after this. The sign state needs no goodbye."""
        self._stopped = True
        self._alarms.close()

    def on_message(self, peer: int, raw: bytes) -> None:
        """One message of a peer. A wrong one is the peer's fault and changes nothing."""
        if self._stopped:
            return
        try:
            if self._sieve.lets_through(peer, raw, self.state):
                self._on_decoded(peer, decode_message(raw))
        except (PeerFault, Malformed, TooLarge) as fault:
            self._network.blame(peer, fault)

    # Messages

    def _on_decoded(self, peer: int, message: Message) -> None:
        if isinstance(message, Status):
            self._catch_up.on_status(peer, message.height)
        elif isinstance(message, Fetch):
            self._catch_up.on_fetch(peer, message.height)
        elif isinstance(message, Head):
            self._on_head(peer, message)
        elif isinstance(message, FinalBlock):
            self._on_final_block(peer, message)
        elif isinstance(message, Proposal):
            self._on_proposal(peer, message)
        else:
            for arrived in accept_votes(self._chain, self._nodes, self.state, message):
                self._feed(arrived)

    def _deliver_early(self) -> None:
        for peer, raw in self._early.take():
            self.on_message(peer, raw)

    def _on_proposal(self, peer: int, proposal: Proposal) -> None:
        accept_proposal(self._chain, self._nodes, self.state, proposal, self._app.check_lists)
        timely = self._pace.is_timely(proposal.block.header.time_ms, self._clock.now_ms(), proposal.round)
        self._blocks[proposal.block_id] = proposal.block
        try:
            self._feed(ProposalArrived(proposal, timely))
        finally:
            self._forget_blocks()
        self._sieve.proposal_was_taken(peer, proposal, self.state)

    def _forget_blocks(self) -> None:
        """Holds the bytes of exactly those blocks that the state machine knows."""
        wanted = {*self.state.known, self.state.lock.valid_id}
        self._blocks = {block_id: block for block_id, block in self._blocks.items() if block_id in wanted}

    def _on_final_block(self, peer: int, message: FinalBlock) -> None:
        self._apply_final_block(peer, message)
        while (raw := self._catch_up.take(peer, self._tip.next_height)) is not None:
            following = decode_message(raw)
            assert isinstance(following, FinalBlock)
            self._apply_final_block(peer, following)

    def _apply_final_block(self, peer: int, message: FinalBlock) -> None:
        arrived = accept_final_block(self._chain, self._nodes, self._tip, message, self._app.check_lists)
        self._blocks[arrived.commit.block_id] = arrived.block
        self._feed(arrived)
        self._catch_up.on_final(peer)

    def _on_head(self, peer: int, message: Head) -> None:
        if self._catch_up.is_news(message):
            verify_commit(self._chain, self._nodes, message.header, message.commit)
            self._catch_up.on_head(peer, message)

    def _broadcast(self, message: Message) -> None:
        self._network.broadcast(encode_message(message))

    # Inputs and effects

    def _feed(self, event: Input) -> None:
        self._inputs.append(event)
        if self._stepping:
            return
        self._stepping = True
        try:
            while self._inputs and not self._stopped:
                self.state, effects = step(self.state, self._inputs.popleft())
                for effect in effects:
                    self._perform(effect)
        finally:
            self._stepping = False

    def _perform(self, effect: Effect) -> None:
        match effect:
            case SignAndBroadcastVote():
                self._vote(effect)
            case SignAndBroadcastProposal():
                self._propose(effect)
            case MakeBlock():
                due_ms = self._due_ms if effect.round == 0 else 0
                self._alarms.at(due_ms, lambda: self._make_block(effect))
            case ValidateBlock():
                self._feed(BlockValidated(effect.height, effect.block_id, self._is_valid(self._blocks[effect.block_id])))
            case ScheduleTimeout():
                self._arm(effect)
            case Rebroadcast():
                self._rebroadcast(effect)
            case ReportEvidence():
                self._remember(effect.evidence)
            case Decide():
                self._decide(effect)

    def _vote(self, effect: SignAndBroadcastVote) -> None:
        assert self._signer is not None
        if effect.step == SignStep.PRECOMMIT and effect.block_id is not None:
            self._app.before_precommit(effect.block_id, self._blocks[effect.block_id].ledger)
        self._keep_valid_block(effect.lock)
        try:
            vote = self._signer.vote(effect, votes_to_share(self.state))
        except SignRefused as refusal:
            log.warning("not voting: %s", refusal)
            return
        self._broadcast(Votes([vote]))
        self._feed(VoteArrived(vote))

    def _propose(self, effect: SignAndBroadcastProposal) -> None:
        assert self._signer is not None
        self._keep_valid_block(effect.lock)
        block = self._block_to_propose(effect)
        if block is None:
            log.warning("not proposing at height %d: the block was not kept", effect.height)
            return
        try:
            proposal = self._signer.proposal(effect, block, votes_to_share(self.state))
        except SignRefused as refusal:
            log.warning("not proposing: %s", refusal)
            return
        self._proposal = proposal
        self._blocks[effect.block_id] = block
        self._broadcast(proposal)
        if effect.valid_prevotes:
            self._broadcast(Votes(list(effect.valid_prevotes)))
        self._feed(ProposalArrived(proposal))

    def _block_to_propose(self, effect: SignAndBroadcastProposal) -> Block | None:
        """A fresh block is kept before it is signed; a re-proposal is read from the disk, never from memory."""
        assert self._signstate is not None
        fresh = self._blocks.get(effect.block_id) if effect.valid_round == NO_ROUND else None
        if fresh is not None:
            self._signstate.keep_block(effect.block_id, fresh)
        return self._signstate.kept_block(effect.block_id)

    def _keep_valid_block(self, lock: Lock) -> None:
        assert self._signstate is not None
        if lock.valid_id is not None and lock.valid_id in self._blocks:
            self._signstate.keep_block(lock.valid_id, self._blocks[lock.valid_id])

    def _make_block(self, effect: MakeBlock) -> None:
        s = self.state
        if (s.height, s.round, s.step) != (effect.height, effect.round, Step.PROPOSE):
            return
        time_ms = max(self._clock.now_ms(), self._tip.header.time_ms + 1)
        context = context_of(self._nodes, effect.height, effect.position, time_ms, self._tip.block_id)
        block = assemble(self._chain, self._tip, effect.position, time_ms, self._app.prepare_proposal(context))
        block_id = block_id_of(block.header)
        self._blocks[block_id] = block
        self._feed(BlockMade(effect.height, effect.round, block_id))

    def _is_valid(self, block: Block) -> bool:
        if block.header.height <= self._app.height:
            return False  # executed already and missing in the log: it is taken as a final block, with its commit
        try:
            check_block(self._chain, self._nodes, self._tip, block)
            self._app.process_proposal(self._context_of(block), block.ledger)
        except (Refused, PeerFault) as reason:
            log.warning("block refused at height %d: %s", block.header.height, reason)
            return False
        return True

    def _context_of(self, block: Block) -> BlockContext:
        header = block.header
        if header.parent is None:
            raise Bug("genesis is not executed")
        return context_of(self._nodes, header.height, position_of(header), header.time_ms, header.parent)

    def _rebroadcast(self, effect: Rebroadcast) -> None:
        self._broadcast(Status(effect.height))
        if self._proposal is not None and self._proposal.round == effect.round:
            self._broadcast(self._proposal)
        if effect.votes:
            self._broadcast(Votes(list(effect.votes)))

    def _remember(self, evidence: Evidence) -> None:
        vote = evidence.first
        log.warning("node %d signed twice at height %d round %d", vote.index, vote.height, vote.round)
        if len(self.evidence) < MAX_EVIDENCE:
            self.evidence.setdefault((vote.index, vote.height, vote.round, vote.type), evidence)

    def _decide(self, effect: Decide) -> None:
        """The log first: what is there is final, whatever happens next."""
        block = self._blocks[effect.block_id]
        self._blocklog.append(block, effect.commit)
        require_known(self._signstate, block.header.height, effect.commit, self._me)
        self._execute(block)
        self._tip = tip_of(block, effect.commit, self._slots_per_turn, self._tip.base)
        self._enter_next_height()
        self._on_final(block, effect.commit)

    def _execute(self, block: Block) -> None:
        self._finalize(block)
        self._app.commit(block.header.height)

    def _finalize(self, block: Block) -> None:
        """The application comes to this block's header, or knows it already. `ExecutionDiffers`."""
        try:
            header = self._app.finalize(self._context_of(block), block.ledger)
        except Refused as refusal:
            raise ExecutionDiffers(height=block.header.height, refused=refusal.code) from refusal
        if header != block.ledger.header:
            raise ExecutionDiffers(height=block.header.height)

    def _enter_next_height(self) -> None:
        self._alarms.cancel_all()
        self._blocks, self._proposal = {}, None
        self._due_ms = self._pace.next_due_ms(self._due_ms, self._clock.now_ms())
        self._enter_height()
        self._alarms.at(0, self._deliver_early)

    def _enter_height(self) -> None:
        """Where the sign state left this height, if it was here before; as one that only follows while the log lacks blocks."""
        me = None if self._app.height > self._blocklog.height else self._me
        recovered = None if me is None or self._signstate is None else self._signstate.recovered(self._tip.next_height)
        self._blocks |= kept_blocks(self._signstate, recovered)
        self._feed(StartHeight(self._tip.next_height, self._tip.base, len(self._nodes), me, recovered))

    # Time

    def _arm(self, effect: ScheduleTimeout) -> None:
        """The wait for a block that is not due yet is no part of a timeout."""
        starts_ms = self._clock.now_ms()
        if effect.round == 0 and effect.kind in (TimeoutKind.PROPOSE, TimeoutKind.REBROADCAST):
            starts_ms = max(starts_ms, self._due_ms)
        fired = TimeoutFired(effect.kind, effect.height, effect.round)
        self._alarms.at(starts_ms + self._pace.timeout_ms(effect.kind, effect.round), lambda: self._feed(fired))
