"""What the core itself offers through the doors: row kinds, and the cards of text data."""

from viaduct.doors import Room

CARDS = (
    "xnli:CARD", "pawsx:CARD", "udpos:CARD", "panx:CARD", "xquad:CARD", "mlqa:CARD", "tydiqa:CARD", "bucc:CARD",
    "tatoeba:CARD", "xcopa:CARD", "belebele:CARD", "afrixnli:CARD", "masakhaner:CARD", "mnli:CARD",
    "mnli:MISMATCHED", "snli:CARD", "anli:CARD", "anli:PLUS", "qqp:CARD", "qqp:BIMPM", "squad:CARD", "squad2:CARD",
    "hellaswag:CARD", "cosmosqa:CARD", "commonsenseqa:CARD", "ccg:CARD", "ccg_pmb:CARD", "xcopa:COPA",
    "belebele:RACE", "text:CARD", "ntrex:CARD",
)  # fmt: skip
"""Every card of text data, in the order in which they are listed: to add one, add a file and its name here."""

ROOM = Room("tasks", row_kinds=("viaduct.tasks.kind:KINDS",), cards=tuple(f"viaduct.tasks.{card}" for card in CARDS))
