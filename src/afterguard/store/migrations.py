"""The tables, as a list of named steps that only ever grows, and the runner that applies what is missing.

In: an open Connection. Out: the database at this version's schema. A database with a step this version does not know was written
by a newer one and is refused, not touched.
"""

from __future__ import annotations

from afterguard.errors import UsageError
from afterguard.store.connection import Connection

OWNED = "tenant TEXT NOT NULL, app TEXT NOT NULL"
OF_RUN = f"id TEXT PRIMARY KEY, run TEXT NOT NULL REFERENCES run(id) ON DELETE CASCADE, {OWNED}"
STEPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "0001-runs",
        (
            f"""CREATE TABLE run (id TEXT PRIMARY KEY, {OWNED}, command TEXT NOT NULL, version TEXT NOT NULL,
                started DOUBLE PRECISION NOT NULL, finished DOUBLE PRECISION, status TEXT NOT NULL, parts TEXT NOT NULL,
                root TEXT NOT NULL, files BIGINT NOT NULL, bytes BIGINT NOT NULL, exchanges BIGINT NOT NULL,
                log_first DOUBLE PRECISION, log_last DOUBLE PRECISION, assets BIGINT NOT NULL, findings BIGINT NOT NULL,
                incidents BIGINT NOT NULL, annual_mean DOUBLE PRECISION, one_in_twenty DOUBLE PRECISION, currency TEXT,
                loss TEXT)""",
            "CREATE INDEX run_of_app ON run (tenant, app, started)",
            f"""CREATE TABLE asset ({OF_RUN}, kind TEXT NOT NULL, name TEXT NOT NULL, identity TEXT NOT NULL,
                confidence TEXT NOT NULL, owner TEXT NOT NULL, first_seen DOUBLE PRECISION, last_seen DOUBLE PRECISION,
                body TEXT NOT NULL)""",
            "CREATE INDEX asset_of_run ON asset (run, identity)",
            f"""CREATE TABLE evidence ({OF_RUN}, asset TEXT NOT NULL REFERENCES asset(id) ON DELETE CASCADE,
                path TEXT NOT NULL, line BIGINT NOT NULL, matched TEXT NOT NULL, source TEXT NOT NULL)""",
            "CREATE INDEX evidence_of_asset ON evidence (asset)",
            "CREATE INDEX evidence_of_run ON evidence (run)",
            f"""CREATE TABLE finding ({OF_RUN}, fingerprint TEXT NOT NULL, rule TEXT NOT NULL, severity TEXT NOT NULL,
                confidence TEXT NOT NULL, path TEXT NOT NULL, line BIGINT NOT NULL, suppressed BIGINT NOT NULL,
                body TEXT NOT NULL)""",
            "CREATE INDEX finding_of_run ON finding (run, fingerprint)",
            "CREATE INDEX finding_by_fingerprint ON finding (tenant, app, fingerprint)",
            f"""CREATE TABLE incident ({OF_RUN}, incident TEXT NOT NULL, kind TEXT NOT NULL, cause TEXT NOT NULL,
                severity TEXT NOT NULL, confidence TEXT NOT NULL, status TEXT NOT NULL, first_seen DOUBLE PRECISION,
                last_seen DOUBLE PRECISION, seen BIGINT NOT NULL, identifiers BIGINT NOT NULL, body TEXT NOT NULL)""",
            "CREATE INDEX incident_of_run ON incident (run, kind)",
            f"""CREATE TABLE hit ({OF_RUN}, exchange TEXT NOT NULL, detector TEXT NOT NULL, kind TEXT NOT NULL,
                severity TEXT NOT NULL, cause TEXT NOT NULL, body TEXT NOT NULL)""",
            "CREATE INDEX hit_of_run ON hit (run, kind)",
            f"""CREATE TABLE coverage ({OF_RUN}, path TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL,
                seen BIGINT NOT NULL, bytes BIGINT NOT NULL)""",
            "CREATE INDEX coverage_of_run ON coverage (run)",
        ),
    ),
    (
        "0002-decisions",
        (
            f"""CREATE TABLE suppression (id TEXT PRIMARY KEY, {OWNED}, fingerprint TEXT NOT NULL, rule TEXT NOT NULL,
                path TEXT NOT NULL, reason TEXT NOT NULL, who TEXT NOT NULL, created DOUBLE PRECISION NOT NULL,
                expires DOUBLE PRECISION NOT NULL)""",
            "CREATE INDEX suppression_of_app ON suppression (tenant, app)",
            f"""CREATE TABLE disposition (id TEXT PRIMARY KEY, {OWNED}, kind TEXT NOT NULL, cause TEXT NOT NULL,
                status TEXT NOT NULL, reason TEXT NOT NULL, who TEXT NOT NULL, created DOUBLE PRECISION NOT NULL)""",
            "CREATE INDEX disposition_of_app ON disposition (tenant, app, kind, cause)",
        ),
    ),
    (
        "0003-originals",
        (
            f"""CREATE TABLE original_key (id TEXT PRIMARY KEY, {OWNED}, wrapped TEXT NOT NULL, kek TEXT NOT NULL,
                created DOUBLE PRECISION NOT NULL, destroyed DOUBLE PRECISION)""",
            "CREATE INDEX original_key_of_app ON original_key (tenant, app)",
            f"""CREATE TABLE original (id TEXT PRIMARY KEY, {OWNED}, data_key TEXT NOT NULL, subject TEXT NOT NULL,
                data_class TEXT NOT NULL, size BIGINT NOT NULL, digest TEXT NOT NULL, created DOUBLE PRECISION NOT NULL,
                expires DOUBLE PRECISION NOT NULL)""",
            "CREATE INDEX original_expiry ON original (expires)",
            "CREATE INDEX original_of_subject ON original (tenant, app, subject)",
            f"""CREATE TABLE legal_hold (id TEXT PRIMARY KEY, {OWNED}, subject TEXT NOT NULL, reason TEXT NOT NULL,
                who TEXT NOT NULL, created DOUBLE PRECISION NOT NULL, released DOUBLE PRECISION)""",
            f"""CREATE TABLE original_access (id TEXT PRIMARY KEY, {OWNED}, original TEXT NOT NULL, who TEXT NOT NULL,
                why TEXT NOT NULL, outcome TEXT NOT NULL, at DOUBLE PRECISION NOT NULL)""",
            f"""CREATE TABLE deletion (position BIGINT PRIMARY KEY, id TEXT NOT NULL, {OWNED}, what TEXT NOT NULL,
                digest TEXT NOT NULL, why TEXT NOT NULL, at DOUBLE PRECISION NOT NULL, previous TEXT NOT NULL,
                link TEXT NOT NULL)""",
        ),
    ),
    (
        "0004-alerts",
        (
            f"""CREATE TABLE alert (id TEXT PRIMARY KEY, {OWNED}, fingerprint TEXT NOT NULL, kind TEXT NOT NULL, severity TEXT NOT NULL,
                state TEXT NOT NULL, suppressed BIGINT NOT NULL, risk BIGINT NOT NULL, first_seen DOUBLE PRECISION,
                last_seen DOUBLE PRECISION, revision BIGINT NOT NULL, incident TEXT NOT NULL, body TEXT NOT NULL)""",
            "CREATE INDEX alert_of_app ON alert (tenant, app, last_seen)",
            "CREATE INDEX alert_of_incident ON alert (tenant, incident)",
            f"""CREATE TABLE alert_said (id TEXT PRIMARY KEY, {OWNED}, what TEXT NOT NULL, created DOUBLE PRECISION NOT NULL,
                body TEXT NOT NULL)""",
            "CREATE INDEX alert_said_of ON alert_said (tenant, what, created)",
        ),
    ),
    (
        "0005-cases",
        (
            f"""CREATE TABLE casefile (id TEXT PRIMARY KEY, {OWNED}, status TEXT NOT NULL, severity TEXT NOT NULL,
                opened DOUBLE PRECISION NOT NULL, updated DOUBLE PRECISION NOT NULL, version BIGINT NOT NULL,
                body TEXT NOT NULL)""",
            "CREATE INDEX casefile_of_app ON casefile (tenant, app, updated)",
            f"""CREATE TABLE casefile_alert (id TEXT PRIMARY KEY, {OWNED},
                casefile TEXT NOT NULL REFERENCES casefile(id) ON DELETE CASCADE, alert TEXT NOT NULL, body TEXT NOT NULL)""",
            "CREATE INDEX casefile_alert_of_case ON casefile_alert (casefile)",
            "CREATE INDEX casefile_alert_by_alert ON casefile_alert (alert)",
            f"""CREATE TABLE casefile_change (id TEXT PRIMARY KEY, {OWNED}, at DOUBLE PRECISION NOT NULL,
                who TEXT NOT NULL, what TEXT NOT NULL, undone BIGINT NOT NULL, body TEXT NOT NULL)""",
            "CREATE INDEX casefile_change_of_app ON casefile_change (tenant, app, at)",
        ),
    ),
    (
        "0006-attacks",
        (
            f"""CREATE TABLE attack ({OF_RUN}, target TEXT NOT NULL, attack TEXT NOT NULL, way TEXT NOT NULL,
                ended DOUBLE PRECISION, requests BIGINT NOT NULL, stopped TEXT NOT NULL)""",
            "CREATE INDEX attack_of_app ON attack (tenant, app, ended)",
            "CREATE INDEX attack_of_run ON attack (run)",
            f"""CREATE TABLE attack_family ({OF_RUN}, technique TEXT NOT NULL, kind TEXT NOT NULL, severity TEXT NOT NULL,
                succeeded BIGINT NOT NULL, trials BIGINT NOT NULL, effective DOUBLE PRECISION, body TEXT NOT NULL)""",
            "CREATE INDEX attack_family_of_run ON attack_family (run)",
        ),
    ),
)  # fmt: skip


