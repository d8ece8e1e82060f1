"""What the demonstration's processes agree on."""

from __future__ import annotations

from typing import Final

#: The flag that decides which version of the agent answers; a name that every vendor takes.
FLAG: Final = "agents-docs"
#: The scope under which all of its workers can be stopped.
SCOPE: Final = "agent:docs"
ENVIRONMENT: Final = "demo"
WORKERS: Final = 4
#: Seconds a worker rests after an answer, so that four of them and the engine fit on two cores.
REST: Final = 0.008
