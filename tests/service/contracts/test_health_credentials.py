"""Who may act, and how power ends: votes, certificates, credentials."""

from __future__ import annotations

import pytest
from tests.service.contracts.world import ALL_POWERS, DAY_MS, START_MS, World, key, node

from hce.foundation.types.quorum import two_thirds
from hce.service.contracts.health.credentials import VOTE_BLOCKS
from hce.service.terms.certification import CredentialNotCertified, OrganisationNotCertified, require_credential
from hce.service.terms.payloads import CredentialBody, CredentialRevoke, OrganisationVote, credential_id, organisation_subject
from hce.service.terms.states import MAX_OPEN_VOTES


@pytest.mark.parametrize("n", [1, 2, 4, 9])
def test_two_thirds_of_the_nodes_certify_and_one_less_does_not(n: int) -> None:
    world = World(n)
    certificate = world.certificate("clinic")
    for voter in range(two_thirds(n) - 1):
        assert world.run(world.vote(certificate, voter)) == []
        assert world.state.organisation(world.org("clinic")) is None
    assert world.run(world.vote(certificate, two_thirds(n) - 1)) == [world.org("clinic")]
    found = world.state.organisation(world.org("clinic"))
    assert found is not None
    assert (found.certificate, found.certified_height, found.revoked_height) == (certificate, world.height, None)


def test_a_vote_is_counted_once_even_when_signed_anew() -> None:
    world = World(4)
    certificate = world.certificate("clinic")
    world.run(world.vote(certificate, 0))
    world.next_block()
    assert world.refused(world.vote(certificate, 0)) == "vote.repeated"
    assert world.refused(world.vote(certificate, 0, approve=False)) == "vote.repeated"
    world.run(world.vote(certificate, 1))
    assert world.state.organisation(world.org("clinic")) is None


def test_a_vote_against_is_recorded_and_does_not_certify() -> None:
    world = World(4)
    certificate = world.certificate("clinic")
    for voter in range(2):
        world.run(world.vote(certificate, voter))
    assert world.run(world.vote(certificate, 2, approve=False)) == []
    assert world.state.organisation(world.org("clinic")) is None
    assert world.run(world.vote(certificate, 3)) == [world.org("clinic")]


def test_votes_for_two_certificates_that_differ_in_a_power_do_not_add_up() -> None:
    world = World(4)
    for voter, powers in enumerate([["read"], ["read"], ["read", "write"]]):
        assert world.run(world.vote(world.certificate("clinic", powers), voter)) == []


def test_only_the_service_key_of_a_node_in_force_votes() -> None:
    world = World(4)
    certificate = world.certificate("clinic")
    assert world.refused(world.vote(certificate, 7)) == "vote.not_a_node"
    for use in ("link", "consensus"):
        signer = f"node 0 {use}"
        signed = world.tx("organisation.vote", OrganisationVote(certificate, True, key(signer).public), [("node", signer)])
        assert world.refused(signed) == "vote.not_a_node"


def test_equal_votes_of_two_nodes_are_two_transactions() -> None:
    world = World(4)
    certificate = world.certificate("clinic")
    assert world.vote(certificate, 0).id != world.vote(certificate, 1).id


def test_nobody_votes_in_anothers_name() -> None:
    world = World(4)
    vote = OrganisationVote(world.certificate("clinic"), True, key("node 1 service").public)
    assert world.refused(world.tx("organisation.vote", vote, [("node", "node 0 service")])) == "vote.not_own"


def test_a_node_that_left_the_set_votes_no_more() -> None:
    world = World(4)
    certificate = world.certificate("clinic")
    world.nodes = world.nodes[:3]
    assert world.refused(world.vote(certificate, 3)) == "vote.not_a_node"


def test_a_vote_does_not_count_for_the_next_holder_of_the_index() -> None:
    world = World(4)
    certificate = world.certificate("clinic")
    for voter in (2, 3):
        world.run(world.vote(certificate, voter))
    world.nodes = [*world.nodes[:2], node(5), node(6)]
    assert world.run(world.vote(certificate, 0)) == []
    assert world.run(world.vote(certificate, 5)) == []
    assert world.run(world.vote(certificate, 6)) == [world.org("clinic")]


def test_a_node_that_invents_certificates_is_stopped() -> None:
    world = World(4)
    for number in range(MAX_OPEN_VOTES):
        world.run(world.vote(world.certificate(f"invented {number}"), 0))
    one_more = world.certificate("one more")
    assert world.refused(world.vote(one_more, 0)) == "vote.too_many_open"
    world.run(world.vote(one_more, 1))
    world.next_block(blocks=VOTE_BLOCKS - 1)
    assert world.refused(world.vote(one_more, 0)) == "vote.too_many_open"
    world.next_block()
    world.run(world.vote(one_more, 0))
    key_0 = world.nodes[0].service_key
    assert len(world.state.open_votes(key_0)) == MAX_OPEN_VOTES
    assert world.state.organisation_vote(organisation_subject(world.certificate("invented 0")), key_0) is None
    assert world.state.organisation_vote(organisation_subject(world.certificate("invented 1")), key_0) is not None


