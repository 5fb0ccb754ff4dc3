"""A fixed small part of the table of faults; `make soak` runs the rest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults import table as faults
from tests.faults.table import FAULTS, ROWS, Cell, Table, chosen
from tests.support.mlflow_server import MlflowServer

CELLS = (
    Cell("promote", "answer of git push 1", "kill -9"),
    Cell("promote", "during git push 1", "kill -9"),
    Cell("promote", "before git push 1", "second promoter"),
    Cell("promote", "answer of git push 1", "lost answer"),
    Cell("promote", "before git push 1", "person's commit"),
    Cell("promote", "after git commit-tree 1", "disk full"),
    Cell("promote", "after kustomize build 1", "kill -9"),
    Cell("promote, aborted", "before git push 2", "kill -9"),
    Cell("promote by pull request", "before POST repository/pulls 1", "kill -9"),
    Cell("promote by pull request, merged", "before git push 1", "second promoter"),
    Cell("rollback", "answer of git push 1", "kill -9"),
    Cell("rollback", "answer of git push 1", "force-push"),
    Cell("rollback by pull request, merged", "answer of git push 1", "SIGTERM"),
    Cell("reject", "answer of git push 1", "kill -9"),
    Cell("freeze", "answer of git push 1", "lost answer"),
    Cell("reconcile, aborted", "answer of git push 1", "kill -9"),
    Cell("reconcile, alias moved", "before git push 1", "clock behind"),
    Cell("watch, aborted", "before git push 1", "stdout gone"),
    Cell("watch, restored by pull request", "answer of POST repository/pulls 1", "lost answer"),
    Cell("watch, restored by pull request", "before POST repository/pulls 1", "second promoter"),
    Cell("image", "answer of GET artifacts/weights.bin 1", "SIGTERM"),
)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory, mlflow_server: MlflowServer) -> Iterator[Table]:
    if not faults.runnable():
        pytest.skip("needs to mount a small file system in a namespace of its own")
    with faults.table(tmp_path_factory.mktemp("faults"), mlflow_server) as one:
        yield one


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_a_fault_in_a_gap(table: Table, cell: Cell) -> None:
    if cell.fault.startswith("clock") and not table.has_clock:
        pytest.skip("needs a C compiler")
    assert table.problems(cell, passing=True) == []


def test_the_cells_are_of_the_table() -> None:
    names = {row.name for row in ROWS}
    assert {cell.row for cell in CELLS} == names - {"watch"}
    assert {cell.fault for cell in CELLS} == FAULTS.keys() - {"clock ahead"}


def test_gaps_that_are_chosen() -> None:
    passed = [
        "before git fetch 1",
        "answer of git fetch 1",
        "before git push 1",
        "answer of git push 1",
        "answer of git fetch 2",
    ]
    assert chosen([*passed, "before git push 2", "before git push 3"]) == [*passed[1:4], "before git push 2"]
