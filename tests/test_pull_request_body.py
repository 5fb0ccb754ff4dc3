"""What a pull request contains: every fact it has, nothing that Markdown would act on, and never more than the forge takes."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from promoter.models import Application, Environment, Model, ModelVersion, OnFailure, Release, Result, Ruling, Signature
from promoter.promotion.pull_request_body import Facts, code, fenced, going_back, promotion, restoration

AMOUNT, SMALL = {"name": "amount", "type": "double"}, {"name": "amount", "type": "float"}
COUNTRY = {"name": "country", "type": "string"}
WHERE = Application("shop", "default", "argocd", "https://github.com/org/gitops.git", "overlays/production", "main")


def environment(on_failure: OnFailure = OnFailure.RESTORE) -> Environment:
    return Environment(
        "production", Model("fraud", "r.example.com/fraud", "fraud", "release.yaml"), WHERE, on_failure=on_failure
    )


def release(version: str) -> Release:
    return Release(
        "fraud", version, f"sha256:{version * 64}", "r.example.com/fraud", f"v{version}-20261101", f"sha256:{version * 64}"
    )


def version(number: str, metrics: dict[str, float] | None = None, inputs: tuple[dict[str, str], ...] = ()) -> ModelVersion:
    signature = Signature(inputs=inputs) if inputs else None
    created = datetime(2026, 11, 1, tzinfo=UTC)
    return ModelVersion("fraud", number, created, "s3://b", (), f"run{number}", metrics=metrics or {}, signature=signature)


def facts(**changes: object) -> Facts:
    given: dict[str, object] = {
        "environment": environment(),
        "before": release("7"),
        "after": release("8"),
        "version": version("8", {"auc": 0.93, "recall": 0.5}, (SMALL, COUNTRY)),
        "live": version("7", {"auc": 0.91}, (AMOUNT,)),
        "image_size": 12_300_000,
        "gates": (
            Ruling("quarantine", "", Result.PASSED, "not quarantined in production"),
            Ruling("metrics", "val/f1 | macro", Result.PASSED, "is 0.93, >= 0.9"),
        ),
        "built": True,
        "warnings": ("auto-sync is off: somebody must sync",),
        "diff": "-  newTag: v7\n+  newTag: v8\n",
        "rendered": "-  image: v7\n+  image: v8\n",
    }
    return Facts(**given | changes)  # type: ignore[arg-type]


def test_everything_that_is_known() -> None:
    body = promotion(facts(), 65_536)
    assert body.startswith("`fraud` in `production`: version `7` → **version `8`**")
    for line in (
        "| tag | `v7-20261101` | `v8-20261101` |",
        "| image size |  | 12.3 MB |",
        "| metric | live (`7`) | new (`8`) | change |",
        "| `auc` | 0.91 | 0.93 | +0.02 |",
        "| `recall` |  | 0.5 |  |",
        "- input `amount`: `double` → `float`",
        "- input `country`: absent → `string`",
        "| ✅ passed | `quarantine` | `not quarantined in production` |",
        "| ✅ passed | `metrics val/f1 \\| macro` | `is 0.93, >= 0.9` |",
        "- the overlay builds",
        "- warning: `auto-sync is off: somebody must sync`",
        "`promoter rollback production --model fraud --to 7`",
        "promoter commits the release that was stable back",
        "+  newTag: v8",
        "+  image: v8",
    ):
        assert line in body, line


def test_sections_appear_when_their_facts_exist() -> None:
    bare = facts(
        before=None, live=None, version=version("8"), image_size=0, gates=(), built=False, warnings=(), diff="", rendered=None
    )
    body = promotion(bare, 65_536)
    assert "no version → **version `8`**" in body
    assert re.findall(r"^### .*", body, re.MULTILINE) == ["### What happens on merge"]
    assert "<details>" not in body


def test_a_signature_that_stayed() -> None:
    same = (AMOUNT,)
    body = promotion(facts(version=version("8", inputs=same), live=version("7", inputs=same)), 65_536)
    assert "The same as what is live." in body


@pytest.mark.parametrize(
    ("on_failure", "words"),
    [(OnFailure.PULL_REQUEST, "opens an urgent pull request"), (OnFailure.HOLD, "Git stays as it is")],
)
def test_what_happens_on_merge(on_failure: OnFailure, words: str) -> None:
    assert words in promotion(facts(environment=environment(on_failure)), 65_536)


@pytest.mark.parametrize("room", [100, 1_000, 3_200, 10_000, 65_000])
def test_it_is_never_longer_than_there_is_room_for(room: int) -> None:
    many = {f"metric_{number}": 0.5 for number in range(300)}
    long = "".join(f"+ line {number} `of` many\n" for number in range(20_000))
    body = promotion(facts(version=version("8", many), diff=long, rendered=long), room)
    assert len(body) <= room
    assert body.startswith("`fraud` in `production`")
    assert body.count("<details>") == body.count("</details>")
    if room > 3_000:
        assert "more lines are not shown here" in body
        assert "How to roll back" in body


HOSTILE = "@everyone <img src=x onerror=alert(1)> [x](http://evil) #1 | `rm` \n\n# Approved\n```"


def test_what_others_wrote_is_never_markdown() -> None:
    """Metric names, versions, messages and diffs stand in code: outside of it nothing of them is left."""
    hostile = facts(
        version=version("8", {HOSTILE: 1.0}, ({"name": HOSTILE, "type": HOSTILE},)),
        warnings=(HOSTILE,),
        diff=f"+{HOSTILE}\n",
        gates=(Ruling("metrics", HOSTILE, Result.REFUSED, HOSTILE),),
    )
    evidence = (HOSTILE, f"again {HOSTILE}")
    for body in (
        promotion(hostile, 65_536),
        restoration(environment(), release("8"), release("7"), evidence, f"+{HOSTILE}\n", 65_536),
    ):
        outside = re.sub(r"`[^`\n]*`", "", re.sub(r"^(`{3,})\w*\n.*?^\1$", "", body, flags=re.MULTILINE | re.DOTALL))
        assert "everyone" not in outside
        assert "evil" not in outside
        assert "# Approved" not in outside


def test_credentials_of_an_address_never_get_there() -> None:
    body = promotion(facts(warnings=("https://user:secret@example.com/x does not answer",)), 65_536)
    assert "secret" not in body


def test_a_fence_is_longer_than_what_it_holds() -> None:
    assert fenced("a\n````\nb", "diff") == "`````diff\na\n````\nb\n`````"
    assert code("a `b` | c\nd") == "`a 'b' \\| c d`"
    assert code("") == ""


def test_a_restore_reports_why() -> None:
    evidence = ("the analysis failed", "metric success-rate Failed, measured 0.4 (2 times)")
    body = restoration(environment(), release("8"), release("7"), evidence, "-a\n+b\n", 4_000)
    assert "**version `8` failed**, the cluster runs version `7`, and Git still says `8`." in body
    assert "metric success-rate Failed, measured 0.4" in body
    assert "returns to the stable ReplicaSet at once" in body
    assert len(body) <= 4_000


def test_a_rollback_reports_from_where_to_where() -> None:
    assert "back from version `8` to **`7`**" in going_back(environment(), release("8"), release("7"), "-a\n", 4_000)
