"""`afterguard guard learn`, `guard schema` and `guard rows`: a mapping or a schema out of recorded samples, and files held against a schema.

In: samples, rows. Out: a file to look at and to give to the guard, and what it is not sure of; rows that are otherwise than agreed.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter

from afterguard.cli.options import DEFAULT, Common, Progress, open_session, writing
from afterguard.errors import EXIT_GATE, NothingToExamine, UsageError
from afterguard.safe import terminal


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


def rows(
    files: Annotated[list[Path], Parameter(negative=())],
    /,
    *,
    schema: Path,
    ignore: Annotated[list[str] | None, Parameter(negative=())] = None,
    good: str | None = None,
    common: Common = DEFAULT,
) -> int:
    """Hold files of rows against a schema before a model is asked about them: CSV, JSON lines, Parquet. Exits with 10 where a row is otherwise than agreed, or could not be read.

    Parameters
    ----------
    files
        Files or folders of them.
    schema
        What was agreed: a file that `guard schema` wrote, an MLmodel file, what a KServe server tells of a model.
    ignore
        A column that is no feature: an id, a label. Repeatable.
    good
        Write the rows that are as agreed here, as JSON lines.
    """
    from afterguard.files import limits_of, named, why
    from afterguard.guard import schema as schema_files
    from afterguard.jobs import feature_rows as job

    session = open_session(common)
    try:
        agreed = schema_files.load(named(schema, schema_files.CAP).decode("utf-8"), str(schema))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot read the schema {schema}: {why(error)}",
            hint="afterguard guard schema SAMPLE... -o FILE",
            slug="bad-schema",
        ) from None
    progress = Progress(session, "guard rows: looking")
    encode = msgspec.json.Encoder().encode
    with ExitStack() as stack:
        stack.callback(progress.close)
        sink = stack.enter_context(writing(good)) if good else None
        found = job.check(
            files,
            agreed,
            session.note,
            ignore=ignore or (),
            limits=limits_of(session.config.limits),
            write=(lambda row: sink.write(encode(row).decode() + "\n")) if sink else None,
            progress=lambda count, done: progress(count, "rows", done),
        )
    if not found.rows:
        raise NothingToExamine("no rows in these files", hint="CSV, JSON lines or Parquet", slug="nothing-to-examine")
    with writing(common.output) as out:
        if common.format == "json":
            out.write(msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n")
        else:
            out.writelines(terminal(text) + "\n" for text in job.lines(found))
    session.say(f"guard rows: {found.rows:,} rows, {found.good:,} as agreed, {found.unread:,} not readable")
    session.next(f"afterguard guard --upstream NAME:KIND=URL --schema NAME={schema}")
    return EXIT_GATE if found.good < found.rows and not common.no_fail else 0
