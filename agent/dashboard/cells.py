"""Elements that change only when their content does. The one place that touches nicegui's element tree.

Everything a home or a neighbour says ends up in a text node or an attribute value, never in HTML, never in the name
of an attribute or of a chart option (nicegui evaluates names that begin with a colon).
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

Value = str | int | float | Decimal | None


def box(classes: str, tag: str = "div", **attributes: str) -> ui.element:
    """Return a container."""
    element = ui.element(tag).classes(classes)
    element.props.update({name.replace("_", "-"): value for name, value in attributes.items()})
    return element


def svg(tag: str, classes: str = "", **attributes: str | float) -> ui.element:
    """Return an SVG element; underscores in attribute names become hyphens, `view_box` becomes viewBox."""
    element = ui.element(tag).classes(classes)
    names = {"view_box": "viewBox", "preserve_aspect_ratio": "preserveAspectRatio"}
    element.props.update({names.get(k, k.replace("_", "-")): str(v) for k, v in attributes.items()})
    return element


def text(content: str = "", classes: str = "", tag: str = "span", testid: str | None = None) -> TextElement:
    """Return a text; with `testid` it carries its machine-readable value in `data-value`."""
    element = TextElement(tag=tag, text=content)
    element.classes(classes)
    if testid is not None:
        element.props["data-testid"] = testid
    return element


def icon(drawing: str, classes: str = "icon") -> None:
    """Put one of our own drawings; never anything received."""
    ui.html(drawing, sanitize=False, tag="span").classes(classes)


def show(element: TextElement, content: str, value: Value = None) -> None:
    """Show `content`, and `value` to machines (plain digits; absent when unknown)."""
    if element.text != content:
        element.text = content
    attributes(element, {"data-value": None if value is None else str(value)})


def attributes(element: ui.element, wanted: Mapping[str, str | None]) -> None:
    """Set attributes; None removes one."""
    changed = {name: value for name, value in wanted.items() if element.props.get(name) != value}
    if changed:
        element.props.update(changed)


def mark(element: ui.element, name: str, on: bool) -> None:
    """Set or clear a class."""
    if (name in element.classes) != on:
        element.classes(add=name) if on else element.classes(remove=name)


def variable(element: ui.element, name: str, value: str) -> None:
    """Set a CSS variable of the element."""
    if element.style.get(name) != value:
        element.style[name] = value


class Rows:
    """A list whose rows are reused: a new text changes a text node, only a longer list adds elements."""

    def __init__(self, classes: str, columns: Sequence[str], empty: str) -> None:
        self._columns = columns
        self._rows: list[tuple[ui.element, list[TextElement]]] = []
        self._body = box(f"rows {classes}")
        self._empty = text(empty, "fine", "div")

    def show(self, contents: Sequence[Sequence[str]], tones: Sequence[str] = ()) -> None:
        """Show one row per entry; `tones` name a class per row."""
        mark(self._empty, "gone", bool(contents))
        mark(self._body, "gone", not contents)
        with self._body:
            while len(self._rows) < len(contents):
                with box("row-line") as row:
                    self._rows.append((row, [text("", name) for name in self._columns]))
        for index, (row, cells) in enumerate(self._rows):
            mark(row, "gone", index >= len(contents))
            if index < len(contents):
                attributes(row, {"data-tone": tones[index] if index < len(tones) else None})
                for cell, content in zip(cells, contents[index], strict=True):
                    show(cell, content)
