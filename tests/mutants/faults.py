"""Deliberate faults in the core, and the tests of which each must turn one red.

A fault is a change of text, found wherever it stands in the package, so that moving code about does
not concern it; changing that code does, and then the fault has to be written anew.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """changes: (text, what stands there instead); each text occurs once in the whole package.
    breaks: the promise that no longer holds. tests: file and name of tests, with parameters
    where one of several will do, in whatever folder; one of them must fail."""

    name: str
    breaks: str
    changes: tuple[tuple[str, str], ...]
    tests: tuple[str, ...]


FAULTS = (
    Fault(
        "radius sign",
        "the radius weighs both distances, added up",
        (
            (
                "alpha * d_positive + (1 - alpha) * negative_distance\n        return Radius",
                "alpha * d_positive - (1 - alpha) * negative_distance\n        return Radius",
            ),
        ),
        ("test_scope.py::test_alpha_weighs_the_positive_distance",),
    ),
    Fault(
        "alpha swapped",
        "α weighs the positive distance",
        (
            (
                "alpha * d_positive + (1 - alpha) * negative_distance\n        return Radius",
                "(1 - alpha) * d_positive + alpha * negative_distance\n        return Radius",
            ),
        ),
        (
            "test_scope.py::test_alpha_weighs_the_positive_distance",
            "test_scope.py::test_a_larger_alpha_makes_a_smaller_radius",
        ),
    ),
    Fault(
        "radius turned over",
        "an edit fires inside its radius, not outside",
        (("return self.distance <= self.radius", "return self.distance > self.radius"),),
        ("test_contract.py::test_outside_every_radius_the_logits_are_the_base_models[llava-mean]",),
    ),
    Fault(
        "key over padding",
        "padding is no part of the key",
        (
            (
                "weight = prompt.to(torch.float32)[..., None]",
                "weight = torch.ones_like(prompt, dtype=torch.float32)[..., None]",
            ),
        ),
        ("test_contract.py::test_a_batch_equals_its_singles[llava-mean]",),
    ),
    Fault(
        "last key at the end of the row",
        "the last token of the prompt is not padding behind it",
        (
            (
                "return (prompt * positions).argmax(dim=1)",
                "return (torch.ones_like(prompt) * positions).argmax(dim=1)",
            ),
        ),
        ("test_contract.py::test_left_padding_equals_right_padding[llava-last]",),
    ),
    Fault(
        "answer in the key",
        "a teacher-forced answer never reaches the key",
        (("return real & (real.cumsum(1) <= lengths[:, None])", "return real"),),
        ("test_contract.py::test_the_target_never_routes[llava-mean-prompt_lengths]",),
    ),
    Fault(
        "labels in the key",
        "what labels mark as the answer never reaches the key",
        (("prompt = real & ~answer.to(real.device)", "prompt = real"),),
        ("test_contract.py::test_the_target_never_routes[llava-mean-labels]",),
    ),
    Fault(
        "decision at decode steps",
        "a row's decision is made once, at its prompt",
        (
            ("held = self.session.route if self.session else None", "held = None"),
            ("        if not past:\n            return None\n", "        return None\n"),
        ),
        ("test_contract.py::test_cached_decoding_equals_uncached[llava-mean-1]",),
    ),
    Fault(
        "transformation of another entry",
        "each row goes through the transformation of the entry that fired",
        (
            (
                "held = [self.tensors(edit_id) for edit_id in route.groups]",
                "held = [self.tensors(edit_id) for edit_id in reversed(list(route.groups))]",
            ),
        ),
        (
            "test_contract.py::test_two_edits_keep_their_own_answers_and_transformations[llava-mean]",
        ),
    ),
    Fault(
        "conflict ignored",
        "the same fact with another answer retires the older edit",
        (("self._rivals[edit_id].gives_way(fact, near=edit_id in near)", "False"),),
        ("test_contract.py::test_a_conflict_retires_and_revert_restores[llava-mean]",),
    ),
    Fault(
        "retired for good",
        "reverting an edit brings back what it retired",
        (
            (
                'freed = [replace(e, state="active", retired_by=None) for e in waiting]',
                "freed = []",
            ),
        ),
        ("test_history.py::test_a_chain_unwinds_in_order",),
    ),
    Fault(
        "revert leaves it in force",
        "a reverted edit fires no more",
        (("for gone in held - (set(wanted) - set(missing)):", "for gone in ():"),),
        ("test_contract.py::test_edit_then_revert_gives_the_base_model_back[llava-mean]",),
    ),
    Fault(
        "in force outside the context",
        "outside the editor's context the model is the base model",
        (("        self.layer.detach()\n        self.router.detach()\n", "        pass\n"),),
        ("test_contract.py::test_edit_then_revert_gives_the_base_model_back[llava-mean]",),
    ),
    Fault(
        "old answer ignored",
        "an edit fires only where the untouched model gives the old answer",
        (
            (
                "            claims.append(Claim(old, fires))\n",
                "            silent = fires\n            break\n",
            ),
        ),
        ("test_answer_aware_contract.py::test_the_old_answer_alone_keeps_a_row_out[llava]",),
    ),
    Fault(
        "end of the old answer not looked at",
        "the old answer is given when the untouched model says it and no more",
        (
            (
                "if predicted.argmax(-1).tolist() == list(answer):",
                "if predicted.argmax(-1).tolist()[:-1] == list(answer)[:-1]:",
            ),
        ),
        ("test_answer_aware.py::test_it_fires_only_where_the_old_answer_is_given[llava]",),
    ),
    Fault(
        "guesses in the key",
        "tokens that `generate` guesses at are no part of the prompt",
        (("kept[:, -self.call.extra :] = False", "pass"),),
        ("test_decide_first.py::test_guessed_tokens_are_no_part_of_the_prompt[llava]",),
    ),
    Fault(
        "old answer of the edited model",
        "the old answer is what the model says with no edit in force",
        (("self._paused += 1", "self._paused += 0"), ("self._paused -= 1", "self._paused -= 0")),
        ("test_answer_aware.py::test_the_old_answer_is_the_untouched_models",),
    ),
    Fault(
        "journal line dropped",
        "a run that goes on keeps every whole result",
        (
            (
                'whole = content.rfind(b"\\n") + 1',
                'whole = content.rstrip(b"\\n").rfind(b"\\n") + 1',
            ),
        ),
        ("test_journal.py::test_a_run_goes_on_where_it_was",),
    ),
    Fault(
        "checksum of tensors skipped",
        "a damaged tensor file is found",
        (
            (
                'if digest(data) != sha256:\n        raise Damage(f"{name} does not',
                'if False:\n        raise Damage(f"{name} does not',
            ),
        ),
        ("test_store_failures.py::test_a_damaged_edit_is_named_and_the_others_work",),
    ),
    Fault(
        "checksum of keys skipped",
        "a damaged key is found",
        (("copy=False)) != sha256:", "copy=False)) is None:"),),
        ("test_store_failures.py::test_held_names_what_load_names",),
    ),
    Fault(
        "prompt not bound",
        "a store made under one prompt is refused under another",
        (("plain | loaded.rendered(),", "plain,"),),
        ("test_belonging.py::test_a_store_of_another_format_string_is_refused",),
    ),
    Fault(
        "adapters not bound",
        "a store made under an adapter is refused without it",
        (("for name, value in _added(model):", "for name, value in ():"),),
        ("test_belonging.py::test_what_an_adapter_adds_is_bound_wherever_it_is",),
    ),
)
