"""Where homes stand in the neighbourhood picture and how lines run between them. Pure geometry, in viewBox units."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[float, float]

_WIDE_WIDTH = 1000.0
_NARROW_WIDTH = 360.0
_RING_LIMIT = 8
"""Up to so many homes stand on an ellipse with all their words; more stand smaller along the edge."""


_CALM = 12
"""Up to so many arrows may be thick without hiding each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One arrangement of all homes around the grid connection."""

    width: float
    height: float
    hub: Point
    homes: tuple[Point, ...]
    reach: Point
    """Half width and half height of the area around a home that lines keep out of."""
    compact: bool
    lane: bool = False
    """Lines run through a lane between two columns instead of across."""

    def percent(self, point: Point) -> tuple[str, str]:
        """Return left and top as CSS percentages of the stage."""
        return f"{point[0] / self.width * 100:.2f}%", f"{point[1] / self.height * 100:.2f}%"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrow:
    """A curved shaft and its head, as SVG path data."""

    shaft: str
    head: str
    width: float


def wide_layout(count: int) -> Layout:
    """Arrange homes around the grid for a screen wider than high."""
    if count > _RING_LIMIT:
        return _edge_layout(count)
    height = 600.0
    first = {2: 180.0, 4: 225.0, 6: 180.0, 8: 202.5}.get(count, -90.0)
    angles = [math.radians(first + i * 360 / max(1, count)) for i in range(count)]
    homes = tuple((500 + 382 * math.cos(a), height / 2 + 222 * math.sin(a)) for a in angles)
    return Layout(width=_WIDE_WIDTH, height=height, hub=(500, height / 2), homes=homes, reach=(124, 78), compact=False)


def _edge_layout(count: int) -> Layout:
    """Arrange many homes clockwise along the edge of the picture."""
    columns = min(6, math.ceil(count / 4) + 1)
    left_over = max(0, count - 2 * columns)
    right, left = math.ceil(left_over / 2), left_over // 2
    bottom = min(columns, count - columns)
    pitch = 112.0
    height = max(560.0, (right + 2) * pitch + 20)
    top_y, bottom_y = 62.0, height - 62.0

    def row(number: int, y: float) -> list[Point]:
        return [(_WIDE_WIDTH * (i + 0.5) / number, y) for i in range(number)]

    def side(number: int, x: float) -> list[Point]:
        step = (bottom_y - top_y) / (number + 1) if number else 0.0
        return [(x, top_y + step * (i + 1)) for i in range(number)]

    homes = row(columns, top_y) + side(right, _WIDE_WIDTH - 84)
    homes += row(bottom, bottom_y)[::-1] + side(left, 84.0)[::-1]
    return Layout(
        width=_WIDE_WIDTH, height=height, hub=(500, height / 2), homes=tuple(homes), reach=(86, 56), compact=True
    )


def narrow_layout(count: int) -> Layout:
    """Arrange homes in two columns below the grid, with a lane between for the arrows: a phone held upright."""
    compact = count > _RING_LIMIT
    pitch, top = (98.0, 84.0) if compact else (168.0, 84.0)
    rows = math.ceil(count / 2)
    homes = tuple((72.0 if i % 2 == 0 else _NARROW_WIDTH - 72.0, top + pitch * (i // 2 + 0.5)) for i in range(count))
    height = top + pitch * rows
    reach = (70.0, pitch / 2 - 10)
    return Layout(
        width=_NARROW_WIDTH, height=height, hub=(180, 36), homes=homes, reach=reach, compact=compact, lane=True
    )


def _edge(of: Point, towards: Point, reach: Point) -> Point:
    """Return where the line from `of` towards `towards` leaves the rectangle around `of`."""
    dx, dy = towards[0] - of[0], towards[1] - of[1]
    scale = max(abs(dx) / reach[0], abs(dy) / reach[1])
    return of if scale <= 1 else (of[0] + dx / scale, of[1] + dy / scale)


def _bend(layout: Layout, start: Point, end: Point) -> Point:
    """Return the point a line is drawn towards, so that it passes beside the grid in the middle."""
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    away = math.hypot(middle[0] - layout.hub[0], middle[1] - layout.hub[1])
    length = math.hypot(end[0] - start[0], end[1] - start[1]) or 1.0
    if away < 100:
        return middle[0] - (end[1] - start[1]) / length * 190, middle[1] + (end[0] - start[0]) / length * 190
    pull = 0.5 if layout.compact else 0.22
    return middle[0] + (layout.hub[0] - middle[0]) * pull, middle[1] + (layout.hub[1] - middle[1]) * pull


def _gate(layout: Layout, home: Point, shift: float) -> Point:
    """Return where lines enter a home of the two columns: at the side of the lane."""
    return home[0] + math.copysign(layout.reach[0], layout.hub[0] - home[0]), home[1] + shift


def arrow(layout: Layout, start: Point, end: Point, width: float) -> Arrow:
    """Return an arrow from one home to another."""
    size = 7 + width * 1.3
    if layout.lane:
        tail, tip = _gate(layout, start, -8), _gate(layout, end, -8)
        ux, uy = (-1.0 if end[0] < layout.hub[0] else 1.0), 0.0
        base = (tip[0] - ux * size, tip[1])
        course = f"C{_at((layout.hub[0], tail[1]))} {_at((layout.hub[0], base[1]))}"
    else:
        bend = _bend(layout, start, end)
        tail, tip = _edge(start, bend, layout.reach), _edge(end, bend, layout.reach)
        length = math.hypot(tip[0] - bend[0], tip[1] - bend[1]) or 1.0
        ux, uy = (tip[0] - bend[0]) / length, (tip[1] - bend[1]) / length
        base = (tip[0] - ux * size, tip[1] - uy * size)
        course = f"Q{_at(bend)}"
    half = size * 0.6
    left, right = (base[0] - uy * half, base[1] + ux * half), (base[0] + uy * half, base[1] - ux * half)
    return Arrow(
        shaft=f"M{_at(tail)} {course} {_at(base)}",
        head=f"M{_at(tip)} L{_at(left)} L{_at(right)} Z",
        width=width,
    )


def line(layout: Layout, home: Point) -> str:
    """Return the service line from a home to the grid: straight, or along the lane between two columns."""
    hub = layout.hub
    if not layout.lane:
        return f"M{_at(_edge(home, hub, layout.reach))} L{_at(_edge(hub, home, (62.0, 46.0)))}"
    gate = _gate(layout, home, 12)
    turn, corner = (hub[0] + (gate[0] - hub[0]) * 0.25, gate[1]), (hub[0], gate[1])
    return f"M{_at(gate)} L{_at(turn)} Q{_at(corner)} {_at((hub[0], gate[1] - 12))} V{hub[1] + 40:.1f}"


def _at(point: Point) -> str:
    return f"{point[0]:.1f} {point[1]:.1f}"


def widths(energies_wh: Sequence[int]) -> list[float]:
    """Return a line width per traded energy: proportional, from a hair on, and finer where many lines cross."""
    largest = max([*energies_wh, 100])
    hair, thickest = (2.0, 9.0) if len(energies_wh) <= _CALM else (1.2, 4.5)
    return [hair + (thickest - hair) * energy / largest for energy in energies_wh]
