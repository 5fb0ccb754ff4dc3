"""How a command ended, as a pipeline shows it: one sentence, values for the next steps, and a page in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from promoter.errors import ExitCode, without_credentials
from promoter.models import Environment, Release, Step
from promoter.output import ci
from promoter.promotion.ending import MEANINGS
from promoter.promotion.pull_request_body import fenced, gates_table

if TYPE_CHECKING:
    from promoter.commands.freeze import Frozen
    from promoter.commands.gates import Asked
    from promoter.commands.group import GroupOutcome
    from promoter.commands.plan import Plan
    from promoter.commands.promote import Outcome
    from promoter.commands.reconcile import Reconciled
    from promoter.commands.reject import Rejected
    from promoter.promotion.ending import Ending


@dataclass(frozen=True, slots=True)
class Conclusion:
    """`sentence` becomes the annotation, `outputs` those of the step, `markdown` the page below it."""

    sentence: str
    exit_code: ExitCode
    outputs: Mapping[str, str]
    markdown: str = ""


def conclude(conclusion: Conclusion) -> None:
    """Reports to the pipeline that runs promoter, if one does."""
    ci.annotate(MEANINGS[conclusion.exit_code].level, conclusion.sentence)
    ci.outputs({**conclusion.outputs, "exit_code": str(int(conclusion.exit_code))})
    sign = "✅" if conclusion.exit_code is ExitCode.DONE else "❌"
    ci.summarize(f"### {sign} {ci.markdown(conclusion.sentence)}\n\n{conclusion.markdown}")


def planned(plan: Plan, text: str) -> Conclusion:
    """A plan that was only printed; `text` is what was."""
    release = f"{plan.version.name} version {plan.version.version}"
    what = "is already there" if plan.already_there else "would be promoted"
    outputs = {"environment": plan.environment.name, "model_name": plan.version.name, "model_version": plan.version.version}
    page = "\n\n".join((gates_table(plan.gates), fenced(text, "diff")))
    return Conclusion(f"{release} {what} in {plan.environment.name}", ExitCode.DONE, outputs, page)


def asked(asked: Asked) -> Conclusion:
    """What the gates decide about a version."""
    what = "may be deployed" if asked.allowed else "is refused by " + ", ".join(asked.refusing)
    outputs = {"environment": asked.environment, "model_name": asked.model, "model_version": asked.version}
    code = ExitCode.DONE if asked.allowed else ExitCode.REFUSED
    sentence = f"{asked.model} version {asked.version} {what} in {asked.environment}"
    return Conclusion(sentence, code, outputs, gates_table(asked.gates))


def committed(environment: Environment, outcome: Outcome) -> Conclusion:
    """A promotion that nobody here stays to watch."""
    what = f"{outcome.release.model} version {outcome.release.version}"
    if outcome.pull_request:
        opened = outcome.pull_request
        return proposed(environment, outcome.release, opened.url, f"{opened.done} {opened.url}")
    done = "is committed to" if outcome.commit else "is already there in"
    rows = [_image(outcome.release), *_commit("commit", environment, outcome.commit)]
    outputs = {**_release(environment, outcome.release), "commit": outcome.commit or ""}
    page = "\n\n".join((_table(rows), _steps(outcome.steps)))
    return Conclusion(f"{what} {done} {environment.name}", ExitCode.DONE, outputs, page)


def proposed(
    environment: Environment, release: Release, url: str, detail: str, exit_code: ExitCode = ExitCode.DONE
) -> Conclusion:
    """A release that is in a pull request, or did not get beyond it; `detail` states which."""
    sentence = f"{release.model} version {release.version} for {environment.name}: {detail}"
    return Conclusion(sentence, exit_code, {**_release(environment, release), "pull_request": url}, _table([_image(release)]))


def ended(environment: Environment, ending: Ending, steps: Sequence[Step] = ()) -> Conclusion:
    """A release that was watched to its end; `steps` are those of the promotion before it."""
    release, verdict = ending.release, ending.verdict
    rows = [
        _image(release),
        *_commit("commit", environment, ending.commit),
        *_commit("restored by", environment, ending.restored),
        *([("note", ci.markdown(ending.note))] if ending.note else []),
        ("exit code", f"{int(ending.exit_code)} ({ending.exit_code.name.lower().replace('_', ' ')})"),
    ]
    outputs = {
        **_release(environment, release),
        "commit": ending.commit,
        "verdict": str(verdict.kind),
        "restored": ending.restored or "",
    }
    evidence = "\n".join(f"- {ci.markdown(sentence)}" for sentence in verdict.evidence)
    page = "\n\n".join(part for part in (_table(rows), evidence, _steps(steps)) if part)
    sentence = f"{release.model} version {release.version} in {environment.name}: {verdict.kind}. {verdict.summary}"
    return Conclusion(sentence, ending.exit_code, outputs, page)


def grouped(outcome: GroupOutcome) -> Conclusion:
    """A promotion of a group, or how it went back."""
    rows = [(ci.markdown(f"wave {one.wave}: {one.environment}"), ci.markdown(one.detail)) for one in outcome.environments]
    outputs = {"environment": outcome.group, "model_name": outcome.model, "model_version": outcome.version}
    sentence = f"{outcome.model} version {outcome.version} in {outcome.group}: {outcome.detail}"
    return Conclusion(sentence, outcome.exit_code, outputs, _table(rows))


def reconciled(done: Sequence[Reconciled], exit_code: ExitCode) -> Conclusion:
    rows = [(ci.markdown(f"{one.environment} {one.model}"), f"{one.action}: {ci.markdown(one.detail)}") for one in done]
    acted = [f"{one.environment} {one.model} {one.action}" for one in done if one.commit or one.exit_code]
    return Conclusion("reconciled: " + ("; ".join(acted) or "everything in sync"), exit_code, {}, _table(rows))


def rejected(done: Sequence[Rejected], reason: str, exit_code: ExitCode) -> Conclusion:
    """A version that a person does not want, in each environment; `reason` is that person's."""
    rows = [(ci.markdown(one.environment), ci.markdown(one.outcome)) for one in done]
    first = done[0]
    outputs = {"model_name": first.model, "model_version": first.version, "commit": first.commit or ""}
    outputs["pull_request"] = first.pull_request.url if first.pull_request else ""
    sentence = f"{first.model} version {first.version} in {', '.join(one.environment for one in done)}: {reason}"
    return Conclusion(sentence, exit_code, outputs, _table(rows))


