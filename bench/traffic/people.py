"""Who sends: people with habits, behind their own address, their company's, or a mobile network's; newcomers every day.

In: an application, how many sessions from which zone and when. Out: columns of identities. Traits come from the hash of a person, so nothing has to be kept.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .apps import ZONES, App
from .days import DAY, Plan
from .draw import F64, U64, Ints, named, objects, repeated, share
from .rows import Rows

COUNTRIES = objects([country for country, _, _ in ZONES])
TRAVEL = objects(["FR", "GB", "ES", "CA", "MX", "SG", "AU", "IT"])
TAIL = objects(
    [
        "NL",
        "RO",
        "SG",
        "RU",
        "VN",
        "CN",
        "PL",
        "SE",
        "TR",
        "NG",
        "ZA",
        "EG",
        "AR",
        "CO",
        "CL",
        "PE",
        "ID",
        "PH",
        "TH",
        "MY",
        "KR",
        "TW",
        "IL",
        "AE",
        "SA",
        "PT",
        "GR",
        "CZ",
        "HU",
        "UA",
    ]
)
"""Where the company has a few customers each."""
STRIDE = len(ZONES)
NEW = 1 << 32
"""Numbers of newcomers begin here."""


def persons(app: App, plan: Plan, rng: np.random.Generator, zone: Ints, time: F64) -> Ints:
    """Numbers of people: those known from the start, few of whom do much, and those who came since."""
    n = len(zone)
    parts = np.array([part for _, _, part in ZONES])
    size = np.maximum(4, (app.people * plan.scale * parts).astype(np.int64))[zone]
    number = np.minimum((size * rng.random(n) ** 1.6).astype(np.int64), size - 1)
    # Newcomers have a number by the time they came: some came just now, the others come back for some days.
    rate = size * app.newcomers / (2 * DAY)
    age = np.where(rng.random(n) < 0.4, 0.0, rng.exponential(4 * DAY, n))
    came = ((time - plan.start - age) * rate).astype(np.int64)
    new = (rng.random(n) < app.newcomers) & (came >= 0)
    return np.asarray(np.where(new, NEW + came, number) * STRIDE + zone)


def offices(app: App, plan: Plan) -> int:
    """Addresses that companies send from."""
    return max(4, int(app.people * plan.scale / 700))


def sessions(app: App, plan: Plan, seed: int, rng: np.random.Generator, zone: Ints, time: F64) -> Rows:
    """The identities of sessions that begin at these times in these zones."""
    return identities(app, plan, seed, rng, persons(app, plan, rng, zone, time), time)


def identities(app: App, plan: Plan, seed: int, rng: np.random.Generator, who: Ints, time: F64) -> Rows:
    """How these people appear; `person` is the hash of who it is, known or not."""
    n, zone = len(who), who % STRIDE
    person = named(who, seed, app.name, "person")
    trait = {word: share(person, word) for word in ("known", "nat", "mobile", "client", "team", "shared")}
    device = named(person, "device")
    second = rng.random(n) < 0.08
    device[second] = named(person[second], "second device")
    # A new telephone once in two hundred days, a family's tablet, a few public terminals (three of them new each week).
    age = ((time - plan.start) / DAY + share(person, "phone") * 200) // 200
    device = np.where(age > 0, named(device ^ age.astype(np.uint64), "newer"), device)
    device = np.where(trait["shared"] < 0.03, named(who // STRIDE // 2, seed, app.name, "tablet"), device)
    week = ((time - plan.start) // (7 * DAY)).astype(np.int64)
    terminal = rng.random(n) < (0.002 if app.weekend > 0.5 else 0)
    device = np.where(terminal, named(week * 3 + rng.integers(0, 6, n), seed, app.name, "terminal"), device)
    address, network, region = places(app, plan, seed, rng, person, who, zone, time)
    user = np.where(trait["known"] < app.known, named(person, "user"), np.uint64(0))
    clients = np.cumsum([part for _, part in app.clients])
    client = objects([name for name, _ in app.clients])[
        np.minimum(np.searchsorted(clients, trait["client"]), len(clients) - 1)
    ]
    sent = (share(person, "sends device") < 0.9) | (app.name != "shop-chat")
    return {
        "person": person,
        "user": user,
        "device": np.where(sent, device, np.uint64(0)),
        "address": address,
        "network": network,
        "region": region,
        "client": client,
        "key": keys(app, seed, rng, person, trait["team"]),
        "conversation": named(rng.integers(1, 1 << 62, n), "conversation"),
    }


def places(
    app: App, plan: Plan, seed: int, rng: np.random.Generator, person: U64, who: Ints, zone: Ints, time: F64
) -> tuple[U64, U64, NDArray[np.object_]]:
    """Address, its network, region of each session."""
    n = len(person)
    # At home: the provider gives another address every ten days; a few neighbours share a /24.
    lease = ((time - plan.start) / DAY / 10 + share(person, "lease")).astype(np.uint64)
    address = named(person ^ (lease << np.uint64(7)), "home")
    network = named(who // STRIDE // 3 * STRIDE + zone, seed, app.name, "street")
    # At work: everybody behind one of the company's two addresses.
    nat = share(person, "nat") < app.nat
    office = (share(person, "office") ** 1.5 * offices(app, plan)).astype(np.int64) * STRIDE + zone
    address = np.where(nat, named(office * 2 + (rng.random(n) < 0.3), seed, app.name, "office"), address)
    network = np.where(nat, named(office, seed, app.name, "office net"), network)
    # On the way: another address of the carrier's pool each session.
    mobile = (share(person, "mobile") < app.mobile) & (rng.random(n) < 0.55)
    pool = rng.integers(0, max(64, int(6000 * plan.scale)), n) * STRIDE + zone
    address = np.where(mobile, named(pool, seed, "carrier"), address)
    network = np.where(mobile, named(pool // STRIDE // 24 * STRIDE + zone, seed, "carrier net"), network)
    # Once: a fair, a stadium, a train, everybody there behind one new address for a day.
    day = ((time - plan.start) / DAY).astype(np.uint64)
    venue = rng.random(n) < (0.006 if app.weekend > 0.5 else 0.001)
    address = np.where(venue, named(day * np.uint64(STRIDE) + zone.astype(np.uint64), seed, "venue"), address)
    network = np.where(venue, named(day * np.uint64(STRIDE) + zone.astype(np.uint64), seed, "venue net"), network)
    # Travelling: some days in another country, from one hotel.
    trip = share(person ^ (day // np.uint64(4)), "trip")
    away = trip < 0.008
    address = np.where(away, named(person ^ day, "hotel"), address)
    network = np.where(away, named(person ^ day, "hotel net"), network)
    region = COUNTRIES[zone]
    far = share(person, "far")
    region[far < 0.04] = TAIL[(far[far < 0.04] * 25 * len(TAIL)).astype(np.int64)]
    region[away] = TRAVEL[(trip[away] * 1000).astype(np.int64) % len(TRAVEL)]
    return address, network, region


def keys(app: App, seed: int, rng: np.random.Generator, person: U64, team: F64) -> U64:
    n = len(person)
    if app.keys == "user":
        return named(person, "key")
    if app.keys == "team":
        return named((team * 24).astype(np.int64), seed, app.name, "team key")
    if app.keys == "partner":
        return named((team**2 * 14).astype(np.int64), seed, app.name, "partner key")
    return named(np.zeros(n), seed, app.name, "app key")


def key_of_app(app: App, seed: int) -> np.uint64:
    """The application's own credential, which every ordinary request of it carries."""
    return np.uint64(named([0], seed, app.name, "app key")[0])


def service(seed: int, app: str, name: str, n: int, client: str, region: str = "US") -> Rows:
    """A machine of one's own: one key, one address, no user."""
    return {
        "key": np.full(n, named([0], seed, app, name, "key")[0]),
        "address": np.full(n, named([0], seed, app, name, "address")[0]),
        "network": np.full(n, named([0], seed, app, "machines")[0]),
        "region": repeated(region, n),
        "client": repeated(client, n),
    }
