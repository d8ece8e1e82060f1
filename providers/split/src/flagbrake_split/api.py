"""What the control asks of a management API, whatever its dialect."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Words:
    """What is said with a change, for the vendor's history; some workspaces refuse changes without."""

    title: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Manners:
    """How a workspace and an environment want to be written to."""

    wants_words: bool = False
    wants_approvals: bool = False
    excepts_kills: bool = False


class ManagementApi(ABC):
    """One workspace and one environment. Every call raises the errors of ``flagbrake_split.errors.explain``."""

    # --- reading -----------------------------------------------------------------------------------------

    @abstractmethod
    def metadata(self, name: str) -> JSON:
        """What a flag has in common in all environments: name, description, tags."""

    @abstractmethod
    def definition(self, name: str, environment: str = "") -> JSON:
        """A flag's definition in this environment, or another one."""

    @abstractmethod
    def all_metadata(self) -> Iterator[JSON]:
        """The metadata of every flag that is not archived."""

    @abstractmethod
    def all_definitions(self) -> Iterator[JSON]:
        """Every definition in this environment.

        Raises:
            ConfigError: there is no such environment; those that there are, are named.
        """

    @abstractmethod
    def other_environments(self) -> Sequence[str]:
        """The ids of the workspace's other environments.

        Raises:
            ConfigError: this environment is not one of the workspace's.
        """

    @abstractmethod
    def manners(self) -> Manners:
        """How this workspace and environment want to be written to.

        Raises:
            ConfigError: there is no such workspace, or environment.
        """

    @abstractmethod
    def segments(self) -> Iterator[JSON]:
        """Segments of this environment whose keys are listed: ``name``, ``keys``."""

    @abstractmethod
    def rule_based_segments(self) -> Iterator[JSON]:
        """Definitions of segments that are rules."""

    # --- writing -----------------------------------------------------------------------------------------

    @abstractmethod
    def create(self, name: str, description: str, words: Words) -> None:
        """A new flag, without a definition."""

    @abstractmethod
    def create_definition(self, name: str, definition: JSON, words: Words) -> None:
        """Configure a flag in this environment; it is alive from then on."""

    @abstractmethod
    def change_definition(self, name: str, before: JSON, after: JSON, words: Words) -> None:
        """Write, in one call, the fields in which ``after`` differs from ``before``."""

    @abstractmethod
    def change_metadata(self, name: str, before: JSON, after: JSON, words: Words) -> None:
        """The same for description and tags."""

    @abstractmethod
    def kill(self, name: str, words: Words) -> None:
        """Serve the default treatment to everybody."""

    @abstractmethod
    def restore(self, name: str, words: Words) -> None:
        """Take a kill back."""

    @abstractmethod
    def remove_definition(self, name: str, words: Words) -> None:
        """Take a flag out of this environment; its definition is gone, others keep theirs."""

    @abstractmethod
    def archive(self, name: str, words: Words) -> None:
        """Archive a flag, in all environments."""

    @abstractmethod
    def unarchive(self, name: str, words: Words) -> None:
        """Bring an archived flag back."""

    @abstractmethod
    def close(self) -> None:
        """Close the connections."""
