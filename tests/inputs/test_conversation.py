"""Conversations as callers make them, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

import tiny
from balancedit import Conversation, Pictures, Turn
from balancedit.errors import ImageError, InputError
from balancedit.inputs.conversation import Dialogue, opened, preceded
from balancedit.inputs.pairing import checked, checked_rows, paired
from balancedit.inputs.pictures import each

A, B = tiny.picture(1), tiny.picture(2)
user, assistant, system = Turn.user, Turn.assistant, Turn.system


def test_a_question_and_what_follows_it() -> None:
    talk = Conversation.about(A, "what?", system="be brief").then("owl", "and this?", B)
    assert [turn.role for turn in talk.turns] == ["system", "user", "assistant", "user"]
    assert (talk.question, talk.pictures) == ("and this?", (A, B))
    shown, asked = opened(talk)
    assert each(shown) == (A, B)
    assert asked == Dialogue(
        (
            ("system", ("be brief",)),
            ("user", (None, "what?")),
            ("assistant", ("owl",)),
            ("user", (None, "and this?")),
        )
    )


def test_pictures_may_stand_between_texts() -> None:
    turn = Turn("user", (" from ", Pictures(A), " to ", Pictures(B, A), "? "))
    shown, asked = opened(Conversation(turn))
    assert each(shown) == (A, B, A)
    assert asked == Dialogue((("user", ("from ", None, " to ", None, None, "?")),))


def test_of_one_turn_it_is_a_plain_question() -> None:
    for shown in (None, A, Pictures(A, B)):
        picture, asked = opened(Conversation.about(shown, "  what? "))
        assert (each(picture), asked) == (each(checked(shown, "what?")[0]), "what?")


def test_what_stands_before_a_question_stands_in_its_turn() -> None:
    _, asked = opened(Conversation.about(A, "what?").then("owl", "why?", B))
    assert isinstance(asked, Dialogue)
    longer = preceded(asked, "it is late. ")
    assert isinstance(longer, Dialogue)
    assert longer.turns[:-1] == asked.turns[:-1]
    assert longer.turns[-1] == ("user", (None, "it is late. why?"))


@pytest.mark.parametrize(
    ("turns", "said"),
    [
        ((), "is empty"),
        ((system("be brief"),), "is empty"),
        ((assistant("owl"), user("why?")), "begins with an answer"),
        ((system("be brief"), assistant("owl"), user("why?")), "begins with an answer"),
        ((user("what?"), assistant("owl")), "ends with the assistant's turn"),
        ((user("what?"), system("be brief")), "ends with the system's turn"),
        ((user(" "),), r"turn 1 of the conversation \(user\) is empty; ask something"),
        ((user("", A), assistant(""), user("why?")), r"turn 2 .*\(assistant\) is empty; give its"),
        ((user("what?"), assistant("owl"), user("", A)), r"turn 3 .*\(user\) is empty; ask"),
        ((Turn("system", ("see", Pictures(A))), user("what?")), "turn 1 .* shows a picture"),
        ((user("wh\x00at?"),), "turn 1 .* holds characters that are no text"),
        ((user("x" * 200_001),), "200,001 characters; 200,000 is the most"),
        ((user("a?"), assistant("b")) * 500 + (user("c?"),), "1,001 turns; 1,000 is the most"),
        (("what?",), "a turn is a str"),
    ],
    ids=range(14),
)
def test_what_makes_no_conversation_says_why(turns: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Conversation(*turns)


def test_what_makes_no_turn_says_why() -> None:
    robot: Any = "robot"
    with pytest.raises(InputError, match="no role 'robot'; take user, assistant or system"):
        Turn(robot, ("hello",))
    picture: Any = (A, "what?")
    with pytest.raises(InputError, match=r"a part of a turn is a Image; give .* Pictures\(…\)"):
        Turn("user", picture)


def test_a_bad_picture_names_its_turn() -> None:
    talk = Conversation.about(A, "what?").then("owl", "and this?", "no-such-file.png")
    with pytest.raises(ImageError, match=r"turn 3 \(user\): .*no-such-file.png"):
        opened(talk)


def test_a_conversation_has_its_question_with_it() -> None:
    talk = Conversation.about(A, "what?")
    with pytest.raises(InputError, match="ends with its question; leave the other out"):
        checked(talk, "why?")
    with pytest.raises(InputError, match="the question is missing"):
        checked(A, None)


def test_conversations_and_plain_questions_share_a_list() -> None:
    talk = Conversation.about(A, "what?").then("owl", "why?")
    single, pairs = paired([talk, B], [None, "what?"])
    rows = checked_rows(pairs)
    assert not single
    assert isinstance(rows[0][1], Dialogue)
    assert isinstance(rows[1][0], Image.Image)
    assert paired(talk, None) == (True, [(talk, None)])
    assert paired([talk], None) == (False, [(talk, None)])
