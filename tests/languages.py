"""The same answer in twelve languages and more, written in several ways, beside other answers that
differ in nothing but a mark, a sign or a letter that looks alike."""

from __future__ import annotations

from typing import NamedTuple


class Language(NamedTuple):
    """same: one answer, written in several ways; others: other answers than it, and than each
    other; question, reworded: a question about a picture, and another wording of it; width: columns
    that the first of `same` takes on a terminal."""

    name: str
    same: tuple[str, ...]
    others: tuple[str, ...]
    question: str
    reworded: str
    width: int


LANGUAGES = (
    Language(
        "French",
        ("déjà vu", "de\u0301ja\u0300 vu", "Déjà vu.", "« déjà vu »"),
        ("deja vu", "déja vu"),
        "Qu'est-ce que c'est ?",
        "Que voit-on ici, qu'est-ce ?",
        7,
    ),
    Language(
        "German",
        ("Maße", "MAẞE", "„Maße“", "maße."),
        ("Masse", "Mase", "Masse"[:3]),
        "Was ist das?",
        "Was siehst du hier?",
        4,
    ),
    Language(
        "Turkish",
        ("ışık", "ışık.", "ıs\u0327ık"),
        ("işik", "isik", "ışik"),
        "Bu ne?",
        "Bu nedir?",
        4,
    ),
    Language(
        "Russian",
        ("сова", "СОВА", "«Сова»."),
        ("софа", "coва", "сбва"),  # the second with a Latin "co"
        "Что это?",
        "Что это такое?",
        4,
    ),
    Language(
        "Vietnamese",
        ("con cú", "con cu\u0301", "CON CÚ."),
        ("con cu", "con cụ", "con củ"),
        "Đây là gì?",
        "Cái này là gì?",
        6,
    ),
    Language(
        "Arabic",
        ("بومة", "بومة.", "\u200fبومة\u200f", "\ufe91\ufeee\ufee3\ufe94"),
        ("بومه", "نومة", "بُومة"),
        "ما هذا؟",
        "ما هذا الشيء؟",
        4,
    ),
    Language(
        "Persian",
        ("می‌خواهم", "می‌خواهم.", "\u202bمی‌خواهم\u202c"),
        ("میخواهم", "می خواهم", "مي‌خواهم"),
        "این چیست؟",
        "این چیز چیست؟",
        7,
    ),
    Language(
        "Hebrew",
        ("שָׁלוֹם", "ש\u05c1\u05b8לו\u05b9ם", "\ufb2a\u05b8ל\ufb4bם"),
        ("שלום", "שָׂלוֹם"),
        "מה זה?",
        "מה זה כאן?",
        4,
    ),
    Language(
        "Hindi",
        ("कि", "कि।", "कि ।"),
        ("का", "की", "क", "क्", "कि५"),
        "यह क्या है?",
        "यह चीज़ क्या है?",
        1,
    ),
    Language(
        "Bengali",
        ("কো", "ক\u09c7\u09be", "কো।"),
        ("কে", "কা", "ক"),
        "এটা কী?",
        "এটা কী জিনিস?",
        1,
    ),
    Language(
        "Thai",
        ("เสื้อ", " เสื้อ "),
        ("เสือ", "เสื่อ"),  # a coat, a tiger, a mat
        "นี่คืออะไร",
        "สิ่งนี้คืออะไร",
        3,
    ),
    Language(
        "Chinese",
        ("猫头鹰", "猫头鹰。", "「猫头鹰」", "猫头鹰｡"),
        ("猫头", "貓頭鷹", "猫头鹰五"),
        "这是什么？",
        "图中这是什么？",
        6,
    ),
    Language(
        "Japanese",
        ("ガ", "ｶﾞ", "カ\u3099", "ガ。"),
        ("カ", "が", "力"),  # the last is the character for strength
        "これは何ですか？",
        "ここに写っているのは何ですか？",
        2,
    ),
    Language(
        "Korean",
        ("한국", "\u1112\u1161\u11ab\u1100\u116e\u11a8", "한국."),
        ("한극", "하국"),
        "이것은 무엇입니까?",
        "여기 있는 것은 무엇입니까?",
        4,
    ),
)
