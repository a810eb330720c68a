"""Figures as they come, and the tables at the end."""
import json
import math


class Section:
    """A table: a figure a line, of Petrel and of the peers it is measured beside."""

    def __init__(self, title, peers):
        self.title, self.peers, self.rows = title, tuple(peers), []

    def row(self, figure, petrel, peers=None, unit="", digits=2):
        """`petrel` and the values of `peers`, by name: a number, a text that says why there is none, or None."""
        unknown = set(peers or ()) - set(self.peers)
        assert not unknown, f"{self.title} has no column for {unknown}"
        self.rows.append({"figure": figure, "unit": unit, "digits": digits, "petrel": self._told(petrel),
                          "peers": {name: self._told(value) for name, value in (peers or {}).items()}})

    @staticmethod
    def _told(value):
        """What never came is infinite; JSON has no number for it."""
        return "never" if isinstance(value, float) and not math.isfinite(value) else value

    def lines(self):
        """The rows as texts, the head first; a ratio is Petrel's figure over the peer's."""
        columns = [[self.title] + [row["figure"] for row in self.rows],
                   ["petrel"] + [self._text(row["petrel"], row) for row in self.rows]]
        for peer in self.peers:
            values = [row["peers"].get(peer) for row in self.rows]
            columns.append([peer] + [self._text(value, row) for value, row in zip(values, self.rows)])
            ratios = [self._ratio(row["petrel"], value) for value, row in zip(values, self.rows)]
            if any(ratio != "-" for ratio in ratios):
                columns.append(["ratio"] + ratios)
        return list(zip(*columns))

    @staticmethod
    def _text(value, row):
        if value is None:
            return "-"
        if isinstance(value, str):
            return value
        return f"{value:,.{row['digits']}f} {row['unit']}".rstrip()

    @staticmethod
    def _ratio(petrel, peer):
        if isinstance(petrel, (int, float)) and isinstance(peer, (int, float)) and peer:
            return f"{petrel / peer:.2f}"
        return "-"


class Figures:
    """All tables of a run."""

    def __init__(self):
        self.sections = []

    def section(self, title, peers=()):
        self.sections.append(Section(title, peers))
        return self.sections[-1]

    def print(self):
        for section in self.sections:
            if not section.rows:
                continue
            lines = section.lines()
            widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
            lines.insert(1, tuple("-" * width for width in widths))
            print()
            for line in lines:
                print(" | ".join(
                    cell.ljust(width) if i == 0 else cell.rjust(width)
                    for i, (cell, width) in enumerate(zip(line, widths))).rstrip())

    def write(self, path, facts):
        """The same as one JSON document; `facts` tell what was measured where."""
        sections = [{"title": s.title, "rows": [
            {k: v for k, v in row.items() if k != "digits"} for row in s.rows]} for s in self.sections]
        with open(path, "w") as f:
            json.dump({**facts, "sections": sections}, f, indent=1)
            f.write("\n")
