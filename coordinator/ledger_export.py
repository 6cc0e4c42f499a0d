"""A ledger as one text file that anybody can check offline: the charter's papers, the rows, one signature over all.

    commonwatt ledger 1
    {head}                    whose, when, how many papers and rows follow
    {papers of a charter}     of the community first, then of communities the home was in before
    {row} ...                 all of the ledger, or of it what bears on one partner, slot or contract
    signature                 of every byte before it, with the home's key

Each line of JSON is what the model itself would write, so that every byte means something. What the rows say is judged
in ledger_reading.py.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from pydantic import Field, ValidationError

from coordinator.charter import Charter, Document
from coordinator.charter_file import check_founding
from coordinator.charter_history import History
from coordinator.errors import CommonwattError, ConfigError
from coordinator.identity import Identity, decode_base64, encode_base64, verify
from coordinator.ledger import Origin, Row, first_broken
from coordinator.messages import ContractId, HomeId, SlotKey, UnixMs

MAGIC = b"commonwatt ledger 1"

Model = TypeVar("Model", bound=Document)


class EvidenceError(CommonwattError):
    """A file is not what it claims to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What is in question. Without slot and contract everything between the two homes."""

    home: str
    partner: str
    slot: int | None = None
    contract: str | None = None


class ExportHead(Document):
    """`partner`, `slot` and `contract` say what the rows bear on; a whole ledger has none of them."""

    home: HomeId
    incarnation: int
    exported_ms: UnixMs
    partner: HomeId | None = None
    slot: SlotKey | None = None
    contract: ContractId | None = None
    papers: int = Field(ge=1, le=64)
    rows: int = Field(ge=0)


class ExportRow(Document):
    number: int = Field(ge=1)
    at_ms: int
    origin: Literal["own", "peer", "local"]
    wire: str
    hash: str = Field(pattern=r"^[0-9a-f]{32}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A file that was read: form, papers, chain and the signature over all are right."""

    head: ExportHead
    charter: Charter
    rows: tuple[Row, ...]

    @property
    def whole(self) -> bool:
        return self.about is None

    @property
    def about(self) -> About | None:
        """What the rows bear on, None if they are all there are."""
        head = self.head
        if head.partner is None:
            return None
        return About(home=head.home, partner=head.partner, slot=head.slot, contract=head.contract)


def export(
    *,
    identity: Identity,
    incarnation: int,
    exported_ms: int,
    papers: Sequence[History],
    rows: Iterable[Row],
    about: About | None = None,
) -> bytes:
    """Return the bytes of the file."""
    lines = [
        ExportRow(number=row.number, at_ms=row.at_ms, origin=row.origin.value, wire=row.wire.decode(), hash=row.hash)
        for row in rows
    ]
    head = ExportHead(
        home=identity.id,
        incarnation=incarnation,
        exported_ms=exported_ms,
        partner=None if about is None else about.partner,
        slot=None if about is None else about.slot,
        contract=None if about is None else about.contract,
        papers=len(papers),
        rows=len(lines),
    )
    body = b"".join([MAGIC + b"\n", *(_line(each) + b"\n" for each in (head, *papers, *lines))])
    return body + encode_base64(identity.sign(body)).encode() + b"\n"


def _line(document: Document) -> bytes:
    return document.model_dump_json(exclude_none=True).encode()


def read_export(raw: bytes) -> Export:
    """Read a file.

    Raises:
        EvidenceError: It names the first thing that is wrong.
    """
    begin = raw.rfind(b"\n", 0, len(raw) - 1) + 1
    body, last = raw[:begin], raw[begin:]
    lines = body.split(b"\n")
    if lines[0] != MAGIC or len(lines) < 4 or not last.endswith(b"\n"):
        raise EvidenceError("this is no export of a ledger, or its beginning or end is missing")
    head = _parse(lines[1], ExportHead, 2)
    if len(lines) != 3 + head.papers + head.rows:
        raise EvidenceError(f"{head.rows} rows and {head.papers} papers are announced, but there are others")
    papers = [_papers(line, number) for number, line in enumerate(lines[2 : 2 + head.papers], start=3)]
    left = tuple(charter for history in papers[1:] for charter in history.line())
    charter = papers[0].in_force(head.exported_ms, left)
    if head.home not in charter.ever:
        raise EvidenceError(f"home {head.home} is not in the charter of the file")
    _check_signature(decode_base64(charter.ever[head.home].public_key), last[:-1], body)
    first_row = 3 + head.papers
    rows = tuple(_row(line, number) for number, line in enumerate(lines[2 + head.papers : -1], start=first_row))
    if head.partner is None and (broken := first_broken(rows)) is not None:
        raise EvidenceError(f"row {broken} does not fit the hash chain: rows were changed, left out or put in")
    return Export(head=head, charter=charter, rows=rows)


def _check_signature(public_key: bytes, signature: bytes, body: bytes) -> None:
    try:
        fits = verify(public_key, decode_base64(signature), body)
    except ValueError:
        fits = False
    if not fits:
        raise EvidenceError("the signature over the file does not fit: something in it was changed")


def _parse(line: bytes, model: type[Model], number: int) -> Model:
    try:
        made = model.model_validate_json(line)
    except (ValidationError, RecursionError):
        raise EvidenceError(f"line {number} is not what stands in an export") from None
    if _line(made) != line:
        raise EvidenceError(f"line {number} is not written in the one right way")
    return made


def _papers(line: bytes, number: int) -> History:
    history = _parse(line, History, number)
    try:
        check_founding(history)
        history.check()
    except (ConfigError, ValueError) as error:
        raise EvidenceError(f"the charter in line {number}: {error}") from None
    return history


def _row(line: bytes, number: int) -> Row:
    row = _parse(line, ExportRow, number)
    return Row(number=row.number, at_ms=row.at_ms, origin=Origin(row.origin), wire=row.wire.encode(), hash=row.hash)
