"""Pure: what a strategy serves to those for whom it holds: one variant, several by weight, a share of either."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from flagbrake.evaluate.vendors.unleash import VARIANTS
from flagbrake.model.clause import TARGETING_KEY, Attribute
from flagbrake.model.flag import Bucketing, Distribution, Gate, Serve, Variant, Weight
from flagbrake.model.loss import Severity
from flagbrake.model.values import WHOLE
from flagbrake_unleash.constraints import attribute_of
from flagbrake_unleash.translate.strategies import (
    BUCKETING,
    DISABLED,
    Part,
    is_plain,
    rollout_of,
    stickiness_of,
    takes_share,
)
from flagbrake_unleash.translate.variants import enabled_name, shares_of_weights

#: What weights add up to on the server.
_THOUSAND: Final = 1000
#: Weights that add up to more cannot be told from shares of 100,000.
_MOST: Final = WHOLE // 2
_SESSION: Final = Attribute(("sessionId",))
_USER: Final = Attribute((TARGETING_KEY,))

#: Takes note of what is lost: where, what, the effect and how grave.
Lose = Callable[[str, str, str, Severity], None]


class Dealing:
    """What the strategies of one feature serve.

    Args:
        feature: its document.
        variants: the variants it has.
        lose: hears what the flag cannot say.
    """

    def __init__(self, feature: Part, variants: Sequence[Variant], lose: Lose) -> None:
        self.feature, self.variants = feature, variants
        self.key: str = feature["name"]
        self.plain = is_plain(feature)
        self._lose = lose

    def nothing(self) -> str:
        """What those get for whom no strategy holds."""
        return self.name_of(value=False) if self.plain else DISABLED

    def name_of(self, *, value: bool) -> str:
        """What on or off is called here."""
        return next((v.name for v in self.variants if v.value is value), "on" if value else "off")

    def serve(self, strategy: Part, *, outside: str | None) -> Serve:
        """What a strategy serves to those whom its rollout lets in; ``outside`` is for the others."""
        inside: Serve = self.name_of(value=True) if self.plain else self._dealt(strategy)
        share, stickiness = rollout_of(strategy), stickiness_of(strategy)
        if strategy.get("name") == "default" or not takes_share(strategy):
            return inside
        if share == WHOLE and stickiness in {"default", "random"}:
            return inside
        if outside is not None and share == 0:
            return outside
        bucketing = self._bucketing(strategy)
        if self.plain and outside is not None and share != WHOLE:
            return Distribution((Weight(str(inside), share), Weight(outside, WHOLE - share)), bucketing)
        gate = Gate(share, bucketing, outside)
        if isinstance(inside, str):
            return Distribution((Weight(inside, WHOLE),), gate=gate)
        return Distribution(inside.weights, inside.bucketing, gate)

    def _dealt(self, strategy: Part) -> Serve:
        own = strategy.get("variants") or ()
        if not own and not self.feature.get("variants"):
            return enabled_name(self.variants)
        parameters = strategy.get("parameters") or {}
        listed = own or self.feature["variants"]
        weights = [Weight(v["name"], s) for v, s in zip(listed, shares_of_weights(listed), strict=True) if s]
        total = sum(v["weight"] for v in listed)
        if not weights:
            return DISABLED
        if len(weights) == 1:
            return weights[0].variant
        if total > _MOST:
            self._lose("variants", f"weights that add up to {total:,}", "a few units move", Severity.UNITS)
        # A strategy's variants are dealt by its own stickiness, a feature's by that of the first.
        stickiness = parameters.get("stickiness") or "default" if own else listed[0].get("stickiness") or "default"
        group = parameters.get("groupId") if own else None
        bucketing = self._dealing("variants", str(stickiness), self.key if group is None else str(group))
        buckets = None if total == _THOUSAND else total
        return Distribution(
            tuple(weights),
            Bucketing(
                BUCKETING,
                seed=VARIANTS,
                group=bucketing.group,
                attribute=bucketing.attribute,
                override=bucketing.override,
                buckets=buckets,
            ),
        )

    def _bucketing(self, strategy: Part) -> Bucketing:
        group = (strategy.get("parameters") or {}).get("groupId")
        return self._dealing("strategies", stickiness_of(strategy), self.key if group is None else str(group))

    def _dealing(self, where: str, stickiness: str, group: str) -> Bucketing:
        if stickiness == "random":
            self._lose(
                where, "a share dealt by lot at each question", "dealt by unit: everybody keeps theirs", Severity.UNITS
            )
        if stickiness in {"default", "random"}:
            return Bucketing(BUCKETING, group=group, attribute=_SESSION, override=_USER)
        return Bucketing(BUCKETING, group=group, attribute=attribute_of(stickiness))
