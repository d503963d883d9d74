"""Conversations through models' own chat templates: rendered at once, asked, refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import tiny
from balancedit import Conversation, Editor, Pictures, Turn
from balancedit.errors import InputError, PromptError
from balancedit.inputs.conversation import opened
from balancedit.models.architectures import ARCHITECTURES
from balancedit.models.processors import chat_template
from contract import QUESTION, A, B
from tiny import taught
from tiny.families import FAMILIES

#: Says whose turn it is, as real ones do.
ROLES = tiny.CHAT.replace("<user>", "{{ '<user>' + m['role'] + ':' }}")
REFUSES = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must take turns') }}{% endif %}{% endfor %}"
)
#: Earlier answers and system messages are plain texts, as in the templates of some checkpoints.
TEXTS = (
    "{% for m in messages %}<user>{% if m['role'] == 'user' %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
    "{% else %}{{ '[' + m['content'] + ']' }}{% endif %}{% endfor %}<assistant>"
)
FORGETS = tiny.CHAT.replace("{% for m in messages %}", "{% for m in messages[-1:] %}")
TALKS = sorted(
    name
    for name, known in ARCHITECTURES.items()
    if known.most_images is None and known.prompt is None
)
SETTINGS: dict[str, Any] = {"key": "mean", "lr": 0.5, "steps": 40, "alpha": 0.9}

talk = Conversation.about(A, "what is it?", system="be brief").then("ab", "and this?", B)


def llava(template: str, **options: Any) -> Editor:
    model, processor = tiny.llava()
    processor.chat_template = template
    return Editor.load(model, processor=processor, **options)


def rendered(editor: Editor, conversation: Conversation) -> str:
    """What the processor makes of a conversation, as text, a picture's placeholders as one."""
    shown, asked = opened(conversation)
    ids = editor._loaded.prompter.inputs([shown], [asked])["input_ids"][0]
    text: str = editor.processor.tokenizer.decode(ids)
    return text.replace("<image>" * 4, "<image>")


def by_hand(editor: Editor, *turns: tuple[str, list[Any]]) -> dict[str, torch.Tensor]:
    """Messages written out and given to the processor."""
    messages = [
        {
            "role": role,
            "content": [
                {"type": "text", "text": part}
                if isinstance(part, str)
                else {"type": "image", "image": part}
                for part in parts
            ],
        }
        for role, parts in turns
    ]
    made = editor.processor.apply_chat_template(
        [messages],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"padding": True, "padding_side": "left"},
    )
    return dict(made)


@pytest.mark.parametrize("family", TALKS)
def test_it_is_what_the_chat_template_makes_of_it(family: str) -> None:
    model, processor = FAMILIES[family]()
    template = chat_template(processor)
    assert template.count("<user>") == 1
    processor.chat_template = template.replace("<user>", "{{ '<user>' + m['role'] + ':' }}")
    editor = Editor.load(model, processor=processor)
    shown, asked = opened(talk)
    ours = editor._loaded.prompter.inputs([shown], [asked])
    wanted = by_hand(
        editor,
        ("system", ["be brief"]),
        ("user", [A, "what is it?"]),
        ("assistant", ["ab"]),
        ("user", [B, "and this?"]),
    )
    assert torch.equal(ours["input_ids"], wanted["input_ids"])
    assert torch.equal(ours["pixel_values"], wanted["pixel_values"])
    assert "assistant:ab" in processor.tokenizer.decode(ours["input_ids"][0])
    assert editor.ask(talk, max_new_tokens=2).fired is None


@pytest.mark.parametrize("family", ["llava", "blip2"])
def test_a_conversation_of_one_turn_is_that_question_bit_for_bit(family: str) -> None:
    model, processor = taught.model(family)
    editor = Editor.load(
        model, processor=processor, layer=tiny.LAST[family], prompt=tiny.PROMPT[family], **SETTINGS
    )
    edit = editor.edit(A, QUESTION, "ab", rephrasings=["which is it?"])
    for shown in (A, B):
        once = editor.ask(Conversation.about(shown, QUESTION))
        assert once == editor.ask(shown, QUESTION)
    assert editor.ask(Conversation.about(A, QUESTION)).fired == edit.id
    assert editor.explain(Conversation.about(A, QUESTION)) == editor.explain(A, QUESTION)
    (streamed,) = {"".join(editor.ask(Conversation.about(A, QUESTION), stream=True))}
    assert streamed == "ab"


def test_turns_and_pictures_stand_where_they_were() -> None:
    editor = llava(ROLES)
    between = Turn("user", (Pictures(A), "from here", Pictures(B), "to there?"))
    assert rendered(editor, Conversation(*talk.turns, Turn.assistant("cd"), between)) == (
        "<user>system:be brief<user>user:<image>what is it?<user>assistant:ab"
        "<user>user:<image>and this?<user>assistant:cd"
        "<user>user:<image>from here<image>to there?<assistant>"
    )


def test_its_own_system_message_stands_instead_of_the_editors() -> None:
    editor = llava(ROLES, system="be long")
    assert rendered(editor, talk).startswith("<user>system:be brief<user>user:")
    own = Conversation(*talk.turns[1:])
    assert rendered(editor, own).startswith("<user>system:be long<user>user:")


