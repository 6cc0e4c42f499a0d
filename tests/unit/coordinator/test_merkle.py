"""Positions: a partner can check its own leaf, and nobody can smuggle one in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.codec import digest
from coordinator.merkle import EMPTY_ROOT, leaf_hash, prove, root_and_proofs

LEAVES = st.lists(st.integers(0, 10**6), min_size=1, max_size=40, unique=True).map(
    lambda numbers: [digest(str(n).encode()) for n in numbers]
)


@given(LEAVES)
def test_every_leaf_is_proved_by_its_own_proof_and_by_no_other(leaves: list[str]) -> None:
    root, proofs = root_and_proofs(leaves)
    for i, leaf in enumerate(leaves):
        for j, proof in enumerate(proofs):
            assert prove(leaf, proof, root) is (i == j)


@given(LEAVES, st.text("0123456789abcdef", min_size=32, max_size=32))
def test_no_foreign_leaf_is_proved(leaves: list[str], foreign: str) -> None:
    root, proofs = root_and_proofs(leaves)
    assert foreign in leaves or not any(prove(foreign, proof, root) for proof in proofs)


@given(LEAVES, st.data())
def test_a_changed_proof_proves_nothing(leaves: list[str], data: st.DataObject) -> None:
    root, proofs = root_and_proofs(leaves)
    index = data.draw(st.integers(0, len(leaves) - 1))
    proof = list(proofs[index])
    for step in range(len(proof)):
        side = "r" if proof[step][0] == "l" else "l"
        assert not prove(leaves[index], [*proof[:step], side + proof[step][1:], *proof[step + 1 :]], root)
        assert not prove(leaves[index], proof[:step] + proof[step + 1 :], root)


def test_an_inner_node_is_no_leaf() -> None:
    leaves = [digest(str(n).encode()) for n in range(4)]
    root, proofs = root_and_proofs(leaves)
    node = proofs[0][1][1:]
    assert prove(leaf_hash("x", [node], ""), proofs[2][1:], root) is False
    assert prove(root, (), root) is True  # so what is proved must be a leaf's hash, which nobody can choose:
    assert leaf_hash("l", [leaves[0]], leaves[1]) not in {root, *leaves, node}


def test_a_home_without_partners_has_the_empty_root() -> None:
    assert root_and_proofs([]) == (EMPTY_ROOT, [])


def test_a_leaf_depends_on_partner_salt_and_ids_but_not_on_their_order() -> None:
    plain = leaf_hash("anna", ["1", "2"], "s")
    assert leaf_hash("anna", ["2", "1"], "s") == plain
    others = [
        leaf_hash("bert", ["1", "2"], "s"),
        leaf_hash("anna", ["1"], "s"),
        leaf_hash("anna", ["1", "2"], "t"),
        leaf_hash("anna", [], "s"),
    ]
    assert len({plain, *others}) == 5


@pytest.mark.parametrize("homes", [2, 3, 63, 64])
def test_proofs_of_the_largest_community_fit_into_a_message(homes: int) -> None:
    _, proofs = root_and_proofs([digest(bytes([n])) for n in range(homes)])
    assert max(len(proof) for proof in proofs) == (homes - 1).bit_length() <= 8