def frozen(done: Sequence[Frozen], reason: str, exit_code: ExitCode) -> Conclusion:
    """Environments that a person froze or thawed; `reason` is that person's, "" for a thaw."""
    rows = [(ci.markdown(f"{one.environment} {one.model}"), ci.markdown(one.outcome)) for one in done]
    first = done[0]
    outputs = {"environment": first.environment, "model_name": first.model, "commit": first.commit or ""}
    outputs["pull_request"] = first.pull_request.url if first.pull_request else ""
    names = ", ".join(dict.fromkeys(one.environment for one in done))
    return Conclusion(f"freeze {names}: {reason}" if reason else f"thaw {names}", exit_code, outputs, _table(rows))


def _release(environment: Environment, release: Release) -> dict[str, str]:
    return {
        "environment": environment.name,
        "model_name": release.model,
        "model_version": release.version,
        "image": release.image,
    }


def _image(release: Release) -> tuple[str, str]:
    return "image", ci.markdown(release.image)


def _commit(name: str, environment: Environment, sha: str | None) -> list[tuple[str, str]]:
    """GitHub and Azure DevOps show a commit at the same path below the repository's address."""
    if not sha:
        return []
    url = quote(without_credentials(environment.application.repo_url.removesuffix(".git")), safe=":/%~")
    return [(name, f"[{sha[:10]}]({url}/commit/{sha})" if url.startswith("https://") else sha[:10])]


def _steps(steps: Sequence[Step]) -> str:
    rows = [(step.name, f"{step.status}, {step.seconds:.1f} s: {ci.markdown(step.detail)}") for step in steps]
    return _table(rows) if rows else ""


def _table(rows: Sequence[tuple[str, str]]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])
