"""The statement of a home on one page to print. No script, no picture, nothing from elsewhere."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape

from agent.ledger_report import Community, PartnerLine, Summary, netting_words, pays_words, printed

_CSS = """
:root { color-scheme: light; --ink: #1f2937; --faint: #6b7280; --line: #d1d5db; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: #fff; max-width: 48rem; margin: 2rem auto;
  padding: 0 1.25rem; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.1rem; margin: 1.8rem 0 .25rem; }
p { margin: .25rem 0 .75rem; } .faint { color: var(--faint); font-size: .85rem; }
.sum { border: 1px solid var(--line); border-radius: .6rem; padding: .8rem 1rem; margin: 1.2rem 0; font-size: 1.25rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: right; font-weight: 500; color: var(--faint); font-size: .85rem; vertical-align: bottom; }
td, th { padding: .3rem .5rem; border-bottom: 1px solid var(--line); } td { text-align: right; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
.words td { text-align: left; } .warn { border-left: 3px solid #b45309; padding-left: .75rem; }
@media (max-width: 34rem) { .wide { overflow-x: auto; } }
@media print { body { margin: 0; max-width: none; font-size: 11pt; } @page { size: A4; margin: 18mm; } }
"""


def statement_page(found: Summary, whole: Community, made_at: datetime) -> str:
    """Return the page.

    Args:
        whole: What is known of the community, by this ledger and those of others that were given.
        made_at: Local time.
    """
    period = found.month or "everything so far"
    parts = [
        f"<h1>{escape(found.name)}</h1>",
        f"<p>Trades with neighbours in {escape(found.community)}: {escape(period)}</p>",
        f'<p class="sum">{escape(_in_all(found))}</p>',
        _partners(found),
        _payments(found, whole),
        _remarks(found),
        f'<p class="faint">Home {found.home}, community {found.community_id}. Made {made_at:%d %B %Y, %H:%M} from the '
        "home's signed ledger. Amounts are exact inside and rounded to cents, half to even, only here. Whoever has the "
        "exported ledger checks all of this with <code>commonwatt ledger verify</code>, offline.</p>",
    ]
    title = escape(f"{found.name}, {period}")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n" + "\n".join(parts) + "\n</body>\n</html>\n"
    )


def _in_all(found: Summary) -> str:
    return f"In all: {pays_words(found.owed_nano, 'the neighbourhood', found.currency, you='you')}."


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    titles = "".join(f"<th>{escape(each)}</th>" for each in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{titles}</tr>{body}</table></div>'


def _partners(found: Summary) -> str:
    if not found.partners:
        return "<p>No contracts.</p>"
    rows = [
        (
            line.name,
            str(line.contracts),
            f"{line.bought_wh / 1000:.2f}",
            f"{line.sold_wh / 1000:.2f}",
            pays_words(line.owed_nano, line.name, found.currency),
        )
        for line in found.partners
    ]
    return "<h2>With each neighbour</h2>" + _table(
        ("Neighbour", "Contracts", "Bought, kWh", "Sold, kWh", "For this period"), rows
    )


def _payments(found: Summary, whole: Community) -> str:
    """Who owes whom, as far as is known here; netted where there are several ledgers."""
    if len(whole.known) < 2:
        return (
            '<p class="faint">Of what neighbours traded with each other this ledger says nothing: with their exports '
            "beside it, all payments can be netted to a few.</p>"
        )
    rows = [(t.payer, t.payee, printed(t.amount_nano, found.currency)) for t in whole.transfers]
    text = f"From the ledgers of {', '.join(whole.known)}. {netting_words(whole)}"
    if whole.missing:
        text += f" What {', '.join(whole.missing)} traded with each other is not in it."
    return f"<h2>Who pays whom</h2><p>{escape(text)}</p>" + _table(("Pays", "To", "Amount"), rows)


def _remarks(found: Summary) -> str:
    remarks = [*(c.text for c in found.concerns), *found.proofs, *found.problems]
    warned = "".join(f'<p class="warn">{escape(each)}</p>' for each in remarks)
    signed = "".join(f"<p>{escape(_statement_words(line, found.currency))}</p>" for line in found.partners)
    return (f"<h2>Signed by both, since the first contract</h2>{signed}" if signed else "") + (
        f"<h2>To look at</h2>{warned}" if warned else ""
    )


def _statement_words(line: PartnerLine, currency: str) -> str:
    if line.statement == 0:
        return f"{line.name}: no statement yet."
    later = f"; {line.unstated} newer contracts are not in it yet" if line.unstated else ""
    balance = pays_words(line.stated_nano, line.name, currency, you="you")
    return f"{line.name}: statement {line.statement}: {balance}{later}."
