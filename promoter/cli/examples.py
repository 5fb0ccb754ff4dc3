"""Examples at the end of each command's help: what people type, by the name of the command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

EXAMPLES: Mapping[str, Sequence[str]] = {
    "": (
        "promoter status",
        "promoter promote churn@champion --to production",
        "promoter -C ~/gitops -v status production",
        "promoter help promote",
    ),
    "status": ("promoter status", "promoter status production -o json", "promoter status --watch --differing"),
    "plan": ("promoter plan churn@champion --to production", "promoter plan churn:7 --to staging --no-render"),
    "gates": ("promoter gates production", "promoter gates production churn:7 -o json"),
    "promote": (
        "promoter promote churn@champion --to production",
        "promoter promote churn:7 --to staging --dry-run",
        "promoter promote churn:7 --to staging --no-watch -o json",
    ),
    "watch": ("promoter watch production", "promoter watch production --commit 0123abc --no-restore"),
    "rollback": ("promoter rollback production", "promoter rollback production --to 6 --yes"),
    "reject": (
        "promoter reject churn:7 --reason 'labels are mixed up'",
        "promoter reject churn:7 --lift --reason 'it was the test data'",
    ),
    "freeze": (
        "promoter freeze production --until 2h --reason 'the shop is full'",
        "promoter freeze --all --reason 'the week of Black Friday'",
    ),
    "thaw": ("promoter thaw production",),
    "where": ("promoter where churn", "promoter where churn:7 -o json"),
    "diff": ("promoter diff staging production", "promoter diff staging production --model churn -o json"),
    "verify": ("promoter verify production", "promoter verify registry.example.com/models/churn:v7-20261122093000 -o json"),
    "open": ("promoter open production", "promoter open production mlflow", "promoter open staging pr --no-browser"),
    "report": ("promoter report --out report.html", "promoter report --env production --since 90d --records --out report.html"),
    "history": ("promoter history production", "promoter history --model churn --reason", "promoter history --all -o json"),
    "model": ("promoter model churn@champion", "promoter model churn:7 --digest -o json"),
    "image": ("promoter image churn@champion", "promoter image churn:7 --explain"),
    "changed": ("promoter changed", "promoter changed --since 0123abc -o json"),
    "reconcile": ("promoter reconcile", "promoter reconcile staging --repo https://github.com/team/gitops.git"),
    "notify": ("promoter notify test",),
    "notify test": ("promoter notify test", "promoter notify test -o json"),
    "webhook": ("promoter webhook serve --secret-file secret", "promoter webhook list"),
    "webhook serve": (
        "promoter webhook serve --secret-file secret",
        "promoter webhook serve --repo https://github.com/team/gitops.git --host 0.0.0.0 --secret-file secret",
    ),
    "webhook register": ("promoter webhook register https://promoter.example.com/mlflow --secret-file secret",),
    "webhook list": ("promoter webhook list", "promoter webhook list -o json"),
    "webhook test": ("promoter webhook test", "promoter webhook test promoter -o json"),
    "webhook delete": ("promoter webhook delete", "promoter webhook delete promoter"),
    "init": (
        "promoter init --model churn --registry registry.example.com/models",
        "promoter init --add-model fraud --registry registry.example.com/models",
        "promoter init --diff",
    ),
    "check": ("promoter check", "promoter check --offline", "promoter check staging -o json"),
    "schema": ("promoter schema > promoter.schema.json",),
    "completion": (
        "promoter completion bash > ~/.local/share/bash-completion/completions/promoter",
        "promoter completion fish > ~/.config/fish/completions/promoter.fish",
    ),
    "version": ("promoter version", "promoter version -o json"),
    "help": ("promoter help", "promoter help webhook serve"),
    "demo": ("promoter demo", "promoter demo --folder /tmp/story"),
}
