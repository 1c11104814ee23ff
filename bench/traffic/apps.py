"""The applications of an ordinary company, as numbers: how much, by whom, how long, how dear, how often refused.

In: nothing. Out: `App` and `APPS`. Shares are of all requests in a day; sizes are medians of lognormals.
"""

from __future__ import annotations

from dataclasses import dataclass

ZONES = (
    ("US", -5.0, 0.34),
    ("US", -8.0, 0.16),
    ("DE", 1.0, 0.24),
    ("IN", 5.5, 0.14),
    ("BR", -3.0, 0.07),
    ("JP", 9.0, 0.05),
)
"""Country as a region, hours from UTC, share of people."""

CONSUMER = (3, 2, 1.3, 1, 1, 1.6, 3, 5, 7, 8.5, 9.5, 10, 10, 9.6, 9.3, 9.2, 9.3, 9.6, 10.2, 11, 11.2, 10, 7.5, 5)
OFFICE = (
    0.2,
    0.15,
    0.1,
    0.1,
    0.15,
    0.3,
    0.8,
    2.5,
    7,
    11,
    12,
    11.5,
    8,
    9.5,
    11.5,
    11.5,
    10,
    7.5,
    4,
    2,
    1.3,
    0.9,
    0.6,
    0.3,
)
STEADY = (1.0,) * 24
"""Weight of each local hour."""


@dataclass(frozen=True)
class App:
    """One application and the people who use it."""

    name: str
    share: float
    hours: tuple[float, ...]
    weekend: float
    """Of a weekday's traffic."""
    people: int
    """Known from the start, at a million requests a day."""
    newcomers: float
    """Share of sessions of people who came since the start."""
    known: float
    """Share of people whose user is known, and of those whose device is."""
    model: str
    version: str
    clients: tuple[tuple[str, float], ...]
    keys: str
    """Whose credential: one of the app, of a team, of the user, of a partner."""
    turns: float
    """Mean of a geometric distribution."""
    gap: float
    """Seconds between turns."""
    tokens: tuple[float, float, float]
    """In: median, sigma, growth for each turn."""
    reply: tuple[float, float]
    price: tuple[float, float]
    """US dollars a million tokens in and out."""
    topics: int
    refused: float
    stock: float
    """Share of texts that many people write alike: greetings, thanks, the same question about an order."""
    nat: float
    """Share of people behind their company's address."""
    mobile: float
    tools: tuple[tuple[str, ...], ...] = ()
    operation: str = "chat"
    stray: float = 0.01
    """Share of texts on any other topic than the application's."""


BROWSER = (("browser", 0.62), ("ios-app", 0.22), ("android-app", 0.16))
FILES = (
    ("read_file",),
    ("read_file", "search"),
    ("edit_file",),
    ("run_tests",),
    ("edit_file", "run_tests"),
    ("list_files",),
)
MONEY = (("find_account",), ("list_payments",), ("find_order",), ("find_account", "list_payments"))

APPS = (
    App(
        "shop-chat",
        0.33,
        CONSUMER,
        1.1,
        60_000,
        0.35,
        0.7,
        "mid-4",
        "mid-4-0312",
        BROWSER,
        "app",
        3.2,
        45,
        (420, 0.5, 1.25),
        (150, 0.6),
        (0.6, 2.4),
        24,
        0.012,
        0.22,
        0.04,
        0.4,
        (("find_order",), (), (), ()),
    ),
    App(
        "assistant",
        0.17,
        OFFICE,
        0.08,
        9_000,
        0.04,
        1.0,
        "large-5",
        "large-5-0201",
        (("browser", 0.7), ("desktop-app", 0.3)),
        "team",
        4.0,
        80,
        (900, 0.8, 1.35),
        (380, 0.7),
        (3, 15),
        60,
        0.008,
        0.08,
        0.9,
        0.05,
        (("search",), (), (), ("calendar",)),
        stray=0.06,
    ),
    App(
        "coder",
        0.20,
        OFFICE,
        0.2,
        1_500,
        0.03,
        1.0,
        "large-5",
        "large-5-0201",
        (("code-cli", 0.8), ("ide-plugin", 0.2)),
        "user",
        14.0,
        14,
        (9_000, 0.7, 1.06),
        (420, 0.9),
        (3, 15),
        30,
        0.002,
        0.04,
        0.55,
        0.02,
        FILES,
        stray=0.02,
    ),
    App(
        "doc-search",
        0.14,
        OFFICE,
        0.25,
        12_000,
        0.1,
        0.95,
        "small-3",
        "small-3-1105",
        (("browser", 0.9), ("openai-python", 0.1)),
        "app",
        1.8,
        50,
        (2_600, 0.4, 1.1),
        (220, 0.5),
        (0.2, 0.8),
        40,
        0.006,
        0.1,
        0.8,
        0.06,
        (("retrieve",),),
    ),
    App(
        "payments",
        0.04,
        CONSUMER,
        0.8,
        16_000,
        0.15,
        1.0,
        "mid-4",
        "mid-4-0312",
        (("ios-app", 0.5), ("android-app", 0.35), ("browser", 0.15)),
        "app",
        3.0,
        35,
        (700, 0.4, 1.2),
        (120, 0.5),
        (0.6, 2.4),
        10,
        0.01,
        0.25,
        0.03,
        0.55,
        MONEY,
    ),
    App(
        "fraud-score",
        0.10,
        CONSUMER,
        1.05,
        45_000,
        0.25,
        1.0,
        "fraud-gbm",
        "17",
        (("java-client", 1.0),),
        "app",
        1.15,
        20,
        (0, 0, 1),
        (0, 0),
        (0, 0),
        1,
        0.0,
        0.0,
        0.02,
        0.5,
        operation="predict",
    ),
    App(
        "loan-score",
        0.02,
        OFFICE,
        0.35,
        9_000,
        0.6,
        0.9,
        "loan-lr",
        "6",
        (("java-client", 0.6), ("browser", 0.4)),
        "partner",
        1.6,
        150,
        (0, 0, 1),
        (0, 0),
        (0, 0),
        1,
        0.0,
        0.0,
        0.1,
        0.2,
        operation="predict",
    ),
)
BY_NAME = {app.name: app for app in APPS}
FEATURES = {"fraud-score": 12, "loan-score": 9}
DOCUMENTS = 30_000
"""In the search's index at a million requests a day."""
