"""The inference server: real models, real processes, asked over HTTP."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from promoter.serving import predictions
from promoter.serving.decode import CSV, JSON
from promoter.serving.errors import StartError
from promoter.serving.model import load
from tests.support.openapi import ANY_JSON, values
from tests.support.serving import ROWS, Server, digest, orders_model, pixels_model, serving, sklearn_model, with_expected_output

pytest.importorskip("mlflow.pyfunc", reason="the full mlflow is not installed")
pytest.importorskip("sklearn", reason="scikit-learn is not installed")

# What MLflow and pandas think of each other's newest release is not what is tested here.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")

RECORDS = [
    {"customer": "ada", "ordered": "2026-01-05T00:00:00", "amount": 2.5},
    {"customer": None, "ordered": "2026-02-06T10:00:00", "amount": None},
]
SPLIT = {"columns": ["amount", "ordered", "customer"], "data": [[1, "2026-03-07", "bob"], [None, "2026-03-08", "eve"]]}


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return orders_model(tmp_path_factory.mktemp("orders") / "model")


@pytest.fixture(scope="module")
def pixels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pixels_model(tmp_path_factory.mktemp("pixels") / "model")


@pytest.fixture(scope="module")
def regression(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sklearn_model(tmp_path_factory.mktemp("regression") / "model")


@pytest.fixture(scope="module")
def server(orders: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """It downloads its model, and checks it."""
    environ = {"MODEL_URI": orders.as_uri(), "MODEL_DIGEST": digest(orders), "MAX_BODY_BYTES": "20000", "LOG_LEVEL": "DEBUG"}
    with serving(tmp_path_factory.mktemp("server"), None, **environ) as server:
        yield server.wait_until_ready()


def metrics(server: Server) -> dict[str, float]:
    """`name{label values, by label}` -> value."""
    families = text_string_to_metric_families(server.get("/metrics").text)
    return {
        f"{sample.name}{{{','.join(value for _, value in sorted(sample.labels.items()))}}}": sample.value
        for family in families
        for sample in family.samples
    }


@cache
def loaded(folder: Path) -> Any:
    import mlflow.pyfunc

    return mlflow.pyfunc.load_model(str(folder))


def mlflow_answer(folder: Path, body: str, content_type: str) -> tuple[int, Any]:
    """What MLflow's scoring server would answer."""
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc.scoring_server import invocations

    model = loaded(folder)
    try:
        answer = invocations(body.encode(), content_type, model, model.metadata.get_input_schema())
    except MlflowException as error:
        return error.get_http_status_code(), None
    return answer.status, answer.response if answer.status == 200 else None


# -- a python function with params, strings, dates and missing values -------------------------------------------------------


@pytest.mark.parametrize("path", ["/predict", "/invocations"])
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ({"dataframe_split": SPLIT}, JSON),
        ({"dataframe_split": SPLIT | {"index": [7, 9]}}, JSON),
        ({"dataframe_records": RECORDS, "params": {"percent": 50, "note": "half"}}, JSON),
        ({"dataframe_records": [{"ordered": "2026-03-07", "more": 1}]}, f"{JSON}; charset=utf-8"),
        ({"inputs": {"ordered": ["2026-03-07"], "amount": [1.5], "customer": ["ada"]}}, JSON),
        ({"inputs": RECORDS[:1]}, JSON),
        ({"instances": RECORDS[:1]}, JSON),
        ({"instances": RECORDS[:1], "params": {"percent": "much"}}, JSON),
        ({"dataframe_records": [{"customer": "ada"}]}, JSON),
        ({"dataframe_records": [{"ordered": "no day"}]}, JSON),
        ({"dataframe_records": [{"ordered": "2026-03-07", "amount": "much"}]}, JSON),
        ({"dataframe_records": RECORDS, "inputs": RECORDS}, JSON),
        ({"messages": []}, JSON),
        ([], JSON),
        ("customer,ordered,amount\nada,2026-01-05,1.5\n", CSV),
        ("ordered\n", CSV),
        ("x", "text/plain"),
        ("x", f"{CSV}; charset=latin-1"),
    ],
    ids=str,
)
def test_answers_are_those_of_mlflow(server: Server, orders: Path, path: str, body: Any, content_type: str) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    status, wanted = mlflow_answer(orders, text, content_type)
    answer = requests.post(server.url + path, data=text, headers={"Content-Type": content_type}, timeout=60)
    assert answer.status_code == status, answer.text
    if wanted is None:
        assert answer.json()["error"]
        assert "Traceback" not in answer.text
    else:
        assert answer.text == wanted
        assert answer.headers["Content-Type"] == JSON


