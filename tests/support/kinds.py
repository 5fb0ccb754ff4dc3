"""Kinds of models, each logged and answered for in an environment of one MLflow: `python kinds.py FOLDER [KIND ...]`.

It runs as a program in that environment, which has MLflow, the kinds' packages and promoter's server, and nothing of the tests.
For each kind it prints a line of JSON: what `mlflow.pyfunc.load_model(...).predict` returns, and what a model process of promoter's
server answers to the same as a request. A kind that this MLflow does not have is left out.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

TABLE = {"columns": ["a", "b"], "data": [[1.0, 19.0], [12.0, 7.0], [19.0, 0.0]]}
TENSOR = [[1.0, 2.0], [0.5, -3.0]]
_FROM_CODE = """
import mlflow

class Sums(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [{"sum": row["a"] + row["b"], "known": row["a"] > 1} for row in model_input.to_dict("records")]

mlflow.models.set_model(Sums())
"""
_CHAT = """
import mlflow
from mlflow.types import llm

class Echo(mlflow.pyfunc.ChatModel):
    def predict(self, context, messages, params):
        said = llm.ChatMessage(role="assistant", content=messages[-1].content.upper())
        given = {"id": "7", "created": 7, "model": "echo"}
        if hasattr(llm, "TokenUsageStats"):
            given["usage"] = llm.TokenUsageStats(prompt_tokens=1, completion_tokens=1, total_tokens=2)
        answer = getattr(llm, "ChatCompletionResponse", None) or llm.ChatResponse
        return answer(choices=[llm.ChatChoice(index=0, message=said, finish_reason="stop")], **given)

mlflow.models.set_model(Echo())
"""
_AGENT = """
import mlflow
from mlflow.types.responses import ResponsesAgentResponse

class Echo(mlflow.pyfunc.ResponsesAgent):
    def predict(self, request):
        return ResponsesAgentResponse(output=[self.create_text_output_item(request.input[-1].content.upper(), "1")])

mlflow.models.set_model(Echo())
"""
_CHAIN = """
import mlflow
from langchain_core.runnables import RunnableLambda

mlflow.models.set_model(RunnableLambda(lambda given: {"answer": given["question"].upper()}))
"""
Made = tuple[Any, Any]
"""What `predict` takes, and the same as the JSON of a request."""


def scikit_learn(folder: Path) -> Made:
    import mlflow.sklearn
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression().fit(*_rows())
    mlflow.sklearn.save_model(model, str(folder), **_described(model.predict))
    return _table()


def xgboost(folder: Path) -> Made:
    import mlflow.xgboost
    from xgboost import XGBRegressor  # type: ignore[import-not-found]

    model = XGBRegressor(n_estimators=3, base_score=0.5).fit(*_rows())
    mlflow.xgboost.save_model(model, str(folder), **_described(model.predict))
    return _table()


def lightgbm(folder: Path) -> Made:
    import lightgbm as library  # type: ignore[import-not-found]
    import mlflow.lightgbm

    model = library.train({"verbose": -1, "min_data_in_leaf": 2}, library.Dataset(*_rows()), 3)
    mlflow.lightgbm.save_model(model, str(folder), **_described(model.predict))
    return _table()


def onnx(folder: Path) -> Made:
    import mlflow.onnx
    import numpy as np
    from mlflow.models.signature import infer_signature
    from onnx import TensorProto, helper, numpy_helper  # type: ignore[import-not-found]

    weights = numpy_helper.from_array(np.array([[2.0], [-1.0]], dtype="float32"), "weights")
    product = helper.make_node("MatMul", ["rows", "weights"], ["score"])
    given, made = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, n]) for name, n in (("rows", 2), ("score", 1)))
    graph = helper.make_graph([product], "linear", [given], [made], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    data = np.array(TENSOR, dtype="float32")
    signature = infer_signature(data, {"score": data[:, :1]})
    mlflow.onnx.save_model(model, str(folder), signature=signature, pip_requirements=[])
    return data, {"inputs": TENSOR}


def python_class(folder: Path) -> Made:
    import mlflow.pyfunc

    class Ratio(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined, misc]
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            return model_input.assign(ratio=model_input["a"] / (model_input["b"] + 1))

    mlflow.pyfunc.save_model(str(folder), python_model=Ratio(), **_described(None))
    return _table()


def python_code(folder: Path) -> Made:
    _from_code(folder, _FROM_CODE, **_described(None))
    return _table()


def chat_model(folder: Path) -> Made:
    asked = {"messages": [{"role": "user", "content": "hello"}], "temperature": 0.5}
    _from_code(folder, _CHAT)
    return asked, asked


def agent(folder: Path) -> Made:
    asked = {"input": [{"role": "user", "content": "hello"}]}
    _from_code(folder, _AGENT)
    return asked, asked


def langchain(folder: Path) -> Made:
    import mlflow.langchain

    script = folder.with_suffix(".py")
    script.write_text(_CHAIN)
    asked = [{"question": "where?"}, {"question": "when?"}]
    mlflow.langchain.save_model(lc_model=str(script), path=str(folder), pip_requirements=["langchain"], input_example=asked[0])
    return asked, {"dataframe_records": asked}


def pytorch(folder: Path) -> Made:
    import mlflow.pytorch
    import numpy as np
    import torch  # type: ignore[import-not-found]
    from mlflow.models.signature import infer_signature

    torch.manual_seed(7)
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
    data = np.array(TENSOR, dtype="float32")
    signature = infer_signature(data, data[:, :1])
    mlflow.pytorch.save_model(model, str(folder), signature=signature, input_example=data, pip_requirements=["torch"])
    return data, {"inputs": TENSOR}


def transformers(folder: Path) -> Made:
    """A classifier of two layers from a configuration, with a tokenizer of four words."""
    import mlflow.transformers
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers  # type: ignore[import-not-found]
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast, pipeline  # type: ignore[import-not-found]

    words = Tokenizer(models.WordLevel({"[UNK]": 0, "[PAD]": 1, "good": 2, "bad": 3}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]", model_max_length=16)
    torch.manual_seed(7)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    model = BertForSequenceClassification(BertConfig(vocab_size=4, max_position_embeddings=16, **sizes)).eval()
    whole = pipeline("text-classification", model=model, tokenizer=tokenizer)
    mlflow.transformers.save_model(whole, str(folder), input_example=["good bad"], pip_requirements=["torch", "transformers"])
    return ["good", "bad bad"], {"inputs": ["good", "bad bad"]}


KINDS: dict[str, Callable[[Path], Made]] = {
    "scikit-learn": scikit_learn,
    "XGBoost": xgboost,
    "LightGBM": lightgbm,
    "ONNX": onnx,
    "Python class": python_class,
    "Python code": python_code,
    "ChatModel": chat_model,
    "ResponsesAgent": agent,
    "LangChain": langchain,
    "PyTorch": pytorch,
    "Transformers": transformers,
}


def answered(kind: str, folder: Path) -> dict[str, Any]:
    """`predicts` and `answers` are the same where the server serves the model as MLflow does."""
    import mlflow.pyfunc

    from promoter.serving.batching import answer_alone
    from promoter.serving.errors import RequestError
    from promoter.serving.model import Request, load_pyfunc, warm

    data, asked = KINDS[kind](folder)
    predicts = _plain(mlflow.pyfunc.load_model(str(folder)).predict(data))
    model = load_pyfunc(folder, 1000, lambda _: None)
    warm(model, folder)
    answer = answer_alone(model, Request(json.dumps(asked).encode(), "application/json"), lambda _: None)
    if isinstance(answer, RequestError):
        return {"kind": kind, "predicts": predicts, "error": answer.message}
    document = json.loads(answer)
    return {"kind": kind, "predicts": predicts, "answers": document.get("predictions", document)}


def _rows() -> Made:
    import numpy as np
    import pandas as pd

    rows = pd.DataFrame({"a": np.arange(20.0), "b": np.arange(20.0)[::-1]})
    return rows, (rows["a"] > 9).astype(int)


def _table() -> Made:
    import pandas as pd

    return pd.DataFrame(**TABLE), {"dataframe_split": TABLE}


def _described(predict: Callable[[Any], Any] | None) -> dict[str, Any]:
    from mlflow.models.signature import infer_signature

    rows = _table()[0]
    signature = infer_signature(rows, predict(rows) if predict else None)
    return {"signature": signature, "input_example": rows, "pip_requirements": []}


def _from_code(folder: Path, source: str, **described: Any) -> None:
    import mlflow.pyfunc

    script = folder.with_suffix(".py")
    script.write_text(source)
    mlflow.pyfunc.save_model(str(folder), python_model=str(script), **described)


def _plain(value: Any) -> Any:
    """As JSON has it: of tables the rows, of arrays lists."""
    if hasattr(value, "to_dict") and not isinstance(value, dict):
        value = value.to_dict("records") if getattr(value, "ndim", 1) == 2 else value.tolist()
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def _has(kind: str) -> bool:
    """Whether this MLflow has such models; each was there before it could be logged from code (2.12.2)."""
    import mlflow.pyfunc
    from packaging.version import Version

    if kind == "LangChain":  # tried with the newest line only
        return find_spec("langchain") is not None
    needs = {"ChatModel": "ChatModel", "ResponsesAgent": "ResponsesAgent"}.get(kind, "PythonModel")
    from_code = kind in ("Python code", "ChatModel", "ResponsesAgent")
    return hasattr(mlflow.pyfunc, needs) and (not from_code or Version(mlflow.__version__) >= Version("2.12.2"))


def main(folder: Path, kinds: list[str]) -> Iterator[dict[str, Any]]:
    for number, kind in enumerate(kinds):
        if not _has(kind):
            continue
        try:
            yield answered(kind, folder / str(number))
        except Exception as error:  # what went wrong belongs in the table
            yield {"kind": kind, "predicts": None, "error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for line in main(Path(sys.argv[1]), sys.argv[2:]):
        print(json.dumps(line), flush=True)
