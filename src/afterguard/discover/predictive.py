"""Predictive machine learning in code: models that are fitted or served, files they are loaded from, data they learn from.

In: Facts. Out: model, model_artifact, dataset, inference_server and cloud_ai_service Assets. A library import alone is only a
framework; a class must be built and fitted, saved or asked, and a file must be loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from afterguard.catalog import load
from afterguard.code.syntax import Expr, Function, argument, walk
from afterguard.discover.facts import Facts, last_part
from afterguard.discover.reach import Reach
from afterguard.model import Asset, AssetKind, Certainty, Edge

_ESTIMATOR = re.compile(
    r"(Classifier|Regressor|Regression|Forest|SVC|SVR|SVM|KMeans|DBSCAN|NB|Boost|Booster|Model|Net|CV|Bayes|Ridge|Lasso|ElasticNet|Pipeline|Prophet|ARIMA|Learner|Trainer|Sequential|OneClassSVM|LocalOutlierFactor|NearestNeighbors|Discriminant|TabularPredictor|Mixture|Perceptron|Descent\w*|Ranker|LatentDirichletAllocation|NMF|Clusterer|MeanShift|Birch|Spectral\w*)$"
)
_NOT = re.compile(
    r"(Scaler|Encoder|Imputer|Vectorizer|Transformer|Selector|Split|Fold|BaseModel|DataLoader|Tokenizer|GroupKFold|ShuffleSplit|LabelBinarizer)$"
)
_FILE = re.compile(
    r"\.(pkl|pickle|joblib|pt|pth|ckpt|onnx|h5|hdf5|keras|pb|tflite|safetensors|gguf|ggml|bin|bst|ubj|json|txt|cbm|model|mlmodel|skops|zip|npy|npz|pmml|dill|sav|mojo|xml|engine)$",
    re.I,
)
_STRONG = re.compile(r"\.(pt|pth|ckpt|onnx|h5|keras|tflite|safetensors|gguf|bst|ubj|cbm|mlmodel|skops|joblib)$", re.I)
_MODEL_WORD = re.compile(
    r"(?i)model|classif|regress|predict|estimator|booster|scorer|pipeline|clf|xgb|lgbm|weights|checkpoint|detector|fraud|churn"
)
_CLOUD = {"invoke_endpoint": ("EndpointName", "aws-sagemaker"), "invoke_endpoint_async": ("EndpointName", "aws-sagemaker"), "create_endpoint": ("EndpointName", "aws-sagemaker"), "InvokeEndpointCommand": ("EndpointName", "aws-sagemaker"), "create_training_job": ("TrainingJobName", "aws-sagemaker"), "create_model": ("ModelName", "aws-sagemaker"), "get_event_prediction": ("detectorId", "aws-fraud-detector")}  # fmt: skip
_SERVERS = {"vllm.LLM": "vllm", "vllm.AsyncLLMEngine.from_engine_args": "vllm", "sglang.Engine": "sglang", "sglang.Runtime": "sglang", "llama_cpp.Llama": "llama.cpp", "llama_cpp.server.app.create_app": "llama.cpp", "lmdeploy.pipeline": "lmdeploy", "kserve.ModelServer": "kserve", "mlserver.MLServer": "mlserver", "pytriton.triton.Triton": "triton", "ray.serve.run": "ray-serve", "ray.serve.llm.build_openai_app": "ray-serve", "litellm.Router": "litellm", "kserve.InferenceService": "kserve", "seldon_core.microservice": "seldon", "tritonclient.http.InferenceServerClient": "triton", "tritonclient.grpc.InferenceServerClient": "triton", "tensorflow_serving.apis.prediction_service_pb2_grpc.PredictionServiceStub": "tensorflow-serving"}  # fmt: skip


def find(facts: Facts, reach: Reach) -> Iterator[Asset]:
    """Artefacts first, since endpoints and fitted models point at them."""
    trained = _trained(facts)
    for function, call in facts.calls:
        full = facts.full(call.text, function.name)
        yield from _artefact(facts, reach, function, call, full)
        yield from _served(facts, reach, function, call, full)
        yield from _dataset(facts, function, call, full)
    for function, call, uses in trained:
        name = last_part(call.text)
        signal = facts.product(call.text)
        reach.mark(function, call, AssetKind.model, name)
        edges = [Edge("part_of", AssetKind.framework, signal.name)] if signal else []
        yield facts.asset(
            AssetKind.model,
            name,
            call.line,
            Certainty.declared,
            edges,
            task="predictive",
            framework=signal.name if signal else "",
            use=uses,
        )


def _predictive(facts: Facts, full: str) -> bool:
    signal = facts.product(full)
    return signal is not None and "predictive" in signal.roles and signal.kind is AssetKind.framework


def _trained(facts: Facts) -> list[tuple[Function, Expr, str]]:
    """Estimators built in the file that are fitted, saved or asked in it, and functions such as xgboost.train."""
    fits, predicts = set(load("signals/calls")["fits"]), set(load("signals/calls")["predicts"])
    acted: dict[str, set[str]] = {}
    if not any("predictive" in signal.roles for _, signal in facts.products):
        return []
    for function, call in facts.calls:
        full = facts.full(call.text, function.name)
        word = last_part(full)
        if (
            word in fits
            or word in predicts
            or word in ("save_model", "save", "dump", "log_model", "compile", "parameters", "to", "transform")
        ):
            acted.setdefault(full.rpartition(".")[0], set()).add(
                "trained" if word in fits else "served" if word in predicts else "built"
            )
    out = []
    held = _held(facts)
    for function, call in facts.calls:
        if not _predictive(facts, call.text):
            continue
        word = last_part(call.text)
        direct = word == "train" and call.text.startswith(("xgboost.", "lightgbm.", "catboost."))
        built = bool(_ESTIMATOR.search(word)) and not _NOT.search(word) and word[:1].isupper()
        inside = direct or id(call) in held
        uses = acted.get(call.text + "()", set()) | ({"trained"} if inside else set())
        if (direct or built) and uses and not _is_wrapped(call):
            out.append((function, call, " ".join(sorted(uses))))
    return out


def _is_wrapped(call: Expr) -> bool:
    return last_part(call.text) in ("Pipeline", "GridSearchCV", "RandomizedSearchCV", "CalibratedClassifierCV")


_HOLDERS = ("Pipeline", "make_pipeline", "GridSearchCV", "RandomizedSearchCV", "CalibratedClassifierCV",
            "StackingClassifier", "VotingClassifier", "ImbPipeline")  # fmt: skip


def _held(facts: Facts) -> set[int]:
    """ids of what stands inside a pipeline or a search that is built in the file."""
    out: set[int] = set()
    for _, one in facts.calls:
        if last_part(one.text) in _HOLDERS:
            out.update(id(part) for part in walk(one) if part is not one)
    return out


def _artefact(facts: Facts, reach: Reach, function: Function, call: Expr, full: str) -> Iterator[Asset]:
    """Loading (or saving) a trained model."""
    tail = full.rstrip("()")
    known = tail in load("signals/calls")["artefacts"]
    word = last_part(full)
    method = (
        word in ("load_model", "loadModel", "load_weights", "load_state_dict", "from_file", "readModel") and facts.is_ai
    )
    saved = (
        word in ("save_model", "save_pretrained", "dump")
        or tail in ("torch.save", "joblib.dump", "pickle.dump", "torch.onnx.export")
    ) and facts.is_ai
    if not known and not method and not saved:
        return
    if word == "load_state_dict" or call.text in facts.functions:
        return  # takes what torch.load gave, which is an artefact of its own; or is a function of this file, read there
    path = _path(facts, function, call, saved)
    weak = tail in (
        "pickle.load",
        "pickle.loads",
        "dill.load",
        "cloudpickle.load",
        "joblib.load",
        "joblib.dump",
        "pickle.dump",
        "numpy.load",
        "numpy.save",
    ) or (saved and word == "dump")
    named = _STRONG.search(path) is not None if path else False
    about = _MODEL_WORD.search(path) or _MODEL_WORD.search(_given_to(facts, call))
    if weak and not named and not about:
        return
    if tail in ("xgboost.Booster", "lightgbm.Booster") and not path:
        return
    if path and (path.startswith("unresolved:") is False) and not (_FILE.search(path) or "/" in path or known):
        return
    inner = call.parts[0] if call.parts else None
    if not path and (saved or (inner is not None and inner.kind == "call")):
        return
    name = path or f"unresolved:{_shown(call) or word}"
    sure = Certainty.unresolved if name.startswith("unresolved:") else Certainty.declared
    reach.mark(function, call, AssetKind.model_artifact, name)
    if known or method:
        reach.lines[call.line].add((AssetKind.model_artifact, name))
    yield facts.asset(
        AssetKind.model_artifact, name, call.line, sure, use="saved" if saved else "loaded", loader=tail[-60:]
    )


def _path(facts: Facts, function: Function, call: Expr, saved: bool) -> str:
    """The file of a load or save: a literal, a join that ends in a literal, or what `open` was given."""
    slots = list(call.parts[:3]) + [
        value
        for key, value in call.fields
        if key
        in (
            "path",
            "model_path",
            "model_file",
            "filename",
            "f",
            "file",
            "filepath",
            "model_uri",
            "path_or_bytes",
            "fname",
        )
    ]
    for slot in slots:
        for value in facts.resolve(slot, function.name):
            for one in walk(value):
                words = facts.texts(one, function.name) if one.kind in ("text", "join", "name") else []
                for word in words:
                    text = word.text.strip()
                    if word.certainty is not Certainty.unresolved and (
                        _FILE.search(text) or text.startswith(("models:/", "runs:/", "s3://", "gs://"))
                    ):
                        return text[:200]
    if not saved and call.parts:
        for word in facts.texts(call.parts[0], function.name):
            if word.certainty is Certainty.unresolved:
                return word.text
            return word.text if re.fullmatch(r"[\w./:@-]{2,200}", word.text) else ""
    return ""


def _shown(call: Expr) -> str:
    first = call.parts[0] if call.parts else None
    return first.text[:60] if first is not None else ""


def _given_to(facts: Facts, call: Expr) -> str:
    """The variable a load is assigned to, or the thing that is saved."""
    for (_, target), values in facts.values.items():
        if any(one is call for one in values):
            return target
    return call.parts[0].text if call.parts else ""


def _served(facts: Facts, reach: Reach, function: Function, call: Expr, full: str) -> Iterator[Asset]:
    """Cloud endpoints by name, and servers started or reached in code."""
    word = last_part(full)
    server = _SERVERS.get(full.rstrip("()"))
    if server:
        reach.mark(function, call, AssetKind.inference_server, server)
        yield facts.asset(AssetKind.inference_server, server, call.line)
    if word in ("predict", "predict_proba", "decision_function", "inplace_predict", "run") and (
        _predictive(facts, full) or _is_loaded(facts, reach, call, function)
    ):
        reach.runs.add(function.name)
    if word not in _CLOUD:
        return
    slot, provider = _CLOUD[word]
    reach.runs.add(function.name)
    for one in facts.texts(argument(call, slot), function.name):
        reach.mark(function, call, AssetKind.cloud_ai_service, one.text)
        yield facts.asset(
            AssetKind.cloud_ai_service,
            one.text,
            call.line,
            one.certainty,
            [Edge("part_of", AssetKind.provider, provider)],
            provider=provider,
            task="predictive",
        )


def _is_loaded(facts: Facts, reach: Reach, call: Expr, function: Function) -> bool:
    """Whether the object a method is called on was loaded from a model file."""
    root = call.text.rpartition(".")[0]
    return any(kind is AssetKind.model_artifact for kind, _ in reach.through(root, function.name))


def _dataset(facts: Facts, function: Function, call: Expr, full: str) -> Iterator[Asset]:
    """Named datasets, and tables read in a file that also trains."""
    tail = full.rstrip("()")
    table = load("signals/calls")
    if tail.startswith(tuple(table["datasets"])):
        first = facts.literal(call.parts[0], function.name) if call.parts else ""
        name = first or (
            last_part(tail) if tail.startswith(("sklearn.", "torchvision.", "keras.", "tensorflow.keras.")) else ""
        )
        if name and len(name) < 150:
            yield facts.asset(
                AssetKind.dataset,
                name.removeprefix("fetch_").removeprefix("load_") if not first else name,
                call.line,
                library=tail.partition(".")[0],
            )
        return
    word = last_part(tail)
    if word in table["readers"] and call.parts and _trains(facts):
        for one in facts.texts(call.parts[0], function.name):
            if one.certainty is not Certainty.unresolved and len(one.text) < 200 and re.search(r"[./]", one.text):
                yield facts.asset(AssetKind.dataset, one.text, call.line, Certainty.inferred, use="training")


def _trains(facts: Facts) -> bool:
    found = getattr(facts, "_trains_model", None)
    if found is None:
        fits = set(load("signals/calls")["fits"])
        found = (
            facts.is_ai
            and any(last_part(one.text) in fits for _, one in facts.calls)
            and any("predictive" in signal.roles or "training" in signal.roles for _, signal in facts.products)
        )
        facts._trains_model = found  # type: ignore[attr-defined]
    return bool(found)
