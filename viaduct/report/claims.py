"""The claims this project puts to the test, in our words, and what a run says about each.

C01 to C20 are of arXiv 2005.13013 (C03 of 2003.11080); sections of the report add theirs. A claim about effects is
never decided by generated data, by replaced splits, or where a language, task, arm or seed is missing; then the verdict
is "cannot tell", with what is not there. The rules are in `setup_claims`, `effect_claims` and the rooms' sections.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from viaduct.errors import UsageError, unknown
from viaduct.report import effect_claims, setup_claims
from viaduct.report.evidence import ROLES, Claim, Evidence, Judgement, UndecidedError
from viaduct.report.section import sections
from viaduct.report.table import comparable
from viaduct.results.record import BASELINE, About, ResultRow
from viaduct.tasks.card import Task
from viaduct.tasks.catalogue import Catalogue


class ClaimLine(NamedTuple):
    """One claim and what this run says about it."""

    claim: Claim
    verdict: Judgement
    why: str
    """The numbers behind the verdict, or what is missing."""

    def dumped(self) -> dict[str, str]:
        """As it stands in claims.json."""
        one = self.claim
        said = {"claim": one.text, "source": one.source, "provenance": one.provenance, "kind": one.kind}
        return {**said, "verdict": self.verdict, "why": self.why, "decided_by": one.decided_by, "needs": one.needs}


def claims() -> tuple[Claim, ...]:
    """All claims in the order of the table: those of the literature, then those of sections."""
    literature = sorted((*setup_claims.CLAIMS, *effect_claims.CLAIMS), key=lambda claim: claim.id)
    return (*literature, *(claim for section in sections() for claim in section.claims))


def roles() -> dict[str, str]:
    """Role -> what an arm with it does, those of sections too."""
    return ROLES | {role: words for section in sections() for role, words in section.roles.items()}


def check_roles(about: About, given: Mapping[str, str] | None) -> dict[str, str]:
    """Arm -> role; None: the arms whose names are roles. Raises UsageError for unknown arms and roles, and for a role
    that two arms have."""
    known = roles()
    if given is None:
        return {arm: arm for arm in about.arms if arm in known}
    for arm, role in given.items():
        if arm not in about.arms:
            raise unknown("arm", arm, about.arms)
        if role not in known:
            raise unknown("role", role, known)
    doubled = sorted(role for role in set(given.values()) if list(given.values()).count(role) > 1)
    if doubled:
        arms = ", ".join(arm for arm, role in given.items() if role == doubled[0])
        raise UsageError(f"{arms} all have the role '{doubled[0]}'", fix="give each role to one arm")
    return dict(given)


def judge(
    about: About,
    rows: Sequence[ResultRow],
    given: Mapping[str, str] | None = None,
    *,
    choosing: Sequence[ResultRow] = (),
    facts: Mapping[str, Any] | None = None,
    cards: Iterable[Task] | None = None,
) -> tuple[ClaimLine, ...]:
    """Every claim with this run's verdict and the numbers behind it, in the order of the table.

    `given`: arm -> role (see `roles`); None: the arms whose names are roles. `choosing`: result rows of the same arms
    on dev splits (C12). `facts`: section -> what it found beside scores. Raises UsageError for arms and roles that do
    not exist and for a role given twice, and as `viaduct.report.table.comparable` for rows that cannot be compared.
    """
    arms = check_roles(about, given)
    baseline = next((arm for arm, role in arms.items() if role == BASELINE), BASELINE)
    of_encoder = [row for row in rows if row.encoder == about.encoder]
    compared = comparable(about, of_encoder, baseline) if of_encoder else []
    known = {card.name: card for card in (Catalogue.builtin() if cards is None else cards)}
    evidence = Evidence(about, compared, arms, known, choosing, facts or {}, roles())
    return tuple(_line(claim, evidence) for claim in claims())


def _line(claim: Claim, evidence: Evidence) -> ClaimLine:
    try:
        return ClaimLine(claim, *claim.rule(evidence))
    except UndecidedError as reason:
        return ClaimLine(claim, "cannot tell", str(reason))