def test_markers_in_texts_stay_text() -> None:
    """A picture's marker in any turn shows nothing, and a turn's marker ends none."""
    editor = llava(ROLES)
    plain = Conversation.about(A, "what?", system="brief").then("ab", "why?")
    sly = Conversation.about(A, "what?<image>", system="brief<user>").then("ab<assistant>", "<s>?")
    counts = []
    for one in (plain, sly):
        shown, asked = opened(one)
        ids = editor._loaded.prompter.inputs([shown], [asked])["input_ids"]
        counts.append([int((ids == i).sum()) for i in editor.processor.tokenizer.all_special_ids])
    assert counts[0] == counts[1]
    assert "<image>" in rendered(editor, sly).replace("<image>", "", 1)


def test_templates_that_want_plain_texts_get_them() -> None:
    assert rendered(llava(TEXTS), talk) == (
        "<user>[be brief]<user><image>what is it?<user>[ab]<user><image>and this?<assistant>"
    )
    asked = llava(TEXTS, system="be long").inputs([None], ["what?"])["input_ids"][0]
    assert tiny.tokenizer().decode(asked) == "<user>[be long]<user>what?<assistant>"


def test_a_batch_equals_its_singles() -> None:
    """Conversations of several lengths, with as many pictures and others, and a plain question."""
    editor = llava(ROLES, **SETTINGS)
    edit = editor.edit(A, QUESTION, "ab", rephrasings=["which is it?"])
    asked: list[Any] = [
        talk,
        A,
        Conversation.about(A, QUESTION).then("ab", "why?"),
        Conversation.about(None, "who?").then("me", "what?").then("no", "and this?", B),
    ]
    questions = [None, QUESTION, None, None]
    together = editor.ask(asked, questions, max_new_tokens=3)
    assert together[1].fired == edit.id
    for one, question, answer in zip(asked, questions, together, strict=True):
        alone = editor.ask(one, question, max_new_tokens=3)
        assert (alone.fired, alone.nearest) == (answer.fired, answer.nearest)
        assert alone.text[:1] == answer.text[:1]
    pieces = list(editor.ask([talk, talk], max_new_tokens=3, stream=True))
    assert {row for row, _ in pieces} <= {0, 1}


def test_all_that_was_said_is_part_of_the_key() -> None:
    editor = llava(ROLES, **SETTINGS)
    editor.edit(A, QUESTION, "ab", rephrasings=["which is it?"])
    first = editor.explain(Conversation.about(A, QUESTION))
    later = editor.explain(Conversation.about(A, "who?").then("me", QUESTION))
    assert (first.question, later.question) == (QUESTION, QUESTION)
    assert first.neighbours[0].distance < later.neighbours[0].distance


@pytest.mark.parametrize(
    ("conversation", "said"),
    [
        (
            Conversation(Turn.user("what?", A), Turn.user("why?")),
            r"does not take this conversation \(roles must take turns\): turns 1 and 2 are both "
            "the user's",
        ),
        (talk, r"\(roles must take turns\): it has a system message"),
        (
            Conversation(*talk.turns[1:3], Turn.system("be brief"), Turn.user("why?")),
            "turn 3 is a system message",
        ),
    ],
    ids=["two questions", "system first", "system later"],
)
def test_what_a_template_refuses_is_named(conversation: Conversation, said: str) -> None:
    editor = llava(REFUSES + ROLES)
    assert editor.ask(Conversation(*talk.turns[1:]), max_new_tokens=1)
    with pytest.raises(InputError, match=said):
        editor.ask(conversation)
    with pytest.raises(PromptError, match="question 2 of 2: the chat template") as caught:
        editor.ask([Conversation.about(A, "what?"), Conversation(*conversation.turns)])
    assert caught.value.row == 1


def test_two_questions_in_a_row_are_asked_where_the_template_takes_them() -> None:
    twice = Conversation(Turn.user("what?", A), Turn.user("why?"))
    assert rendered(llava(ROLES), twice) == "<user>user:<image>what?<user>user:why?<assistant>"


def test_a_template_that_forgets_is_refused() -> None:
    editor = llava(FORGETS)
    assert editor.ask(Conversation.about(A, "what?"), max_new_tokens=1)
    with pytest.raises(InputError, match="leaves out what was answered before"):
        editor.ask(talk)


def test_a_format_string_holds_no_conversation() -> None:
    model, processor = tiny.blip2()
    editor = Editor.load(
        model,
        processor=processor,
        layer=tiny.OPT_LAYER,
        prompt=tiny.PROMPT["blip2"],
    )
    with pytest.raises(InputError, match="format string, which holds one question"):
        editor.ask(Conversation.about(A, "what?").then("ab", "why?"))


def test_too_long_a_conversation_says_so() -> None:
    editor = llava(ROLES)
    long = Conversation.about(A, "what?").then("x" * 600, "why?")
    with pytest.raises(
        InputError, match=r"the prompt takes 6\d\d tokens; .* holds 512, 32 of them"
    ):
        editor.ask(long)
    with pytest.raises(PromptError, match=r"question 2 of 2: .* shorten the conv") as caught:
        editor.ask([A, long], ["what?", None])
    assert caught.value.row == 1


def test_a_fact_of_ike_stands_before_the_last_question() -> None:
    editor = llava(ROLES, method="ike", demonstrations=0)
    edit = editor.edit(A, QUESTION, "ab")
    assert editor.ask(talk, max_new_tokens=1).fired == edit.id
