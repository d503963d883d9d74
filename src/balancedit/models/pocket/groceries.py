"""The groceries that photographs show: everyday names at three levels, and what else is known.

81 products of GroceryStoreDataset (Klasson et al. 2019, MIT; `key` is its class name), each of one
of 43 kinds and five groups. Names follow the drawings' where they show the same thing
(`selection.py`); brands are written as on the pack. A kind's edited products are all in one part,
and a kind of several products has one or two that are never edited. This module knows nothing about
models, questions or pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from balancedit.errors import InputError, nearest_names
from balancedit.models.pocket.artwork import Split

GROUPS = ("fruit", "vegetable", "drink", "dairy", "dairy alternative")
PACKAGINGS = ("carton", "bottle", "can", "jar")
COLOURS = ("green", "yellow", "red", "orange", "purple", "brown", "white", "pink")

_SPLITS: dict[str, Split] = {"e": "edit-eval", "t": "edit-train", "n": "never-edited"}

# key | product | kind | group | part (e, t, n) | colour, where it has one | brand, where packed
_TABLE = """
Golden-Delicious|Golden Delicious|apple|fruit|n|yellow|
Granny-Smith|Granny Smith|apple|fruit|e|green|
Pink-Lady|Pink Lady|apple|fruit|e||
Red-Delicious|Red Delicious|apple|fruit|e|red|
Royal-Gala|Royal Gala|apple|fruit|e|red|
Avocado|avocado|avocado|fruit|e|green|
Banana|banana|banana|fruit|e|yellow|
Kiwi|kiwi|kiwi|fruit|n|brown|
Lemon|lemon|lemon|fruit|e|yellow|
Lime|lime|lime|fruit|t|green|
Mango|mango|mango|fruit|e||
Cantaloupe|cantaloupe|melon|fruit|t||
Galia-Melon|Galia melon|melon|fruit|n|yellow|
Honeydew-Melon|honeydew melon|melon|fruit|t|yellow|
Watermelon|watermelon|melon|fruit|t|green|
Nectarine|nectarine|nectarine|fruit|t|red|
Orange|orange|orange|fruit|e|orange|
Papaya|papaya|papaya|fruit|t|green|
Passion-Fruit|passion fruit|passion fruit|fruit|e|purple|
Peach|peach|peach|fruit|n||
Anjou|Anjou pear|pear|fruit|e|green|
Conference|Conference pear|pear|fruit|e|green|
Kaiser|Kaiser pear|pear|fruit|n|brown|
Pineapple|pineapple|pineapple|fruit|e||
Plum|plum|plum|fruit|t|purple|
Pomegranate|pomegranate|pomegranate|fruit|t|red|
Red-Grapefruit|red grapefruit|grapefruit|fruit|t|orange|
Satsumas|satsuma|satsuma|fruit|e|orange|
Bravo-Apple-Juice|Bravo apple juice|juice|drink|e||Bravo
Bravo-Orange-Juice|Bravo orange juice|juice|drink|n||Bravo
God-Morgon-Apple-Juice|God Morgon apple juice|juice|drink|e||God Morgon
God-Morgon-Orange-Juice|God Morgon orange juice|juice|drink|e||God Morgon
God-Morgon-Orange-Red-Grapefruit-Juice|God Morgon orange grapefruit juice|juice|drink|n||God Morgon
God-Morgon-Red-Grapefruit-Juice|God Morgon red grapefruit juice|juice|drink|e||God Morgon
Tropicana-Apple-Juice|Tropicana apple juice|juice|drink|e||Tropicana
Tropicana-Golden-Grapefruit|Tropicana golden grapefruit juice|juice|drink|e||Tropicana
Tropicana-Juice-Smooth|Tropicana smooth orange juice|juice|drink|e||Tropicana
Tropicana-Mandarin-Morning|Tropicana mandarin juice|juice|drink|e||Tropicana
Arla-Ecological-Medium-Fat-Milk|Arla organic medium-fat milk|milk|dairy|t||Arla
Arla-Lactose-Medium-Fat-Milk|Arla lactose-free milk|milk|dairy|t||Arla
Arla-Medium-Fat-Milk|Arla medium-fat milk|milk|dairy|t||Arla
Arla-Standard-Milk|Arla whole milk|milk|dairy|n||Arla
Garant-Ecological-Medium-Fat-Milk|Garant organic medium-fat milk|milk|dairy|t||Garant
Garant-Ecological-Standard-Milk|Garant organic whole milk|milk|dairy|t||Garant
Oatly-Natural-Oatghurt|Oatly oat yogurt|oat yogurt|dairy alternative|t||Oatly
Oatly-Oat-Milk|Oatly oat milk|oat milk|dairy alternative|e||Oatly
Arla-Ecological-Sour-Cream|Arla organic sour cream|sour cream|dairy|t||Arla
Arla-Sour-Cream|Arla sour cream|sour cream|dairy|n||Arla
Arla-Sour-Milk|Arla sour milk|sour milk|dairy|t||Arla
Alpro-Blueberry-Soyghurt|Alpro blueberry soy yogurt|soy yogurt|dairy alternative|t||Alpro
Alpro-Vanilla-Soyghurt|Alpro vanilla soy yogurt|soy yogurt|dairy alternative|n||Alpro
Alpro-Fresh-Soy-Milk|Alpro fresh soy milk|soy milk|dairy alternative|e||Alpro
Alpro-Shelf-Soy-Milk|Alpro long-life soy milk|soy milk|dairy alternative|n||Alpro
Arla-Mild-Vanilla-Yoghurt|Arla mild vanilla yogurt|yogurt|dairy|e||Arla
Arla-Natural-Mild-Low-Fat-Yoghurt|Arla low-fat yogurt|yogurt|dairy|e||Arla
Arla-Natural-Yoghurt|Arla natural yogurt|yogurt|dairy|n||Arla
Valio-Vanilla-Yoghurt|Valio vanilla yogurt|yogurt|dairy|e||Valio
Yoggi-Strawberry-Yoghurt|Yoggi strawberry yogurt|yogurt|dairy|e||Yoggi
Yoggi-Vanilla-Yoghurt|Yoggi vanilla yogurt|yogurt|dairy|e||Yoggi
Asparagus|asparagus|asparagus|vegetable|t|green|
Aubergine|eggplant|eggplant|vegetable|e|purple|
Cabbage|cabbage|cabbage|vegetable|t||
Carrots|carrot|carrot|vegetable|e|orange|
Cucumber|cucumber|cucumber|vegetable|n|green|
Garlic|garlic|garlic|vegetable|e|white|
Ginger|ginger|ginger|vegetable|t|brown|
Leek|leek|leek|vegetable|t|green|
Brown-Cap-Mushroom|brown mushroom|mushroom|vegetable|e|brown|
Yellow-Onion|yellow onion|onion|vegetable|n||
Green-Bell-Pepper|green bell pepper|bell pepper|vegetable|e|green|
Orange-Bell-Pepper|orange bell pepper|bell pepper|vegetable|e|orange|
Red-Bell-Pepper|red bell pepper|bell pepper|vegetable|n|red|
Yellow-Bell-Pepper|yellow bell pepper|bell pepper|vegetable|e|yellow|
Floury-Potato|floury potato|potato|vegetable|t|brown|
Solid-Potato|waxy potato|potato|vegetable|n|brown|
Sweet-Potato|sweet potato|potato|vegetable|t||
Red-Beet|beet|beet|vegetable|t|purple|
Beef-Tomato|beef tomato|tomato|vegetable|t|red|
Regular-Tomato|round tomato|tomato|vegetable|t|red|
Vine-Tomato|vine tomato|tomato|vegetable|n|red|
Zucchini|zucchini|zucchini|vegetable|e|green|
"""

#: Other everyday words for a name, for judging sentences.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "cantaloupe": ("cantaloupe melon", "cantaloup"),
    "Galia melon": ("Galia",),
    "honeydew melon": ("honeydew",),
    "watermelon": ("water melon",),
    "Anjou pear": ("Anjou",),
    "Conference pear": ("Conference",),
    "Kaiser pear": ("Kaiser",),
    "kiwi": ("kiwi fruit", "kiwifruit"),
    "avocado": ("avocado pear",),
    "passion fruit": ("passionfruit",),
    "red grapefruit": ("ruby grapefruit",),
    "grapefruit": ("red grapefruit",),
    "satsuma": ("mandarin", "mandarin orange", "tangerine", "clementine", "satsuma orange"),
    "God Morgon orange grapefruit juice": ("God Morgon orange red grapefruit juice",),
    "Tropicana smooth orange juice": ("Tropicana smooth juice",),
    "Tropicana golden grapefruit juice": ("Tropicana golden grapefruit",),
    "Tropicana mandarin juice": ("Tropicana mandarin morning",),
    "Arla organic medium-fat milk": ("Arla ecological medium-fat milk",),
    "Arla lactose-free milk": ("Arla lactose-free medium-fat milk",),
    "Arla whole milk": ("Arla standard milk",),
    "Garant organic medium-fat milk": ("Garant ecological medium-fat milk",),
    "Garant organic whole milk": ("Garant organic standard milk",),
    "Arla natural yogurt": ("Arla plain yogurt",),
    "Arla low-fat yogurt": ("Arla mild low-fat yogurt", "Arla natural mild low-fat yogurt"),
    "yogurt": ("yoghurt",),
    "oat yogurt": ("oat yoghurt", "oatghurt", "oatgurt"),
    "soy yogurt": ("soy yoghurt", "soyghurt", "soya yogurt", "soya yoghurt"),
    "oat milk": ("oat drink",),
    "soy milk": ("soya milk", "soymilk", "soy drink", "soya drink"),
    "sour cream": ("soured cream",),
    "sour milk": ("soured milk", "filmjölk"),
    "juice": (
        *("fruit juice", "apple juice", "orange juice", "grapefruit juice", "mandarin juice"),
        *("red grapefruit juice", "golden grapefruit juice", "orange grapefruit juice"),
    ),
    "eggplant": ("aubergine",),
    "zucchini": ("courgette",),
    "beet": ("beetroot", "red beet"),
    "brown mushroom": ("brown cap mushroom", "chestnut mushroom"),
    "bell pepper": ("sweet pepper", "pepper"),
    "green bell pepper": ("green pepper",),
    "orange bell pepper": ("orange pepper",),
    "red bell pepper": ("red pepper",),
    "yellow bell pepper": ("yellow pepper",),
    "floury potato": ("mealy potato", "baking potato"),
    "waxy potato": ("firm potato", "solid potato"),
    "beef tomato": ("beefsteak tomato",),
    "round tomato": ("regular tomato", "common tomato"),
    "vine tomato": ("tomato on the vine",),
    "vegetable": ("veg", "veggie"),
    "drink": ("beverage",),
    "dairy": ("dairy product", "dairy food"),
    "dairy alternative": ("milk alternative", "plant-based alternative", "dairy-free alternative"),
    "can": ("tin",),
}


@dataclass(frozen=True)
class Product:
    """A product with its everyday names at each level. colour, brand: empty where it has none that
    is certain; a product with a brand is packed in a carton, the others lie loose."""

    key: str  # its class in GroceryStoreDataset
    name: str
    kind: str
    group: str
    split: Split
    colour: str
    brand: str


@lru_cache(maxsize=1)
def products() -> tuple[Product, ...]:
    """All products, in the data set's order."""
    rows = (line.split("|") for line in _TABLE.strip().splitlines())
    return tuple(Product(k, n, kd, g, _SPLITS[s], c, b) for k, n, kd, g, s, c, b in rows)


@lru_cache(maxsize=1)
def _by_key() -> dict[str, Product]:
    return {product.key: product for product in products()}


def product(key: str) -> Product:
    """The product of a class. Raises `InputError`, naming the nearest."""
    if key not in _by_key():
        raise InputError(f"there is no product '{key}'{nearest_names(key, _by_key())}")
    return _by_key()[key]


def of_kind(kind: str) -> tuple[Product, ...]:
    """The products of a kind, in order."""
    return tuple(p for p in products() if p.kind == kind)


def kinds() -> tuple[str, ...]:
    """All kinds, in order of appearance."""
    return tuple(dict.fromkeys(p.kind for p in products()))


def brands() -> tuple[str, ...]:
    """All brands, in order of appearance."""
    return tuple(dict.fromkeys(p.brand for p in products() if p.brand))