def test_votes_that_took_effect_are_open_no_more() -> None:
    world = World(4)
    for number in range(MAX_OPEN_VOTES + 1):
        for voter in range(3):
            world.run(world.vote(world.certificate(f"clinic {number}"), voter))
    for voter in range(3):
        world.run(world.vote_revoke("clinic 0", voter))
    assert not any(world.state.open_votes(voter.service_key) for voter in world.nodes)
    world.run(world.vote_revoke("clinic 0", 3))
    world.run(world.vote(world.certificate("clinic 1"), 3))
    assert world.state.open_votes(world.nodes[3].service_key) == [], "what is settled is not open for who comes late"


def test_votes_to_revoke_are_bounded_with_the_others() -> None:
    world = World(4)
    world.certify("clinic")
    for number in range(MAX_OPEN_VOTES - 1):
        world.run(world.vote(world.certificate(f"invented {number}"), 0))
    world.run(world.vote_revoke("clinic", 0))
    assert world.refused(world.vote(world.certificate("one more"), 0)) == "vote.too_many_open"


def test_a_renewal_replaces_the_certificate_and_leaves_no_gap_before_it() -> None:
    world = World(4)
    world.certify("clinic", ["read", "write"], days=100)
    world.next_block(ms=90 * DAY_MS)
    later = world.certificate("clinic", ["read"], days=300)
    for voter in range(3):
        world.run(world.vote(later, voter))
    found = world.state.organisation(world.org("clinic"))
    assert found is not None
    assert (found.certificate, found.certified_height) == (later, world.height)
    gap = world.certificate("clinic", ["read"], since_ms=START_MS + DAY_MS)
    assert world.refused(world.vote(gap, 0)) == "dates.refused"


def test_a_late_vote_does_not_bring_back_a_revoked_or_replaced_certificate() -> None:
    world = World(9)
    first, second = world.certificate("clinic", ["read", "write"]), world.certificate("clinic", ["read"])
    for certificate in (first, second):
        for voter in range(6):
            world.run(world.vote(certificate, voter))
    assert world.run(world.vote(first, 6)) == []
    found = world.state.organisation(world.org("clinic"))
    assert found is not None
    assert found.certificate == second
    world.revoke("clinic")
    world.nodes = world.nodes[:8]  # fewer nodes need fewer votes: still nothing comes back
    for certificate in (first, second):
        assert world.run(world.vote(certificate, 7)) == []
    assert world.refused(world.credential("clinic", "nurse")) == "organisation.not_certified"


def test_a_revoked_organisation_does_nothing_from_that_block_on() -> None:
    world = World(4)
    world.certify("clinic")
    grant = world.grant("g")
    for voter in range(3):
        world.run(world.vote_revoke("clinic", voter))
    for tx in (
        world.credential("clinic", "nurse"),
        world.compartment("owner", "recovery", "clinic"),
        world.commit("clinic", world.batch("clinic", [world.entry("r")])),
        world.open_grant("g", grant, "clinic"),
        world.access("g", bytes(32), bytes(32), "clinic"),
    ):
        assert world.refused(tx) == "organisation.not_certified"


def test_fewer_than_two_thirds_do_not_revoke() -> None:
    world = World(4)
    world.certify("clinic")
    world.run(world.vote_revoke("clinic", 0))
    world.run(world.vote_revoke("clinic", 1))
    assert world.refused(world.vote_revoke("clinic", 1, reason="another reason")) == "vote.repeated"
    found = world.state.organisation(world.org("clinic"))
    assert found is not None
    assert found.revoked_height is None


def test_an_organisation_certified_again_can_be_revoked_again() -> None:
    world = World(1)
    world.certify("clinic")
    for days in (200, 300):
        world.next_block()
        world.revoke("clinic")
        assert world.refused(world.credential("clinic", "nurse")) == "organisation.not_certified"
        world.next_block()
        world.certify("clinic", days=days)
        found = world.state.organisation(world.org("clinic"))
        assert found is not None
        assert found.revoked_height is None


def test_nobody_revokes_an_organisation_that_was_never_certified() -> None:
    assert World(1).refused(World(1).vote_revoke("clinic", 0)) == "organisation.unknown"


