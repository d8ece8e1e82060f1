"""The public names: a change of this list is a decision, not an accident."""

import flagbrake

PUBLIC = {
    "FlagbrakeError",
    "Halted",
    "ToolDenied",
    "__version__",
    "control_plane",
    "halt",
    "provider",
    "report",
    "run",
    "swap_provider",
}
HALT = {"check", "check_tool", "scope", "stoppable"}


def test_public_names() -> None:
    """Exactly these names are public; each can be had and is documented."""
    assert set(flagbrake.__all__) == PUBLIC
    assert set(flagbrake.halt.__all__) == HALT
    for name in PUBLIC - {"__version__"}:
        assert getattr(flagbrake, name).__doc__