def test_health_and_version_name_the_model(server: Server, orders: Path) -> None:
    named = {"model_name": "fraud-detector", "model_version": "42", "model_digest": digest(orders)}
    assert server.get("/health").json() == {"status": "ok", **named}
    assert server.get("/info").json().items() >= named.items()
    answer = server.predict({"dataframe_records": RECORDS})
    assert (answer.headers["X-Model-Version"], answer.headers["X-Model-Digest"]) == ("42", digest(orders))


def test_the_field_that_is_wrong_is_named(server: Server) -> None:
    missing = server.predict({"dataframe_records": [{"amount": 1.0}]})
    assert (missing.status_code, missing.json()["field"], missing.json()["expected"]) == (400, "ordered", "datetime")
    wrong = server.predict({"dataframe_records": [{"ordered": "2026-03-07", "amount": "much"}]})
    assert (wrong.json()["field"], wrong.json()["expected"]) == ("amount", "double or nothing")
    assert server.predict({"dataframe_records": RECORDS, "params": {"percent": "much"}}).json()["field"] == "percent"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/predict", 405),
        ("POST", "/health", 405),
        ("GET", "/nothing", 404),
        ("GET", "/predict/", 405),
        ("GET", "/predict//", 404),
    ],
)
def test_what_is_not_there_is_reported_in_json(server: Server, method: str, path: str, status: int) -> None:
    answer = requests.request(method, server.url + path, timeout=60)
    assert answer.status_code == status
    assert answer.json()["error"]
    assert status != 405 or answer.headers["Allow"]


def test_too_much_at_once_is_refused(server: Server) -> None:
    many = server.predict({"dataframe_records": RECORDS * 17})  # rows are limited where requests are merged
    assert len(many.json()["predictions"]) == 34
    large = json.dumps({"dataframe_records": [{"customer": "x" * 20001}]}).encode()
    for body in (large, (large[at : at + 5000] for at in range(0, len(large), 5000))):  # announced, and in chunks
        answer = requests.post(server.url + "/predict", data=body, headers={"Content-Type": JSON}, timeout=60)
        assert (answer.status_code, "MAX_BODY_BYTES" in answer.json()["error"]) == (413, True)
    chunks = (part for part in (b'{"dataframe_records": ', json.dumps(RECORDS).encode(), b"}"))
    assert requests.post(server.url + "/predict", data=chunks, headers={"Content-Type": JSON}, timeout=60).ok


def test_log_lines_are_json_with_the_request_id_and_nothing_of_the_request(server: Server) -> None:
    given = server.predict(
        {"dataframe_records": [{"customer": "Zebedee", "more": "Zebedee"}]}, headers={"X-Request-Id": "a-1.b"}
    )
    assert given.headers["X-Request-Id"] == "a-1.b"
    replaced = server.predict({"inputs": "Zebedee"}, headers={"X-Request-Id": "no spaces"})
    assert len(replaced.headers["X-Request-Id"]) == 32
    server.wait_until(lambda: replaced.headers["X-Request-Id"] in server.log_file.read_text(), "logged")  # after its answer
    lines = {line.get("request_id"): line for line in server.log}
    assert lines["a-1.b"].items() >= {"message": "POST /predict", "status": 400, "level": "INFO"}.items()
    assert "Zebedee" not in server.log_file.read_text()


def test_metrics_have_the_promised_names(server: Server, orders: Path) -> None:
    before = metrics(server)
    assert server.predict({"dataframe_records": RECORDS}).ok
    requests.request("PURGE", server.url + "/made/up", timeout=60)
    after = metrics(server)
    counted = "http_requests_total{POST,/predict,200}"
    assert after[counted] == before.get(counted, 0) + 1
    assert after["http_requests_total{other,other,404}"] == 1
    assert after["http_request_duration_seconds_count{POST,/predict}"] > 0
    assert after["http_requests_in_flight{}"] == 1  # the one that asks
    assert after["predict_batch_size_sum{}"] >= before["predict_batch_size_sum{}"] + 2
    assert after["model_load_seconds{}"] > 0
    assert after[f"model_info{{{digest(orders)},fraud-detector,42}}"] == 1


FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def test_nothing_that_the_openapi_document_allows_is_a_server_error(server: Server) -> None:
    document = server.get("/openapi.json").json()
    schema = document["paths"]["/predict"]["post"]["requestBody"]["content"][JSON]["schema"]
    seen: Counter[int] = Counter()

    @FUZZ
    @given(values(schema))
    def ask(body: Any) -> None:
        answer = requests.post(server.url + "/predict", data=json.dumps(body), headers={"Content-Type": JSON}, timeout=60)
        seen[answer.status_code] += 1
        assert answer.status_code < 500, answer.text
        assert answer.json().keys() & {"predictions", "error"}

    ask()
    assert seen[200], seen


@FUZZ
@given(
    st.binary(max_size=60) | ANY_JSON.map(lambda told: json.dumps({"dataframe_split": told, "params": told}).encode()),
    st.sampled_from([JSON, CSV, "application/vnd.apache.parquet", "a/b", ";", "text/csv; x"]),
)
def test_nothing_at_all_is_a_server_error(server: Server, body: bytes, content_type: str) -> None:
    answer = requests.post(server.url + "/invocations", data=body, headers={"Content-Type": content_type}, timeout=60)
    assert answer.status_code < 500, answer.text
    assert answer.status_code == 200 or answer.json()["error"]


# -- four workers ----------------------------------------------------------------------------------------------------------


def worker_pids(server: Server) -> set[int]:
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    return {int(pid) for pid in children.read_text().split()}


def test_four_workers_serve_replace_each_other_and_drain(regression: Path, tmp_path: Path) -> None:
    if not Path("/proc/self/task").exists():
        pytest.skip("no /proc: the workers can't be found")
    with serving(tmp_path, regression, WORKERS="4", DRAIN_SECONDS="4", MODEL_DIGEST=digest(regression)) as server:
        server.wait_until_ready()
        first = worker_pids(server)
        assert len(first) == 4
        body = {"dataframe_split": {"columns": ["amount", "age"], "data": ROWS}}
        _, wanted = mlflow_answer(regression, json.dumps(body), JSON)
        assert {server.predict(body).text for _ in range(20)} == {wanted}
        assert metrics(server)["http_requests_total{POST,/predict,200}"] == 20

        killed = min(first)
        os.kill(killed, signal.SIGKILL)
        server.wait_until(lambda: len(worker_pids(server) - first) == 1, "replaced")
        server.wait_until_ready()
        assert {server.predict(body).text for _ in range(20)} == {wanted}
        assert metrics(server)["http_requests_total{POST,/predict,200}"] == 40

        answers = traffic_over_sigterm(server, body)
        assert answers == {(200, wanted)}
        assert server.process.wait(60) == 0
    assert any(line["message"] == "a model process has ended and is replaced" for line in server.log)
    assert not list(tmp_path.glob("promoter-serving-*")), "left behind"


def traffic_over_sigterm(server: Server, body: Any) -> set[tuple[int, str]]:
    """Every answer that clients got that learn of the end a second late, as those of a Service do."""
    answers: set[tuple[int, str]] = set()
    heard = threading.Event()

    def ask() -> None:
        with requests.Session() as session:
            while not heard.is_set():
                kept = session.post(server.url + "/predict", json=body, timeout=60)
                fresh = server.predict(body)
                answers.update({(kept.status_code, kept.text), (fresh.status_code, fresh.text)})

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    server.process.send_signal(signal.SIGTERM)
    server.wait_until(lambda: server.status() == 503, "draining")
    assert server.get("/health").json()["status"] == "draining"
    assert server.get("/health").headers["Connection"] == "close"
    heard.wait(0.5)
    heard.set()
    for client in clients:
        client.join()
    return answers


# -- a tensor, merged requests, and a model that misbehaves ---------------------------------------------------------------


