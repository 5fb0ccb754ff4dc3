"""Whatever one answer of a server is, a client ends with promoter's error or a value: no traceback, from any of them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.support.odd_answers import Answer, odd
from tests.support.odd_clients import CLIENTS

CASES = 60


def odd_case(folder: Path, client: str, seeds: range) -> int:
    """How many answers it had to choose from. Raises what is not promoter's error; its note has the seed and the answer."""
    with CLIENTS[client](folder) as (relay, ask):
        ask()
        answers = int(relay.count)
        assert answers, "the client asked nothing"
        for seed in seeds:
            chance = random.Random(seed)
            chosen, made = chance.randrange(answers), []

            def alter(number: int, answer: Answer) -> Answer:
                if number != chosen:  # noqa: B023 - called before the next seed
                    return answer
                made.append(odd(answer, chance))  # noqa: B023 - as above
                return made[-1]  # noqa: B023 - as above

            relay.begin(alter)
            try:
                ask()
            except Exception as error:
                error.add_note(f"{client}, seed {seed}: {made[-1] if made else None!r:.2000}")
                raise
    return answers


@pytest.mark.parametrize("client", CLIENTS)
def test_an_odd_answer_is_an_error_of_ours(client: str, tmp_path: Path) -> None:
    assert odd_case(tmp_path, client, range(CASES)) > 0
