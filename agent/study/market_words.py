"""What a negotiated horizon is said to be, alike in the terminal and on the page."""

from agent.dashboard import words
from agent.study.market import Market


def begin_words(market: Market) -> str:
    """Say how many homes and slots, and when it begins in local time."""
    start = market.first.start_at.astimezone(market.community.timezone)
    slots = f"{market.rules.horizon_slots} slots of {market.first.length_s // 60} min"
    return f"{len(market.homes)} homes, {slots} from {start:%a} {start.day} {start:%b %Y %H:%M}"


def forecast_words(market: Market) -> str:
    """Say what the homes took to be true."""
    island = "The grid is lost. " if market.question.island else ""
    if market.known:
        return f"{island}The record is a single day, so it is its own forecast."
    return f"{island}Forecast, taken as true: the mean of the seven days before."


def effort_words(market: Market) -> str:
    """Say what the negotiation took."""
    outcome = market.outcome
    kilobytes = outcome.bytes_per_home_per_round / 1000
    ended = "Settled" if outcome.converged else "Stopped"
    return (
        f"{ended} after {outcome.rounds} rounds; {len(market.trades)} contracts, "
        f"{words.energy(outcome.agreed.unmatched_wh)} of the first slot left over. "
        f"{outcome.ms_per_answer:.1f} ms of CPU per answer, {kilobytes:.1f} kB per home and round."
    )


def limit_words(market: Market) -> list[str]:
    """Say what only an island or a feeder limit raises."""
    said = []
    if market.question.island:
        alone, traded = (
            f"{words.energy(all_wh)}, {words.energy(critical_wh)} of it critical"
            for all_wh, critical_wh in (market.unserved_wh(trading=trading) for trading in (False, True))
        )
        said.append(f"Load left unserved: {traded}; every home alone: {alone}. Costs are what that counts as.")
    if limit_w := market.question.feeder_limit_w:
        peak, limit = words.power(market.grid_peak_w), words.power(limit_w)
        said.append(f"All homes together exchange at most {peak} with the grid; the limit is {limit}.")
    return said