def test_requests_are_merged_and_each_has_its_own_answer_and_error(pixels: Path, tmp_path: Path) -> None:
    asked: list[Any] = [[[float(n), 1.0]] * (n % 3 + 1) for n in range(12)] + [
        [[901.0, 0.0]],
        [[902.0, 0.0]],
        [[1.0]],
        [["x", 1]],
    ]
    wanted = [(200, [n + 1.0] * (n % 3 + 1)) for n in range(12)] + [(500, None), (500, None), (400, None), (400, None)]
    with serving(tmp_path, pixels, BATCH="row-wise", INFERENCE_TIMEOUT="3") as server:
        server.wait_until_ready()
        answers: dict[int, Any] = {}

        def ask(place: int) -> None:
            answer = server.predict({"inputs": asked[place]})
            answers[place] = answer.status_code, answer.json().get("predictions")

        clients = [threading.Thread(target=server.predict, args=({"inputs": [[904.0, 0.0]]},))]  # the others queue behind it
        clients += [threading.Thread(target=ask, args=(place,)) for place in range(len(asked))]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        assert [answers[place] for place in range(len(asked))] == wanted
        told = [line for line in server.log if line["message"].startswith("the model failed")]
        assert {line["exception"] for line in told} == {"ValueError", "RuntimeError"}, "the input had passed the signature"
        assert any("predict" in frame for frame in told[0]["stack"])
        assert "901" not in str(told)

        assert server.predict({"inputs": [[903.0, 0.0]]}).status_code == 504
        assert server.predict({"inputs": [[1.0, 2.0]]}).status_code in (200, 504)  # by a process that takes its place
        server.wait_until_ready()
        assert server.predict({"inputs": [[1.0, 2.0]]}).json() == {"predictions": [3.0]}


# -- what is refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_model_with_another_digest_is_not_served(regression: Path, tmp_path: Path, workers: str) -> None:
    with serving(tmp_path, regression, MODEL_DIGEST="sha256:" + "0" * 64, WORKERS=workers) as server:
        assert server.process.wait(120) == 1
    assert f"its content digest is {digest(regression)}, MODEL_DIGEST is sha256:{'0' * 64}" in server.log_file.read_text()


def test_a_folder_without_a_model_is_reported(tmp_path: Path) -> None:
    with serving(tmp_path, tmp_path / "nothing") as server:
        assert server.process.wait(120) == 1
    assert str(tmp_path / "nothing") in server.log_file.read_text()
    assert "Traceback" not in server.log_file.read_text()