def migrate(connection: Connection, now: float) -> list[str]:
    """Apply the missing steps, all or none; the names applied. UsageError when a newer version wrote the database."""
    known = [name for name, _ in STEPS]
    if _applied(connection) == known:
        return []
    with connection.transaction():
        connection.serialise()
        connection.execute(
            "CREATE TABLE IF NOT EXISTS migration (name TEXT PRIMARY KEY, applied DOUBLE PRECISION NOT NULL)"
        )
        there = {name for (name,) in connection.execute("SELECT name FROM migration")}
        unknown = sorted(there - set(known))
        if unknown:
            raise UsageError(
                f"the store {connection.name} was written by a newer Afterguard (it has {unknown[-1]})",
                hint="update Afterguard, or give another store",
                slug="store-newer",
            )
        missing = [(name, statements) for name, statements in STEPS if name not in there]
        for name, statements in missing:
            for statement in statements:
                connection.execute(statement)
            connection.execute("INSERT INTO migration (name, applied) VALUES (?, ?)", (name, now))
    return [name for name, _ in missing]


def _applied(connection: Connection) -> list[str]:
    """Names applied, in order; [] for a new database."""
    catalog = "SELECT COUNT(*) FROM pg_tables WHERE tablename = 'migration' AND schemaname = current_schema()"
    if not connection.execute(
        catalog if connection.postgres else "SELECT COUNT(*) FROM sqlite_master WHERE name = 'migration'"
    )[0][0]:
        return []
    return [name for (name,) in connection.execute("SELECT name FROM migration ORDER BY name")]
