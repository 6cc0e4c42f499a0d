"""What commands that write a report share."""

from coordinator.errors import ConfigError

PAGE = "report.html"


def check_pictures() -> None:
    """Say before the work, not after it, that a report cannot be drawn.

    Raises:
        ConfigError: If the library that draws is not installed.
    """
    try:
        import agent.study.pictures  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"--report needs {error.name}: pip install 'commonwatt[study]'") from None
