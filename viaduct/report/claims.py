"""The claims this project puts to the test, in our words, and what a run says about each.

C01 to C25 come from arXiv 2005.13013 or our synthesis of it; sections of the report add their own. C03, C12, C15, C18
and C19 were dropped: they were properties of cards, which tests check anyway, or could not be decided. A claim about
effects is decided by the report's own contrasts, and never on generated data, on replaced splits, or if a language,
task, arm or seed is missing: the verdict is then "cannot tell", with what is missing. A claim that does not apply to a
run of this kind is judged but not listed. The rules are in `setup_claims`, `effect_claims` and the rooms' sections.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from viaduct.errors import UsageError, unknown
from viaduct.report import effect_claims, setup_claims
from viaduct.report.contrast import Contrasts
from viaduct.report.evidence import ROLES, Claim, Evidence, Judgement, UndecidedError, UnrelatedError
from viaduct.report.number import plural
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
    applies: bool = True
    """Whether the claim applies to such a run at all."""

    def dumped(self) -> dict[str, Any]:
        """The line as written to claims.json."""
        one = self.claim
        said = {"claim": one.text, "source": one.cited, "provenance": one.provenance, "kind": one.kind}
        found = {"verdict": self.verdict, "why": self.why, "applies": self.applies}
        return {**said, **found, "decided_by": one.decided_by, "needs": one.needs}


@dataclass(frozen=True)
class Judged:
    """All claims and what a run says about each."""

    lines: tuple[ClaimLine, ...]
    """In the order of the table."""

    @property
    def listed(self) -> tuple[ClaimLine, ...]:
        """The claims that apply to such a run."""
        return tuple(line for line in self.lines if line.applies)

    @property
    def left_out(self) -> str:
        """A sentence on how many other claims there are and why they do not apply; "" if there are none."""
        reasons: dict[str, list[str]] = {}
        for line in self.lines:
            if not line.applies:
                reasons.setdefault(line.why, []).append(line.claim.id)
        if not reasons:
            return ""
        count = sum(map(len, reasons.values()))
        words = "; ".join(f"{', '.join(ids)} ({why})" for why, ids in reasons.items())
        return f"{plural(count, 'claim')} left out as not applicable to such a run: {words}."


def claims() -> tuple[Claim, ...]:
    """All claims in the order of the table: those of the literature, then those of sections."""
    literature = sorted((*setup_claims.CLAIMS, *effect_claims.CLAIMS), key=lambda claim: claim.id)
    return (*literature, *(claim for section in sections() for claim in section.claims))


def pairs(given: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """(arm, against) pairs that claims need, besides each arm against the one named `none`; `given`: arm -> role."""
    arms = {role: arm for arm, role in given.items()}
    found = [pair for claim in claims() for pair in claim.pairs(arms)]
    baseline = arms.get(BASELINE, BASELINE)
    if baseline != BASELINE:
        found += [(arm, baseline) for arm in given if arm != baseline]
    return tuple(dict.fromkeys(found))


def roles() -> dict[str, str]:
    """Role -> what an arm with it does, including the roles that sections add."""
    return ROLES | {role: words for section in sections() for role, words in section.roles.items()}


def check_roles(about: About, given: Mapping[str, str] | None) -> dict[str, str]:
    """Arm -> role; None gives the arms whose names are roles. Raises UsageError for unknown arms and roles, and if two
    arms have the same role."""
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
    contrasts: Contrasts,
    given: Mapping[str, str] | None = None,
    *,
    facts: Mapping[str, Any] | None = None,
    cards: Iterable[Task] | None = None,
) -> Judged:
    """Every claim with this run's verdict and the numbers behind it.

    `contrasts`: the comparisons of the report, including those of `pairs`. `given`: arm -> role (see `roles`); None:
    the arms whose names are roles. `facts`: section -> its findings other than scores. Raises UsageError for unknown
    arms and roles and for a role given twice, and the errors of `viaduct.report.table.comparable` for rows that cannot
    be compared.
    """
    arms = check_roles(about, given)
    baseline = next((arm for arm, role in arms.items() if role == BASELINE), BASELINE)
    of_encoder = [row for row in rows if row.encoder == about.encoder]
    compared = comparable(about, of_encoder, baseline) if of_encoder else []
    known = {card.name: card for card in (Catalogue.builtin() if cards is None else cards)}
    evidence = Evidence(about, compared, contrasts, arms, known, facts or {}, roles())
    return Judged(tuple(_line(claim, evidence) for claim in claims()))


def _line(claim: Claim, evidence: Evidence) -> ClaimLine:
    try:
        return ClaimLine(claim, *claim.rule(evidence))
    except UndecidedError as reason:
        verdict: Judgement = "not known" if claim.kind == "setup" else "cannot tell"
        return ClaimLine(claim, verdict, str(reason), applies=not isinstance(reason, UnrelatedError))
