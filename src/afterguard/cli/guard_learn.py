"""`afterguard guard learn` and `guard schema`: a mapping or a schema out of recorded samples.

In: samples. Out: a file to look at and to give to the guard, and what it is not sure of.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter

from afterguard.cli.options import DEFAULT, Common, open_session, writing
from afterguard.errors import UsageError


def learn(
    samples: Annotated[list[Path], Parameter(negative=())],
    /,
    *,
    address: str = "",
    scores: Annotated[bool, Parameter(negative=())] = False,
    common: Common = DEFAULT,
) -> int:
    """Learn how an unknown chat or scoring API is read, from a few recorded pairs of request and reply.

    Parameters
    ----------
    samples
        Files: JSON lines {"request": {...}, "response": {...}}, HAR captures, NAME.request.json beside NAME.response.json; or folders of them.
    address
        Of a HAR, take the calls whose host and path hold this; else those of the address that was called most.
    scores
        It is a scoring API: features go in, a score or a decision comes out.
    """
    from afterguard.guard import mapping
    from afterguard.jobs import learn as learning

    session = open_session(common)
    if scores:
        found = learning.scores(samples, session.note, address)
        for text in found.unsure:
            session.say(f"not sure: {text}")
        with writing(common.output) as out:
            out.write(mapping.to_json(found).decode() if common.format == "json" else mapping.dump(found))
        session.next("afterguard guard --upstream NAME:scoring=URL --mapping NAME=FILE   (after a person has read it)")
        return 0
    made = learning.learn(samples, session.note, address)
    for text in learning.told(made):
        session.say(text)
    for row in session.coverage[:20]:
        session.say(f"not read: {row.path}: {row.detail}")
    with writing(common.output) as out:
        out.write(mapping.to_json(made.mapping).decode() if common.format == "json" else mapping.dump(made.mapping))
    file = "mapping.yaml" if common.output == "-" else common.output
    session.next(f"afterguard guard --upstream NAME:plain=URL --mapping NAME={file}   (after a person has read {file})")
    return 0


def schema(
    samples: Annotated[list[Path], Parameter(negative=())],
    /,
    *,
    kind: Literal["kserve", "tfserving", "mlflow", "sagemaker", "torchserve", "scoring"],
    mapping: Path | None = None,
    address: str = "",
    common: Common = DEFAULT,
) -> int:
    """Learn what the features of a predictive model may be, from recorded requests: types, ranges, categories.

    Parameters
    ----------
    samples
        Files: JSON lines {"request": {...}, "response": {...}}, HAR captures, NAME.request.json beside NAME.response.json; or folders of them.
    kind
        The protocol of the requests.
    mapping
        Of kind scoring: how they are read, as `guard learn --scores` writes it.
    address
        Of a HAR, take the calls whose host and path hold this; else those of the address that was called most.
    """
    from afterguard.guard import mapping as mapping_files
    from afterguard.guard import schema as schema_files
    from afterguard.jobs import learn as learning

    session = open_session(common)
    read = None
    if mapping is not None:
        try:
            read = mapping_files.load_scoring(mapping.read_text(encoding="utf-8"), str(mapping))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"cannot read the mapping {mapping}: {error}",
                hint="afterguard guard learn --scores SAMPLE...",
                slug="bad-mapping",
            ) from None
    found, rows = learning.features(samples, session.note, kind, address, read)
    session.say(f"{len(found.features)} features from {rows} rows")
    with writing(common.output) as out:
        if common.format == "json":
            plain = {"format": schema_files.FORMAT, **msgspec.to_builtins(found)}
            out.write(msgspec.json.format(msgspec.json.encode(plain), indent=2).decode() + "\n")
        else:
            out.write(schema_files.dump(found))
    session.next("afterguard guard --upstream NAME:KIND=URL --schema NAME=FILE   (after a person has read it)")
    return 0
