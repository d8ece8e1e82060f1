"""The demo's agent: real code over real text, whose versions differ by a genuine defect."""

from collections import Counter
from collections.abc import Callable

import pytest

from flagbrake.demo.agent import Agent, Brake, GaveUp, agent
from flagbrake.demo.corpus import Library, gather
from flagbrake.demo.questions import Question, Topic, WrongAnswer, ask, check
from flagbrake.demo.readers import READERS, LineReader, MendedPatternReader, Parameter, PatternReader
from flagbrake.errors import Halted
from tests.demo.kills import a_kill

OFF = Brake(step=lambda: None, tool=lambda _name: None)


@pytest.fixture(scope="module")
def library() -> Library:
    return gather()


@pytest.fixture(scope="module")
def questions(library: Library) -> list[Question]:
    return ask(library)


def failures(version: str, library: Library, questions: list[Question]) -> Counter[str]:
    one, errors = agent(version, library, OFF), Counter[str]()
    for question in questions:
        try:
            check(library, question, one.answer(question.text))
        except Exception as error:  # noqa: BLE001 - whatever the code under the question raised
            errors[type(error).__name__] += 1
    return errors


def test_gathering_twice_gives_the_same_questions(questions):
    """Nothing about the corpus is drawn: the same Python asks the same questions in the same order."""
    assert ask(gather()) == questions


def test_every_topic_is_asked(questions):
    """There are thousands of questions, and no topic is a rarity."""
    topics = Counter(question.topic for question in questions)
    assert len(questions) > 3000
    assert min(topics[topic] for topic in Topic) > 300


def test_the_versions_fail_as_the_story_needs(library, questions):
    """v1 and v3 honestly fail about one question in a hundred, v2 eight to fifteen: by errors and wrong answers."""
    shares = {v: sum(failures(v, library, questions).values()) / len(questions) for v in READERS}
    assert shares["v1"] < 0.025
    assert 0.07 < shares["v2"] < 0.15
    assert shares["v3"] <= shares["v1"]
    assert set(failures("v2", library, questions)) >= {"TypeError", "WrongAnswer"}


@pytest.mark.parametrize("reader", [LineReader(), MendedPatternReader()])
def test_the_working_readers_know_keyword_only_marks(reader):
    """``*`` alone and ``/`` are marks, not parameters; a default may hold commas and quotes."""
    page = "load(file, /, where=(80, 24), *, sep=', ', **rest)\n    Load it\n    now. Then rest.\n"
    assert reader.parameters(page) == [
        Parameter("file", None),
        Parameter("where", "(80, 24)"),
        Parameter("sep", "', '"),
        Parameter("rest", None),
    ]
    assert reader.summary(page) == "Load it now."


def test_the_defect_of_v2_is_in_its_code():
    """v2 raises at a keyword-only mark and cuts a sentence at the end of the line; on simple pages it is right."""
    reader = PatternReader()
    assert reader.parameters("f(a, /, b=1, *rest)\n    Do it.\n") == [
        Parameter("a", None),
        Parameter("b", "1"),
        Parameter("rest", None),
    ]
    assert reader.summary("f(a)\n    Do it. Then rest.\n") == "Do it."
    assert reader.summary("f(a)\n    Do it\n    now.\n") == "Do it"
    with pytest.raises(TypeError):
        reader.parameters("f(a, *, b=1)\n    Do it.\n")


def test_a_wrong_answer_is_found_out(library, questions):
    """The check asks the live object: an answer that belongs to another question is wrong."""
    takes = [q for q in questions if q.topic is Topic.TAKES]
    wrap = next(q for q in takes if q.name == "textwrap.wrap")
    check(library, wrap, "text, width, kwargs")
    with pytest.raises(WrongAnswer):
        check(library, wrap, "text, width")


def halting_at(number: int) -> tuple[Callable[[str], None], Counter[str]]:
    seen = Counter[str]()

    def tool(_name: str) -> None:
        seen["asked"] += 1
        if seen["asked"] >= number:
            raise Halted(a_kill())

    return tool, seen


def test_retrying_tools_does_not_swallow_a_halt(library, questions):
    """A halt before a tool ends the run at once, although the agent retries every exception of its tools."""
    tool, seen = halting_at(2)
    one: Agent = agent("v1", library, Brake(step=lambda: None, tool=tool))
    question = next(q for q in questions if q.topic is Topic.TAKES)
    with pytest.raises(Halted):
        one.answer(question.text)
    assert (one.calls, seen["asked"]) == (1, 2)


def test_a_failing_tool_is_tried_three_times(library):
    """The loop is written the way people write it: a tool's exception is retried, then it ends the run."""
    one = agent("v1", library, OFF)
    with pytest.raises(KeyError):
        one.answer("What does no.such.thing do?")
    assert one.calls == 3


def test_an_unplanned_question_is_given_up(library):
    """A question that no plan fits is a failure, not a guess."""
    with pytest.raises(GaveUp):
        agent("v1", library, OFF).answer("Why?")