def test_an_expired_organisation_does_nothing() -> None:
    world = World(1)
    world.certify("clinic", days=10)
    world.next_block(ms=10 * DAY_MS)
    assert world.refused(world.compartment("owner", "recovery", "clinic")) == "organisation.not_certified"
    assert world.refused(world.vote(world.certificate("clinic", ["read"], days=10), 0)) == "dates.refused"


@pytest.mark.parametrize("powers", [["write", "read"], ["read", "read"]])
def test_one_set_of_powers_has_one_spelling(powers: list[str]) -> None:
    world = World(1)
    assert world.refused(world.vote(world.certificate("clinic", powers), 0)) == "powers.not_sorted"
    world.certify("clinic")
    assert world.refused(world.credential("clinic", "nurse", powers)) == "powers.not_sorted"


def test_an_organisation_certifies_its_people_and_no_others() -> None:
    world = World(1)
    world.certify("clinic")
    world.certify("rival")
    tx = world.credential("clinic", "nurse")
    assert world.run(tx) == [credential_id(world.env.chain, _body(world))]
    assert world.refused(tx) == "credential.exists"
    body = _body(world, person="thief")
    forged = world.tx("credential.issue", body, [("organisation", "rival"), ("payer", "clinic")], "clinic")
    assert world.refused(forged) == "organisation.wrong_key"
    forged = world.tx("credential.issue", body, [("organisation", "clinic"), ("payer", "rival")], "rival")
    assert world.refused(forged) == "payer.wrong_key"


def test_powers_do_not_widen_down_the_chain() -> None:
    world = World(1)
    world.certify("clinic", ["read"])
    assert world.refused(world.credential("clinic", "nurse", ["read", "write"])) == "powers.widened"
    assert world.refused(world.credential("clinic", "nurse", ["emergency"])) == "powers.widened"
    world.certify("ward", ALL_POWERS)
    assert len(world.run(world.credential("ward", "doctor", ["emergency"]))) == 1


def test_a_credential_keeps_no_power_its_organisation_lost() -> None:
    world = World(1)
    world.certify("clinic", ["read", "write"])
    [made] = world.run(world.credential("clinic", "nurse", ["read", "write"]))
    world.next_block()
    world.certify("clinic", ["read"])
    require_credential(world.state, made, "read", world.height, world.time_ms)
    with pytest.raises(OrganisationNotCertified):
        require_credential(world.state, made, "write", world.height, world.time_ms)


def test_a_credential_lives_inside_its_organisations_dates() -> None:
    world = World(1)
    world.certify("clinic", days=50)
    assert world.refused(world.credential("clinic", "nurse", days=51)) == "dates.refused"
    assert world.refused(world.credential("clinic", "nurse", days=0)) == "dates.refused"
    world.next_block(ms=20 * DAY_MS)
    assert world.refused(world.credential("clinic", "nurse", days=20)) == "dates.refused"
    world.run(world.credential("clinic", "nurse", days=50))


def test_a_revoked_credential_is_dead_at_once_and_for_ever() -> None:
    world = World(1)
    world.certify("clinic")
    world.certify("rival")
    [made] = world.run(world.credential("clinic", "nurse"))
    issued = world.height
    world.next_block()
    revoke = CredentialRevoke(made, "left")
    assert world.refused(world.tx("credential.revoke", revoke, [("organisation", "rival")])) == "organisation.wrong_key"
    assert world.run(world.tx("credential.revoke", revoke, [("organisation", "clinic")])) == []
    with pytest.raises(CredentialNotCertified):
        require_credential(world.state, made, "read", world.height, world.time_ms)
    require_credential(world.state, made, "read", issued, START_MS)  # what was written before stays written by a certified person
    found = world.state.credential(made)
    assert found is not None
    assert (found.revoked_height, found.revoked_ms) == (world.height, world.time_ms)
    assert world.refused(world.tx("credential.revoke", revoke, [("organisation", "clinic")])) == "credential.revoked"
    assert world.refused(world.credential("clinic", "nurse")) == "credential.exists"


def test_a_revoked_organisation_can_still_take_power_away() -> None:
    world = World(1)
    world.certify("clinic")
    [made] = world.run(world.credential("clinic", "nurse"))
    world.revoke("clinic")
    world.run(world.tx("credential.revoke", CredentialRevoke(made, "closed"), [("organisation", "clinic")]))


def test_a_credential_that_was_never_issued_cannot_be_revoked() -> None:
    world = World(1)
    revoke = CredentialRevoke(bytes(32), "left")
    assert world.refused(world.tx("credential.revoke", revoke, [("organisation", "clinic")])) == "credential.unknown"


def _body(world: World, person: str = "nurse") -> CredentialBody:
    end = START_MS + 100 * DAY_MS
    return CredentialBody(world.org("clinic"), key(person).public, "clinician", person, ["read", "write"], START_MS, end)
