"""Files loaded in a way that can run code: pickle and its kin, torch.load without weights_only, Keras safe mode off, yaml.load.

In: a code file. Out: a finding at each load. A load of a file the program wrote in the same function is not told apart.
"""

from __future__ import annotations

from collections.abc import Iterator

from afterguard.code.artefact import pickles
from afterguard.code.parse import Parsed
from afterguard.code.pickle_opcodes import streams
from afterguard.code.syntax import Expr, argument
from afterguard.model import Confidence, Finding, Severity
from afterguard.scan.check import CODE, Check, Context
from afterguard.scan.flow import Seen

CHECK = Check(
    id="unsafe-deserialization",
    title="A model or data file is loaded in a way that can run code",
    severity=Severity.high,
    taxonomies=("LLM03:2025", "LLM04:2026", "ASI04:2026", "AML.T0011.000", "AML.T0018.002", "CWE-502"),
    why="These formats carry instructions. Whoever can replace the file runs code in this process when it is loaded.",
    fix="Store weights as safetensors and data as JSON or Parquet. Otherwise torch.load(weights_only=True), safe_mode=True, "
    "allow_pickle=False, yaml.safe_load, and verify a hash or signature before loading.",
    kinds=(*CODE, "binary"),
)
_ALWAYS = {
    "pickle.load", "pickle.loads", "pickle.unpickler", "cpickle.load", "cpickle.loads", "dill.load", "dill.loads", "cloudpickle.load",
    "cloudpickle.loads", "joblib.load", "marshal.load", "marshal.loads", "shelve.open", "jsonpickle.decode", "pandas.readpickle",
    "torch.jit.loadunsafe", "sklearn.externals.joblib.load", "pickle5.load", "pickle5.loads", "mlflow.sklearn.loadmodel.pickle",
    "readpickle", "compresspickle.load", "skops.io.loads.trusted",
}  # fmt: skip
_HARMFUL_MODULES = {
    "os", "posix", "nt", "subprocess", "sys", "socket", "shutil", "pty", "runpy", "webbrowser", "ctypes", "pip", "commands",
    "importlib", "requests", "urllib", "httpx", "aiohttp", "asyncio", "multiprocessing", "code", "codeop", "pdb", "bdb", "cProfile",
    "profile", "timeit", "pydoc", "marshal", "types", "imaplib", "ftplib", "smtplib", "telnetlib", "http", "ssl", "tempfile",
    "pkgutil", "doctest", "trace", "idlelib", "lib2to3", "distutils", "setuptools", "venv", "ensurepip", "sqlite3",
}  # fmt: skip
_HARMFUL = {
    f"{module}.{name}"
    for module in ("builtins", "__builtin__", "__builtins__")
    for name in (
        "eval",
        "exec",
        "compile",
        "open",
        "__import__",
        "getattr",
        "globals",
        "input",
        "breakpoint",
        "execfile",
    )
} | {
    "operator.attrgetter",
    "operator.methodcaller",
    "functools.partial",
    "torch.hub.load",
    "numpy.testing._private.utils.runstring",
    "logging.config.listen",
    "logging.FileHandler",
    "uuid._popen",
}
_MODULES = ("pickle", "cpickle", "dill", "cloudpickle", "joblib", "marshal", "jsonpickle", "shelve", "pickle5")


def check(parsed: Parsed, context: Context) -> Iterator[Finding]:
    """Findings for loads that can run code, and for model files that carry some."""
    if parsed.source.kind == "binary":
        yield from _artefact(parsed, context)
        return
    for seen in context.flow(parsed).calls:
        said = _judge(seen)
        if said:
            message, confidence = said
            yield context.finding(
                CHECK, parsed, seen.call.line, message, confidence=confidence, function=seen.function.name
            )


def _artefact(parsed: Parsed, context: Context) -> Iterator[Finding]:
    """A pickle that would import or call what acts on the machine. Line 1 stands for the whole file."""
    for where, data in pickles(parsed.source.data, parsed.source.path):
        for stream in streams(data):
            for one in stream.imports:
                if f"{one.module}.{one.name}" in _HARMFUL or one.module.split(".")[0] in _HARMFUL_MODULES:
                    inside = f" ({where})" if where else ""
                    message = (
                        f"Loading this file{inside} would {'call' if one.called else 'import'} {one.module}.{one.name}."
                    )
                    yield context.finding(CHECK, parsed, 1, message[:300], severity=Severity.critical)
                    return


def _judge(seen: Seen) -> tuple[str, Confidence] | None:
    folded, call = seen.folded, seen.call
    last = folded.rsplit(".", 1)[-1]
    root = folded.split(".", 1)[0]
    if folded in _ALWAYS or (root in _MODULES and last in ("load", "loads", "unpickler")):
        return f"{call.text} runs whatever code the file carries.", Confidence.high
    if folded in ("torch.load", "torch.jit.load.unsafe"):
        return _torch(call)
    if (
        last == "loadmodel"
        and ("keras" in folded or "tensorflow" in folded)
        and _is(argument(call, "safe_mode"), "false")
    ):
        return f"{call.text} loads with Keras safe mode off.", Confidence.high
    if last == "enableunsafedeserialization":
        return f"{call.text} switches Keras safe mode off for the whole process.", Confidence.high
    if folded in ("numpy.load", "np.load") and _is(argument(call, "allow_pickle"), "true"):
        return f"{call.text} accepts pickled objects.", Confidence.high
    if folded in ("yaml.load", "yaml.loadall") or (folded.startswith("ruamel.yaml") and last == "load"):
        return _yaml(call)
    if folded in ("yaml.unsafeload", "yaml.fullload", "yaml.unsafeloadall"):
        return f"{call.text} can build any object the document names.", Confidence.high
    if last == "readobject" and ("objectinputstream" in folded or "ois" in folded or "xmldecoder" in folded):
        return f"{call.text} builds any object the stream names.", Confidence.medium
    if "nodeserialize" in folded and last == "unserialize":
        return f"{call.text} can run functions inside the data.", Confidence.high
    if root == "skops" and last in ("load", "loads") and _is(argument(call, "trusted"), "true"):
        return f"{call.text} trusts every type in the file.", Confidence.high
    return None


def _is(expr: Expr | None, text: str) -> bool:
    return expr is not None and expr.kind == "bool" and expr.text == text


def _torch(call: Expr) -> tuple[str, Confidence] | None:
    only = argument(call, "weights_only")
    if only is None:
        return f"{call.text} is called without weights_only=True.", Confidence.medium
    return (f"{call.text} is called with weights_only=False.", Confidence.high) if _is(only, "false") else None


def _yaml(call: Expr) -> tuple[str, Confidence] | None:
    loader = argument(call, "Loader", 1)
    if loader is None:
        return f"{call.text} is called without a safe loader.", Confidence.medium
    return (
        None
        if "safe" in loader.text.lower() or "base" in loader.text.lower()
        else (f"{call.text} uses {loader.text}.", Confidence.high)
    )
