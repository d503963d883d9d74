"""The choice of things: data, and what the shipped artwork was made by."""

from __future__ import annotations

from balancedit.models.pocket import artwork
from balancedit.models.pocket.selection import selection


def test_the_artwork_has_the_names_and_classes_chosen() -> None:
    made = selection()
    slug_of = {name: slug for slug, name in made.rename.items()}
    for thing in artwork.things():
        slug = slug_of.get(thing.name, thing.name)
        chosen = made.chosen(slug.replace(" ", "-"), thing.subgroup)
        assert chosen == (thing.name, thing.group), slug


def test_what_is_left_out_has_no_name() -> None:
    made = selection()
    assert made.chosen("bank", "place-building") is None
    assert made.chosen("owl", "face-smiling") is None
    assert made.chosen("owl", "animal-bird") == ("owl", "animal")
    assert made.chosen("jack-o-lantern", "event") == ("jack-o-lantern", "plant")


def test_choices_are_about_things_that_there_are() -> None:
    made = selection()
    names = {thing.name for thing in artwork.things()}
    assert made.group_override.keys() <= names
    assert not made.drop & made.rename.keys()
    assert not {w for w in (*made.drop, *made.rename) if w != " ".join(w.lower().split())}
    assert set(made.group_override.values()) <= {*made.group_of_subgroup.values()}
