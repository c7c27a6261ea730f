"""The routes of a node. `ROUTES` is the whole surface; `docs/api.md` lists it and a test compares the two."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.middleware import Middleware

from hce.service.api.chain import ChainFace
from hce.service.api.metrics import MetricsFace
from hce.service.api.origins import ANY_ORIGIN, PUBLIC_PREFIX, AnyOrigin
from hce.service.api.records import RecordsFace
from hce.service.api.services import NodeServices
from hce.service.http import EXCEPTION_HANDLERS, Handler, surprise_read_by
from hce.service.metering import CountRequests, counted_route


def routes(node: NodeServices) -> list[tuple[str, str, Handler]]:
    """(method, path, handler) of everything a node serves."""
    chain, records = ChainFace(node), RecordsFace(node)
    return [
        ("GET", "/v1/status", chain.status),
        ("GET", "/v1/identity", chain.identity),
        ("GET", "/v1/genesis", chain.genesis),
        ("GET", "/v1/final", chain.final),
        ("GET", "/v1/final/{height}", chain.final),
        ("GET", "/v1/blocks/{height}", chain.block),
        ("POST", "/v1/health-tx", chain.submit_health),
        ("POST", "/v1/health-txs", chain.submit_list),
        ("GET", "/v1/health-tx/{tx_id}", chain.health_tx),
        ("POST", "/v1/value-tx", chain.submit_value),
        ("GET", "/v1/value-tx/{tx_hash}", chain.value_tx),
        ("GET", "/v1/accounts/{address}", chain.account),
        ("POST", "/v1/health-state", chain.health_state),
        ("GET", "/v1/grants/{grant_id}/entries", chain.entries),
        ("POST", "/v1/intake", records.intake),
        ("GET", "/v1/blobs/{cid}", records.blob),
        ("GET", "/v1/shards/{cid}", records.shard),
        ("POST", "/v1/shards", records.shards),
        ("POST", "/v1/mailbox/{operation}", records.mailbox),
        ("GET", "/v1/cards/{address}", records.card),
        ("GET", "/v1/handovers/{address}", records.handover),
        ("POST", "/v1/release", records.release),
        ("POST", "/v1/anchors", records.anchors),
        ("GET", "/metrics", MetricsFace(node).metrics),
    ]


def make_api(node: NodeServices) -> Starlette:
    """The ASGI app of one node."""
    return Starlette(
        routes=[counted_route(*route) for route in routes(node)],
        middleware=[Middleware(AnyOrigin), Middleware(CountRequests, requests=node.meters.requests)],
        exception_handlers=EXCEPTION_HANDLERS | {Exception: surprise_read_by(ANY_ORIGIN, PUBLIC_PREFIX)},
    )
