"""What comes out: rows with our number, the floor's, their ratio and the aim."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from rich import box
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """One measured number. `floor` is what it is compared with; `aim` the most it should be, if there is an aim.

    `aim_ratio` is the most that the ratio should be. `more_is_better` turns the comparison round.
    """

    what: str
    unit: str
    ours: float
    floor: float | None = None
    aim: float | None = None
    aim_ratio: float | None = None
    more_is_better: bool = False

    @property
    def ratio(self) -> float | None:
        """How many times the floor ours is; above 1 is worse, whatever the unit."""
        if not self.floor or not self.ours:
            return None
        return self.floor / self.ours if self.more_is_better else self.ours / self.floor

    @property
    def reached(self) -> bool | None:
        """Whether the aim is met; None when there is none."""
        if self.aim is not None:
            return self.ours >= self.aim if self.more_is_better else self.ours <= self.aim
        if self.aim_ratio is not None and self.ratio is not None:
            return self.ratio <= self.aim_ratio
        return None


def percentile(values: Iterable[float], share: float) -> float:
    """The value below which `share` (0 to 1) of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def middle(values: Sequence[float]) -> float:
    """The median."""
    return median(values)


def show(title: str, rows: Sequence[Row], console: Console) -> None:
    """Print one group of measurements."""
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    table.add_column("measurement", no_wrap=True)
    for name in ("ours", "floor", "ratio"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    table.add_column("aim", no_wrap=True)
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}x"
        table.add_row(row.what, _number(row.ours), _number(row.floor), ratio, row.unit, _aim(row))
    console.print(table)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:,.2f}"


def _aim(row: Row) -> str:
    if row.reached is None:
        return ""
    relation = ">=" if row.more_is_better else "<="
    wanted = f"{relation} {_number(row.aim)}" if row.aim is not None else f"<= {row.aim_ratio:g}x"
    return f"{wanted}  {'yes' if row.reached else 'NO'}"
