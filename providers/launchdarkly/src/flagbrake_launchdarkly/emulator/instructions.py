"""Semantic patches: every kind of instruction, and how a list of them is applied."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from flagbrake_launchdarkly.emulator import rules, settings, targeting
from flagbrake_launchdarkly.emulator.editing import Edit, Given, check_flag
from flagbrake_launchdarkly.emulator.refusals import Refusal, invalid

Apply = Callable[[Edit, Given], None]

#: Instructions that need ``environmentKey``.
IN_ENVIRONMENT: Final[Mapping[str, Apply]] = MappingProxyType(
    {
        "turnFlagOn": targeting.turn_on,
        "turnFlagOff": targeting.turn_off,
        "updateFallthroughVariationOrRollout": targeting.default_rule,
        "updateOffVariation": targeting.off_variation,
        "updateTrackEvents": targeting.track_events,
        "updateTrackEventsFallthrough": targeting.track_default_rule,
        "addTargets": targeting.add_targets,
        "removeTargets": targeting.remove_targets,
        "replaceTargets": targeting.replace_targets,
        "clearTargets": targeting.clear_targets,
        "addUserTargets": targeting.add_user_targets,
        "removeUserTargets": targeting.remove_user_targets,
        "replaceUserTargets": targeting.replace_user_targets,
        "clearUserTargets": targeting.clear_user_targets,
        "addPrerequisite": targeting.add_prerequisite,
        "removePrerequisite": targeting.remove_prerequisite,
        "updatePrerequisite": targeting.update_prerequisite,
        "replacePrerequisites": targeting.replace_prerequisites,
        "addRule": rules.add_rule,
        "removeRule": rules.remove_rule,
        "replaceRules": rules.replace_rules,
        "reorderRules": rules.reorder_rules,
        "updateRuleVariationOrRollout": rules.serve_rule,
        "updateRuleDescription": rules.describe_rule,
        "updateRuleTrackEvents": rules.track_rule,
        "addClauses": rules.add_clauses,
        "removeClauses": rules.remove_clauses,
        "updateClause": rules.update_clause,
        "addValuesToClause": rules.add_values,
        "removeValuesFromClause": rules.remove_values,
    }
)

#: Instructions that change the flag itself.
OF_FLAG: Final[Mapping[str, Apply]] = MappingProxyType(
    {
        "addVariation": settings.add_variation,
        "removeVariation": settings.remove_variation,
        "updateVariation": settings.update_variation,
        "updateDefaultVariation": settings.default_variation,
        "addTags": settings.add_tags,
        "removeTags": settings.remove_tags,
        "updateName": settings.rename,
        "updateDescription": settings.describe,
        "makeFlagPermanent": settings.make_permanent,
        "makeFlagTemporary": settings.make_temporary,
        "addCustomProperties": settings.add_custom,
        "removeCustomProperties": settings.remove_custom,
        "replaceCustomProperties": settings.replace_custom,
        "turnOnClientSideAvailability": settings.client_side_on,
        "turnOffClientSideAvailability": settings.client_side_off,
        "updateMaintainerMember": settings.maintained_by,
        "updateMaintainerTeam": settings.maintained_by_team,
        "removeMaintainer": settings.unmaintained,
        "archiveFlag": settings.archive,
        "restoreFlag": settings.restore,
        "deprecateFlag": settings.deprecate,
        "restoreDeprecatedFlag": settings.restore_deprecated,
        "deleteFlag": settings.delete,
    }
)

KINDS: Final = frozenset({*IN_ENVIRONMENT, *OF_FLAG})


def apply(edit: Edit, instructions: Any) -> None:
    """Apply a list of instructions to the working copy, in order.

    Raises:
        Refusal: one of them is unknown, malformed or does not fit; the copy is then of no use.
    """
    if not isinstance(instructions, list) or not instructions:
        raise invalid("instructions must be a list that is not empty")
    for instruction in instructions:
        kind = instruction.get("kind") if isinstance(instruction, dict) else None
        if not isinstance(kind, str):
            raise invalid("an instruction needs a kind")
        if kind in IN_ENVIRONMENT:
            _ = edit.config  # refuses when no environment is named
            IN_ENVIRONMENT[kind](edit, Given(instruction))
        elif kind in OF_FLAG:
            OF_FLAG[kind](edit, Given(instruction))
        else:
            raise Refusal(400, f"unknown instruction kind '{kind}'")
    if not edit.deleted:
        check_flag(edit.flag)
