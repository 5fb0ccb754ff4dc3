"""Values as people read them on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from promoter.models import Blob, Role, columns
from promoter.output import size, table

if TYPE_CHECKING:
    from promoter.commands.changed import Changed
    from promoter.commands.freeze import Frozen
    from promoter.commands.gates import Asked
    from promoter.commands.image import Publication, Reasons
    from promoter.commands.model import Facts
    from promoter.commands.plan import Plan
    from promoter.commands.promote import Outcome
    from promoter.commands.reconcile import Reconciled
    from promoter.commands.reject import Rejected, Rejection
    from promoter.commands.rollback import Rollback
    from promoter.model_registry import Webhook
    from promoter.models import Ruling, Signature
    from promoter.notify.notifier import Tested
    from promoter.promotion.checks import Check
    from promoter.promotion.ending import Ending, Opened
    from promoter.webhook.register import Registered, Sent


def model_text(facts: Facts) -> str:
    version = facts.version
    rows = [
        ("model", version.name),
        ("version", version.version),
        ("aliases", ", ".join(version.aliases)),
        ("stage", version.stage or ""),
        ("created", f"{version.created:%Y-%m-%d %H:%M:%S} UTC"),
        ("run", version.run_id or ""),
        ("logged model", version.model_id or ""),
        ("files", f"{len(version.files)}, {size(version.size)} in {version.artifact_uri}"),
        ("content digest", facts.content_digest or "not known: no image holds it yet; --digest computes it"),
        ("image", facts.image.reference if facts.image else f"none found; its tag will be {facts.tag}"),
        ("flavors", ", ".join(version.flavors)),
        *_signature_rows(version.signature),
        *checks_rows(facts.checks),
        ("metrics", ", ".join(f"{name} {value:g}" for name, value in sorted(version.metrics.items()))),
        ("tags", ", ".join(f"{name}={value}" for name, value in sorted(version.tags.items()))),
        ("requirements", ", ".join(version.requirements)),
        ("description", version.description),
    ]
    return table([(name, value) for name, value in rows if value])


def publication_text(publication: Publication) -> str:
    image = publication.image
    rows = [
        ("model", f"{publication.model} version {publication.version}"),
        ("repository", image.repository),
        ("tag", image.tag),
        ("digest", image.digest),
        ("content digest", image.content_digest),
        ("size", f"{size(publication.total_size)}, of which {size(image.size)} are the model's layer"),
        ("published", _published(publication)),
        *((f"  {role}", _origins([blob for blob in image.blobs if blob.role is role])) for role in Role),
        ("sent", size(publication.sent)),
    ]
    return table([(name, value) for name, value in rows if value]) + "\n"


def reasons_text(reasons: Reasons) -> str:
    what = f"{reasons.model} version {reasons.version} in {reasons.repository}"
    return "\n".join([what, *(f"  {reason}" for reason in reasons.reasons)]) + "\n"


def plan_text(plan: Plan) -> str:
    from promoter.promotion.checks import checks

    heading = f"{plan.version.name} version {plan.version.version} to {plan.environment.name}"
    if plan.already_there:
        return f"{heading}: already there, nothing to change\n"
    rows = [(change.key, f"{change.old or '(none)'} → {change.new}") for change in plan.changes]
    parts = [f"{heading}, on top of {plan.commit[:10]} of {plan.environment.application.target_revision}", table(rows)]
    if plan.workloads:
        parts.append(f"watched: {', '.join(plan.workloads)}")
    parts += [rulings_text(plan.gates), table(checks_rows(checks(plan.version)))]
    if plan.render_warnings:
        parts.append("\n".join(f"warning: {warning}" for warning in plan.render_warnings))
    if plan.diff:
        parts.append(plan.diff)
    if plan.rendered is None:
        parts.append("What it renders to is not shown: neither kustomize nor kubectl was used.")
    elif plan.rendered:
        parts.append(plan.rendered)
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def gates_text(asked: Asked) -> str:
    """What every gate decided about one version."""
    allowed = "may be deployed" if asked.allowed else "is refused"
    heading = f"{asked.model} version {asked.version} in {asked.environment}: {allowed}"
    return f"{heading}\n{rulings_text(asked.gates)}\n"


def rulings_text(rulings: Sequence[Ruling]) -> str:
    """A line for each ruling."""
    width = max((len(one.result) for one in rulings), default=0)
    return table([(f"{one.result:<{width}}  {one.name}", one.detail) for one in rulings])


def checks_rows(checks: Sequence[Check]) -> list[tuple[str, str]]:
    """What is checked once the version is served."""
    return [(f"check: {one.name}", one.detail) for one in checks]


def outcome_text(outcome: Outcome) -> str:
    release = outcome.release
    what = f"{release.model} version {release.version}"
    if outcome.pull_request is not None:
        return opened_text(outcome.pull_request)
    if outcome.commit is None:
        return f"{what} is already there in {outcome.environment}: no commit\n"
    return f"{what} is committed to {outcome.environment}: {outcome.commit}\n"


def opened_text(opened: Opened | None) -> str:
    if opened is None:
        return "already there: nothing to propose\n"
    lines = [f"{opened.done} {opened.url}: {opened.title}"]
    if opened.supersedes is not None:
        lines.append(f"it supersedes pull request {opened.supersedes}")
    return "\n".join([*lines, *opened.notes]) + "\n"


def ending_text(ending: Ending) -> str:
    release = ending.release
    lines = [
        f"{release.model} version {release.version} in {ending.environment}: {ending.verdict.kind}. {ending.verdict.summary}"
    ]
    if ending.restored:
        lines.append(f"Git is restored by {ending.restored}")
    if ending.note:
        lines.append(ending.note)
    return "\n".join(lines) + "\n"


def rollback_text(planned: Rollback) -> str:
    current, target = planned.current, planned.target
    rows = [
        ("model version", f"{current.release.version} → {target.release.version}"),
        ("image", f"{current.release.image} → {target.release.image}"),
        ("as committed", f"{target.commit.when:%Y-%m-%d %H:%M:%S} UTC by {target.commit.author}: {target.commit.sha[:10]}"),
    ]
    return f"{target.release.model} in {planned.environment.name}\n{table(rows)}"


def already_text(planned: Rollback) -> str:
    """Where an earlier run made the commit."""
    current, name = planned.current, planned.environment.name
    since = f"since {current.commit.sha[:10]} ({current.commit.when:%Y-%m-%d %H:%M} UTC)"
    undone = f", rolled back from version {planned.undone}" if planned.undone else ""
    return (
        f"{name} deploys version {current.release.version}{undone}, {since}: nothing to commit\n"
        f"to go back further, name a version: promoter rollback {name} --to VERSION"
    )


def rejection_text(planned: Sequence[Rejection]) -> str:
    """What it means in each environment."""
    rows = [(f"{one.environment.name} {one.environment.model.name}:{one.version}", _decided(one)) for one in planned]
    return table(rows)


def _decided(one: Rejection) -> str:
    if one.already:
        return "is not rejected: nothing to commit" if one.lift else "is rejected already: nothing to commit"
    if one.lift:
        return "may be deployed again"
    if one.target is not None:
        return f"is deployed there: back to version {one.target.release.version} ({one.target.release.image})"
    return "is deployed there and stays: no release before it" if one.current else "will not be deployed"


def rejected_text(done: Sequence[Rejected]) -> str:
    """What was written, and what to do where a release comes back."""
    lines = []
    for one in done:
        lines.append(f"{one.environment}: {one.outcome}")
        if one.back_to and one.commit:
            lines.append(f"  watch it come back: promoter watch {one.environment} --model {one.model}")
    return "\n".join(lines) + "\n"


def frozen_text(done: Sequence[Frozen]) -> str:
    """How each environment stands now."""
    return table([(f"{one.environment} {one.model}", one.outcome) for one in done]) + "\n"


def reconciled_text(done: Sequence[Reconciled]) -> str:
    return table([(f"{one.environment} {one.model}", f"{one.action}: {one.detail}") for one in done]) + "\n"


def changed_text(found: Sequence[Changed]) -> str:
    """A line for each, to be read by a shell: nothing but names."""
    return "".join(f"{one.environment} {one.model}\n" for one in found)


def webhook_text(registered: Registered) -> str:
    done = "registered" if registered.created else "updated"
    lines = [f"{done} {registered.webhook.name} ({registered.webhook.id}): {registered.webhook.url}"]
    return "\n".join([*lines, *(f"warning: {warning}" for warning in registered.warnings)]) + "\n"


def webhooks_text(webhooks: Sequence[Webhook]) -> str:
    if not webhooks:
        return "MLflow has no webhooks\n"
    rows = [
        (one.name, f"{one.url}  {'active' if one.active else 'DISABLED'}  {', '.join(one.events)}  {one.id}")
        for one in webhooks
    ]
    return table(rows) + "\n"


def tested_text(sent: Sent) -> str:
    hint = f"hint: {sent.hint}\n" if sent.hint else ""
    return f"{'delivered' if sent.success else 'NOT delivered'}: {sent.detail}\n{hint}"


def told_text(tested: Sequence[Tested]) -> str:
    return table([(one.channel, f"{'sent' if one.sent else 'NOT sent'}: {one.detail}") for one in tested]) + "\n"


def _published(publication: Publication) -> str:
    image = publication.image
    if image.copied_from:
        return f"now, copied from {image.copied_from}"
    return "already" if image.reused else "now"


def _origins(blobs: Sequence[Blob]) -> str:
    """`3 mounted (56.0 MB), 1 sent (1.2 kB)`"""
    origins = {blob.origin: [one.size for one in blobs if one.origin is blob.origin] for blob in blobs}
    return ", ".join(f"{len(sizes)} {origin} ({size(sum(sizes))})" for origin, sizes in origins.items())


def _signature_rows(signature: Signature | None) -> list[tuple[str, str]]:
    if signature is None:
        return []
    return [("takes", _specs(signature.inputs)), ("gives", _specs(signature.outputs)), ("params", _specs(signature.params))]


def _specs(specs: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{name}: {kind}" if name else kind for name, kind in columns(specs))