def test_a_model_that_can_not_predict_its_own_example_is_not_served(regression: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(regression, tmp_path / "model")
    (broken / "serving_input_example.json").write_text('{"inputs": {"amount": [1.0]}}')
    with pytest.raises(StartError, match=r"can't predict its own example .*Model is missing inputs \['age'\]"):
        load(broken, 32, lambda _: None)


def test_all_settings_that_can_not_be_used_are_reported_at_once(tmp_path: Path) -> None:
    with serving(tmp_path, None, WORKERS="many", BATCH="on") as server:
        assert server.process.wait(120) == 2
    [line] = server.log
    assert "WORKERS is 'many', expected a whole number from 1 to 64" in line["message"]
    assert "BATCH is 'on', expected one of off, row-wise" in line["message"]


def test_sigterm_while_loading_ends_at_once(regression: Path, tmp_path: Path) -> None:
    with serving(tmp_path, regression) as server:
        server.wait_until(lambda: server.status() == 503, "listening")
        assert server.predict({}).status_code == 503
        assert server.predict({}).headers["Retry-After"] == "1"
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0


# -- the check of a release's predictions ----------------------------------------------------------------------------------


def prediction_check(
    server: Server, folder: Path, capsys: pytest.CaptureFixture[str], **release: str
) -> tuple[int, dict[str, Any]]:
    """Exit code and evidence."""
    pinned = {"model_version": "42", "model_digest": server.get("/health").json()["model_digest"], **release}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in pinned.items()]
    code = predictions.main([f"--url={server.url}", f"--model-path={folder}", "--tolerance=0.01", *options])
    return code, json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def expecting(orders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_expected_output(orders, tmp_path_factory.mktemp("expecting") / "model")


def test_predictions_as_logged_pass_and_report_it(server: Server, expecting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = metrics(server).get("http_requests_total{POST,/predict,200}", 0)
    code, told = prediction_check(server, expecting, capsys)
    assert (code, told["outcome"], told["compared"], told["largest_difference"]) == (0, "passed", True, 0.0)
    assert len(told["seconds"]) == 5
    assert metrics(server)["http_requests_total{POST,/predict,200}"] == before + 5


def test_predictions_that_drift_fail_and_name_the_first(
    server: Server, expecting: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drifted = shutil.copytree(expecting, tmp_path / "model")
    output = drifted / "serving_output_example.json"
    output.write_text(output.read_text().replace("9.5", "10.0"))
    code, told = prediction_check(server, drifted, capsys)
    assert (code, told["outcome"]) == (1, "failed")
    assert told["message"] == "prediction 1 of 5: predictions[0].score is 9.5, expected 10.0 within 0.01"


@pytest.mark.parametrize(("what", "value"), [("version", "41"), ("digest", "sha256:" + "1" * 64)])
def test_a_pod_of_another_release_fails(
    server: Server, expecting: Path, capsys: pytest.CaptureFixture[str], what: str, value: str
) -> None:
    code, told = prediction_check(server, expecting, capsys, **{f"model_{what}": value})
    assert code == 1
    assert told["message"].startswith(f"/health is answered by a pod with model {what}")


def test_without_an_expected_output_form_and_finite_values_are_checked(
    server: Server, orders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = prediction_check(server, orders, capsys)
    assert (code, told["outcome"], told["compared"]) == (0, "passed", False)
    assert "has no serving_output_example.json" in told["message"]


def test_without_an_example_nothing_is_checked_and_that_is_reported(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = prediction_check(server, tmp_path, capsys)
    assert (code, told["outcome"]) == (0, "skipped")
    assert told["message"].startswith("NOTHING WAS CHECKED")
    options = [f"--url={server.url}", f"--model-path={tmp_path}", "--without-example=fail"]
    assert predictions.main(options) == 1
    assert json.loads(capsys.readouterr().out)["outcome"] == "failed"


def test_golden_examples_judge_what_the_logged_answer_can_not(
    server: Server, expecting: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The pods serve the model as it was logged, and it is wrong; the stable release, here the same pods, answers as they do."""
    code, told = prediction_check(server, expecting, capsys)
    assert (code, told["golden"]) == (0, False)
    assert told["message"].endswith("; nothing judges the model itself: it has no golden_examples.json")
    judged = shutil.copytree(expecting, tmp_path / "model")
    request = json.loads((judged / "serving_input_example.json").read_text())
    answers = json.loads((judged / "serving_output_example.json").read_text())["predictions"]
    golden = judged / "golden_examples.json"
    golden.write_text(json.dumps({"request": request, "answers": answers}))
    stable = {"stable": server.url.removeprefix("http://"), "most_different": "0"}
    code, told = prediction_check(server, judged, capsys, **stable)
    assert (code, told["outcome"], told["golden"]) == (0, "passed", True)
    count = len(answers)
    assert told["message"].endswith(
        f"; {count} of {count} golden examples are right; 0 of {count} answers differ from those of the stable release"
    )
    truth = [answer | {"score": -1.0} for answer in answers]
    golden.write_text(json.dumps({"request": request, "answers": truth, "minimum": 0.5}))
    code, told = prediction_check(server, judged, capsys)
    assert (code, told["outcome"]) == (1, "failed")
    assert told["message"].startswith(
        f"golden examples: 0 of {count} golden examples are right, and at least 0.5 of them must be: predictions[0].score is "
    )


@pytest.mark.parametrize(("most", "code"), [("1", 0), ("0.5", 1)])
def test_a_stable_release_that_can_not_be_asked_fails_only_what_is_limited(
    server: Server, expecting: Path, capsys: pytest.CaptureFixture[str], most: str, code: int
) -> None:
    """It answers 404: the stable pods are another server."""
    stable = f"{server.url.removeprefix('http://')}/elsewhere"
    found, told = prediction_check(server, expecting, capsys, stable=stable, most_different=most)
    assert (found, "/predict answers 404" in told["message"]) == (code, True)


def test_golden_examples_can_be_demanded(
    server: Server, expecting: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the AnalysisTemplate does, by a variable of which older images take no notice."""
    monkeypatch.setenv("WITHOUT_GOLDEN", "fail")
    code, told = prediction_check(server, expecting, capsys)
    assert (code, told["message"][-37:]) == (1, "the model has no golden_examples.json")


def test_the_server_imports_nothing_else_of_promoter() -> None:
    modules = Path(predictions.__file__).parent.glob("*.py")
    imported = {name for module in modules for name in re.findall(r"(?:from|import) (promoter\S*)", module.read_text())}
    assert {name for name in imported if not name.startswith("promoter.serving")} == set()
