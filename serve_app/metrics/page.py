"""How do the metrics of many sources become one page?"""

from collections.abc import Iterable

from prometheus_client.core import Metric


class Merged:
    """Families of many sources as one collector: a family must stand in one piece."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families: dict[str, Metric] = {}
        for family in families:
            if known := self._families.get(family.name):
                known.samples.extend(family.samples)
            else:
                self._families[family.name] = family

    def collect(self) -> Iterable[Metric]:
        """Return the families."""
        return self._families.values()


def labelled(family: Metric, labels: dict[str, str]) -> Metric:
    """Return a family with `labels` on each of its samples."""
    copy = Metric(family.name, family.documentation, family.type, family.unit)
    copy.samples = [s._replace(labels=s.labels | labels) for s in family.samples]
    return copy
