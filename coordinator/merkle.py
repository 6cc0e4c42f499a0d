"""A small Merkle tree (BLAKE2b-128, leaves and nodes told apart by a prefix) over the leaves of a position."""

from collections.abc import Sequence

from coordinator.codec import digest

EMPTY_ROOT = digest(b"empty position")


def leaf_hash(partner: str, contract_ids: Sequence[str], salt: str) -> str:
    """Return the hash of one partner's leaf; the salt keeps others from guessing what is in it."""
    return digest("\n".join(["leaf", partner, salt, *sorted(contract_ids)]).encode())


def _node(left: str, right: str) -> str:
    return digest(f"node\n{left}\n{right}".encode())


def root_and_proofs(leaves: Sequence[str]) -> tuple[str, list[tuple[str, ...]]]:
    """Return the root and, for each leaf, the proof: the sibling hashes from below, each marked l or r for its side."""
    if not leaves:
        return EMPTY_ROOT, []
    proofs: list[list[str]] = [[] for _ in leaves]
    level = [(leaf, [i]) for i, leaf in enumerate(leaves)]
    while len(level) > 1:
        above = []
        for i in range(0, len(level) - 1, 2):
            (left, below_left), (right, below_right) = level[i], level[i + 1]
            for index in below_left:
                proofs[index].append("r" + right)
            for index in below_right:
                proofs[index].append("l" + left)
            above.append((_node(left, right), below_left + below_right))
        if len(level) % 2:
            above.append(level[-1])
        level = above
    return level[0][0], [tuple(proof) for proof in proofs]


def prove(leaf: str, proof: Sequence[str], root: str) -> bool:
    """Return whether `leaf` is in the tree with this root."""
    for step in proof:
        leaf = _node(step[1:], leaf) if step[0] == "l" else _node(leaf, step[1:])
    return leaf == root
