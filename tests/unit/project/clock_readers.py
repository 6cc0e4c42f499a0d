"""Finds the places in Python source that read a clock by themselves."""

import ast

READERS = frozenset(
    {
        *(f"datetime.datetime.{name}" for name in ("now", "utcnow", "today")),
        "datetime.date.today",
        *(
            f"time.{name}{unit}"
            for name in ("time", "monotonic", "perf_counter", "clock_gettime")
            for unit in ("", "_ns")
        ),
        *(f"time.{name}" for name in ("localtime", "gmtime", "ctime", "asctime", "strftime")),
    }
)
LOOP_GETTERS = frozenset({"asyncio.get_running_loop", "asyncio.get_event_loop", "asyncio.new_event_loop"})


class _Finder(ast.NodeVisitor):
    def __init__(self) -> None:
        self.names: dict[str, str] = {}  # local name -> full name of the module or object behind it
        self.found: list[tuple[int, str]] = []

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            top = alias.name.split(".")[0]
            self.names[alias.asname or top] = alias.name if alias.asname else top

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            full = f"{node.module}.{alias.name}"
            self.names[alias.asname or alias.name] = full
            if full in READERS:
                self.found.append((node.lineno, full))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if (full := self.full_name(node)) in READERS:
            self.found.append((node.lineno, full))
        elif node.attr == "time" and self._is_event_loop(node.value):
            self.found.append((node.lineno, "event loop time()"))
        self.generic_visit(node)

    def full_name(self, node: ast.expr) -> str:
        if isinstance(node, ast.Attribute):
            return f"{self.full_name(node.value)}.{node.attr}"
        return self.names.get(node.id, "") if isinstance(node, ast.Name) else ""

    def _is_event_loop(self, node: ast.expr) -> bool:
        """Whether `node` is a call that returns a loop, or is called one (`loop`, `self._loop`)."""
        if isinstance(node, ast.Call):
            return self.full_name(node.func) in LOOP_GETTERS
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        return name.endswith("loop")


def clock_reads(source: str) -> list[tuple[int, str]]:
    """Return (line, what) of every reference to a clock in `source`, called or passed on."""
    finder = _Finder()
    finder.visit(ast.parse(source))
    return finder.found


def naive_reads(source: str) -> list[int]:
    """Return the lines that ask for the present as a datetime or date without a zone."""
    finder = _Finder()
    tree = ast.parse(source)
    finder.visit(tree)
    zoneless = {"datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today"}
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (
            (name := finder.full_name(node.func)) in zoneless
            or (name == "datetime.datetime.now" and not node.args and not node.keywords)
        )
    ]
