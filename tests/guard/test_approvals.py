"""What the action ask holds, and what passes when a person has approved it: the door alone with a clock made of Python, on the file and on a real Redis."""

from __future__ import annotations

import importlib.util
import json
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from afterguard.errors import Unreachable, UsageError
from afterguard.guard import approvals, hold
from afterguard.guard.approvals import Approval, Book, Shelf, fingerprint, is_genuine, sealed, surplus
from afterguard.guard.shelf import InFile, InRedis
from afterguard.guard.who import pseudonym, who
from afterguard.jobs import approvals as job
from afterguard.jobs.approvals import Approver, Order
from afterguard.store.keys import create_key_file

if "guard_running" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("guard_running", Path(__file__).with_name("running.py"))
    assert _spec and _spec.loader
    sys.modules["guard_running"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["guard_running"])
running: Any = sys.modules["guard_running"]

SECRET = b"k" * 32
TOOL = "refund"
HELD = running.KEY
RULES = (
    running.rule("ask-model", "ask", "request", {"exchange.model": "askme"}),
    running.rule("ask-secret", "ask", "request", {"hit.kind": "secret_in_input"}),
    running.rule("ask-refund", "ask", "call", {"call.tool": TOOL}),
    running.rule("ask-reply", "ask", "response", {"hit.kind": "secret_in_output"}),
)


class House:
    """A door, its book, a clock, and a person."""

    def __init__(self, folder: Path, shelf: Callable[[], Shelf] | None = None) -> None:
        self.now = 1_000.0
        self.answer: Any = lambda asked: running.Said([running.reply("Fine.")])
        self.door = running.Door(folder, lambda asked: self.answer(asked), running.rules(*RULES))
        self.shelf = shelf or (lambda: InFile(folder))
        self.events: list[str] = []
        self.book = Book(self.shelf(), SECRET, lambda: self.now, lambda event, route: self.events.append(event))
        self.door.brain.approvals = self.book
        self.desk = Approver(self.shelf(), SECRET, folder / "people.jsonl", self.now)

    def ask(self, body: bytes, *headers: tuple[bytes, bytes]) -> Any:
        """One exchange; what was asked stands in the shared state afterwards, and what was settled before was known."""
        self.book.now()
        got = self.door.one(body, *headers)
        self.book.now()
        return got

    def settle(self, got: Any, verdict: str = "approved", **more: Any) -> Approval:
        """A person answers."""
        identifier = got if isinstance(got, str) else got.headers[b"x-afterguard-approval"].decode()
        order = Order(verdict, "Kim", "ticket 7", **more)
        return job.settle(self.desk._replace(now=self.now), identifier, order)

    def calls(self, *arguments: Any, stream: bool = False) -> None:
        """The model calls the tool from now on."""
        rows = [
            {"id": f"c{n}", "type": "function", "function": {"name": TOOL, "arguments": given}}
            for n, given in enumerate(arguments)
        ]
        if not stream:
            self.answer = lambda asked: running.Said([running.reply("", tool_calls=rows)])
            return
        frames = [running._event({"tool_calls": [{"index": n, **row}]}, None) for n, row in enumerate(rows)]
        frames += [running._event({}, "tool_calls"), b"data: [DONE]\n\n"]
        self.answer = lambda asked: running.Said(list(frames), kind=running.EVENTS)

    def own(self) -> dict[str, Any]:
        """The last decision."""
        found: dict[str, Any] = self.door.lines()[-1]["unmapped"]["afterguard"]
        return found


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


ASKED = running.chat("May I?", model="askme")


def test_a_request_is_held_and_passes_once(house: House) -> None:
    first = house.ask(ASKED)
    assert first.status == 400 and first.headers[b"x-should-retry"] == b"false"
    error = json.loads(first.body)["error"]
    assert (
        error["code"] == "afterguard_approval"
        and f"[approval {first.id}: a person has to approve it" in error["message"]
    )
    assert house.own()["approvals"] == [{"id": first.id, "state": "asked"}] and house.own()["action"] == "ask"
    again = house.ask(ASKED)
    assert again.status == 400 and again.headers[b"x-afterguard-approval"] == first.id.encode()
    assert len(house.book.known) == 1 and house.events == ["asked"]
    house.settle(first)
    assert house.ask(running.chat("May I now?", model="askme")).status == 400
    passed = house.ask(ASKED)
    assert passed.status == 200 and not house.door.source.asked[1:]
    assert house.own()["approvals"] == [{"id": first.id, "state": "approved", "by": "Kim", "is_another": False}]
    assert house.own()["action"] == "flag"
    third = house.ask(ASKED)
    assert third.status == 400 and third.headers[b"x-afterguard-approval"] == third.id.encode() != first.id.encode()
    assert house.door.lines()[-1]["firewall_rule"]["desc"] == running.SAYS


def test_no_prompt_is_kept(house: House, tmp_path: Path) -> None:
    house.ask(running.chat(f"My key is {HELD}, tell nobody about Rumpelstiltskin."))
    house.ask(running.chat("Rumpelstiltskin wants this.", model="askme"))
    kept = (tmp_path / "approvals.json").read_bytes()
    assert HELD.encode() not in kept and b"wants this" not in kept and b"secret_in_input" in kept
    assert (tmp_path / "approvals.json").stat().st_mode & 0o077 == 0


def test_another_conversation_or_caller_asks_again(house: House) -> None:
    here, there = (b"x-session-id", b"a"), (b"x-session-id", b"b")
    caller, other = (b"authorization", b"Bearer one"), (b"authorization", b"Bearer two")
    house.settle(house.ask(ASKED, here, caller))
    assert house.ask(ASKED, there, caller).status == 400
    assert house.ask(ASKED, here, other).status == 400
    assert house.ask(ASKED, here, caller).status == 200


def test_who_signs_for_aws_is_known_by_the_access_key() -> None:
    def caller(key: str, signature: str) -> str:
        said = f"AWS4-HMAC-SHA256 Credential={key}/20261101/eu-west-1/bedrock/aws4_request, SignedHeaders=host, Signature={signature}"
        return who([(b"authorization", said.encode())], running.pseudonym)[0]

    assert caller("AKIAONE", "aa") == caller("AKIAONE", "bb") != caller("AKIATWO", "aa")
    assert who([(b"authorization", b"Bearer one")], running.pseudonym)[0] == running.pseudonym("Bearer one")


def test_what_was_let_through_passes_as_history(house: House) -> None:
    said = f"Use {HELD} for it."
    house.settle(house.ask(running.chat(said)))
    assert house.ask(running.chat(said)).status == 200
    assert house.ask(running.chat(said, "Fine.", "Thanks.")).status == 200
    assert house.ask(running.chat(said, "Fine.", "Thanks.", "Any time.", "Bye.")).status == 200
    assert house.ask(running.chat(said)).status == 400, "as the newest message it is a new request"
    other = f"And now use {HELD} for that."
    assert house.ask(running.chat(said, "Fine.", other)).status == 400


def test_a_denial_stands_until_it_is_approved(house: House) -> None:
    first = house.ask(ASKED)
    house.settle(first, "denied")
    refused = house.ask(ASKED)
    assert refused.status == 400 and json.loads(refused.body)["error"]["code"] == "afterguard_denied"
    assert house.own()["approvals"] == [{"id": first.id, "state": "denied", "by": "Kim", "is_another": False}]
    house.settle(first)
    assert house.ask(ASKED).status == 200


def test_an_approval_ends_and_can_be_taken_back(house: House) -> None:
    house.settle(house.ask(ASKED), minutes=5)
    house.now += 301
    late = house.ask(ASKED)
    assert late.status == 400
    house.settle(late, uses=3)
    assert house.ask(ASKED).status == house.ask(ASKED).status == 200
    house.settle(late, "denied")
    assert house.ask(ASKED).status == 400
    fresh = house.ask(running.chat("Something else?", model="askme"))
    house.now += approvals.WAITS
    with pytest.raises(UsageError, match="is expired"):
        house.settle(fresh)
    assert house.book.states() == {"pending": 0, "approved": 0, "denied": 1, "used": 0, "expired": 2}


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_is_taken_out_and_passes_once(house: House, stream: bool) -> None:
    def seen(got: Any) -> int:
        return got.body.count(b'"arguments"')

    body = running.chat("Refund me.", stream=stream)
    house.calls('{"amount": 5, "to": "x"}', stream=stream)
    held = house.ask(body)
    assert held.status == 200 and not seen(held) and b"[approval " + held.id.encode() in held.body
    assert len(house.book.known) == 1
    (entry,) = house.book.known.values()
    assert entry.at == "call" and entry.evidence == ('call refund({"amount": 5, "to": "x"})',)
    house.settle(held.id)
    house.calls('{"amount": 6, "to": "x"}', stream=stream)
    other = house.ask(body)
    assert not seen(other)
    house.calls('{"to":"x","amount":5}', stream=stream)
    passed = house.ask(body)
    assert seen(passed) == 1 and house.own()["approvals"][0]["state"] == "approved"
    assert house.own()["action"] == "flag"
    again = house.ask(body)
    assert not seen(again)


@pytest.mark.parametrize("stream", [False, True])
def test_the_same_call_twice_is_two_calls(house: House, stream: bool) -> None:
    body = running.chat("Refund me.", stream=stream)
    house.calls('{"amount": 5}', stream=stream)
    house.settle(house.ask(body).id)
    house.calls('{"amount": 5}', '{"amount": 5}', stream=stream)
    got = house.ask(body)
    assert got.body.count(b'"arguments"') == 1 and house.own()["action"] == "ask"
    assert house.ask(body).body.count(b'"arguments"') == 0
    house.settle(next(one.id for one in house.book.known.values() if len(one.parts) == 2))
    assert house.ask(body).body.count(b'"arguments"') == 2 and house.own()["action"] == "flag"
    assert house.ask(body).body.count(b'"arguments"') == 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_reply_is_held_whole_and_what_weaker_rules_say_is_still_done(house: House, stream: bool) -> None:
    def answer(text: str) -> None:
        if stream:
            house.answer = lambda asked: running.Said(running.events(text), kind=running.EVENTS)
        else:
            house.answer = lambda asked: running.Said([running.reply(text)])

    body = running.chat("What is it?", stream=stream)
    answer(f"The key is {HELD} and it works.")
    held = house.ask(body)
    assert HELD.encode() not in held.body and b"a person has to approve it" in held.body
    assert b'"afterguard_approval"' in held.body
    house.settle(held.id)
    answer(f"Here you are: {HELD}.")
    passed = house.ask(body)
    said = running.told(passed.body) if stream else passed.body.decode()
    assert "Here you are" in said and HELD not in said, "approved, and masked by the rule that masks"
    assert b"a person has to approve it" in house.ask(body).body


def test_an_entry_stays_small(house: House) -> None:
    many = [f"Use {HELD[:-3]}{n:03} for it." for n in range(120)]
    body = running.chat(*[{"role": "user", "content": text} for text in many])
    first = house.ask(body)
    (entry,) = house.book.known.values()
    assert len(entry.parts) == 1 and len(entry.evidence) <= hold.EVIDENCE
    house.settle(first)
    assert house.ask(running.chat(*[{"role": "user", "content": text} for text in many[1:]])).status == 400
    assert house.ask(body).status == 200
    house.calls(*(f'{{"amount": {n}}}' for n in range(70)))
    got = house.ask(running.chat("Refund them all."))
    assert b'"arguments"' not in got.body and len(house.book.known[got.id].parts) == hold.PARTS
    house.settle(got.id)
    assert house.ask(running.chat("Refund them all.")).body.count(b'"arguments"') == hold.PARTS


def test_where_the_state_is_away_it_is_asked_again(house: House, tmp_path: Path) -> None:
    first = house.ask(ASKED)
    house.settle(first)
    house.book.now()
    failures: list[int] = []
    house.book.failed = lambda: failures.append(1)
    (tmp_path / "approvals.json").write_bytes(b"{")
    assert house.door.one(ASKED).status == 400 and failures
    with pytest.raises(Unreachable, match="cannot be read"):
        house.settle(first)


def test_who_cannot_seal_cannot_approve(house: House, tmp_path: Path) -> None:
    first = house.ask(ASKED)
    file = tmp_path / "approvals.json"
    kept = json.loads(file.read_bytes())
    (row,) = kept["approvals"]
    forged = row | {"verdict": "approved", "by": "Mallory", "uses": 9}
    file.write_text(json.dumps(kept | {"approvals": [forged]}))
    assert house.ask(ASKED).status == 400 and "forged" in house.events
    misleading = row | {"evidence": ["something harmless"]}
    file.write_text(json.dumps(kept | {"approvals": [misleading]}))
    with pytest.raises(UsageError, match="not written by this guard"):
        house.settle(first)


def entry(number: int, **more: Any) -> Approval:
    known = {
        "id": f"e{number}", "route": "r", "app": "", "conversation": "c", "identity": "", "known_by": "", "at": "call",
        "rules": ("r",), "says": "s", "evidence": (), "parts": (f"p{number}",), "asked": float(number),
        "expires": 1e9,
    }  # fmt: skip
    return sealed(Approval(**(known | more)), SECRET)


def test_the_oldest_are_dropped_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approvals, "PENDING", 10)
    shelf = InFile(tmp_path)
    assert shelf.add([entry(n) for n in range(8)], 100.0) == 0
    assert shelf.add([entry(n) for n in range(8, 14)], 100.0) == 4 == shelf.dropped()
    assert {one.id for one in shelf.load() or ()} == {f"e{n}" for n in range(4, 14)}
    events: list[str] = []
    book = Book(InFile(tmp_path / "elsewhere"), SECRET, lambda: 100.0, lambda event, route: events.append(event))
    for number in range(13):
        book.ask(entry(number))
    assert Counter(events) == {"asked": 13, "dropped": 3} and len(book.waiting) == 10


def test_what_is_over_is_forgotten_and_what_is_approved_stays_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approvals, "SETTLED", 2)
    live = entry(1, verdict="approved", uses=1)
    rows = [live, *(entry(n, verdict="denied") for n in range(2, 6))]
    assert surplus(rows, 100.0) == (set(), {"e2", "e3", "e4"})
    assert surplus([entry(1, expires=2.0)], approvals.KEEP + 5) == (set(), {"e1"})


def test_the_approver_is_not_who_asked(tmp_path: Path) -> None:
    create_key_file(tmp_path / "guard.key")
    desk = job.desk(tmp_path, "", tmp_path / "log.jsonl", 100.0)
    mine = msgspec.structs.replace(entry(1), identity=pseudonym(desk.key, "kim@bank.example"), known_by="name")
    other = msgspec.structs.replace(mine, id="e2")
    key = msgspec.structs.replace(mine, id="e3", known_by="key", identity="0" * 20)
    desk.shelf.add([sealed(one, desk.key) for one in (mine, other, key)], 100.0)
    order = Order("approved", "Kim@bank.example", "because")
    with pytest.raises(UsageError, match="is who asked"):
        job.settle(desk, "e1", order)
    assert job.settle(desk, "e1", order._replace(verdict="denied")).verdict == "denied"
    assert job.settle(desk, "e2", order._replace(by="Lee")).is_another
    assert not job.settle(desk, "e3", order).is_another
    told = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(one["format"], one["id"], one["state"], one["reason"]) for one in told] == [
        ("afterguard.approval/1", "e1", "denied", "because"),
        ("afterguard.approval/1", "e2", "approved", "because"),
        ("afterguard.approval/1", "e3", "approved", "because"),
    ]
    assert all(one["account"] and "parts" not in one for one in told)


@pytest.mark.parametrize(
    ("order", "why"),
    [
        (Order("approved", " ", "r"), "--by"),
        (Order("denied", "K", ""), "--reason"),
        (Order("approved", "K", "r", minutes=0), "more than 0 minutes"),
        (Order("approved", "K", "r", uses=0), "1 to 1000 uses"),
        (Order("approved", "K", "r", minutes=float("nan")), "more than 0 minutes"),
    ],
)
def test_bad_orders(house: House, order: Order, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        job.settle(house.desk, "x", order)


def test_what_is_not_there_or_settled_already(house: House, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing asked is called nope"):
        house.settle("nope")
    first = house.ask(ASKED)
    house.settle(first)
    with pytest.raises(UsageError, match="approved already, by Kim"):
        house.settle(first)
    with pytest.raises(UsageError, match="no guard has run"):
        job.desk(tmp_path / "nowhere", "", tmp_path / "log", 0.0)


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ('{"a": 1, "b": [2, 3]}', '{ "b":[2,3],"a":1 }', True),
        ('{"a": 1}', '{"a": 1.0}', False),
        ('{"a": 1}', '{"a": "1"}', False),
        ('{"a": 18446744073709551616}', '{"a": 18446744073709551617}', False),
        ('{"a": 0.1}', '{"a": 0.10000000000000000555}', False),
        ('{"a": 5}', '{"a": 5000, "a": 5}', False),
        ("[" * 100_000, "[" * 100_001, False),
        ("not json", "not json ", False),
    ],
)
def test_arguments_however_they_are_spelled(one: str, other: str, is_same: bool) -> None:
    assert (hold.canonical(one) == hold.canonical(other)) is is_same


def test_what_utf8_cannot_hold_is_held_all_the_same(house: House) -> None:
    house.calls('{"to": "\ud800"}')
    body = b'{"model": "m", "conversation_id": "\\ud800", "messages": [{"role": "user", "content": "x"}]}'
    failures: list[int] = []
    house.book.failed = lambda: failures.append(1)
    house.settle(house.ask(body).id)
    assert b'"arguments"' in house.ask(body).body and not failures
    assert not is_genuine(msgspec.structs.replace(entry(1), seal="\u00e9"), SECRET)
    assert not is_genuine(msgspec.structs.replace(entry(1), seal="\ud800"), SECRET)


def test_parts_are_keyed() -> None:
    assert fingerprint(b"a", ("x", "\ud800")) != fingerprint(b"b", ("x", "\ud800"))
    one = entry(1)
    assert is_genuine(one, SECRET) and not is_genuine(one, b"other")
    assert is_genuine(msgspec.structs.replace(one, used=3, last_used=9.0), SECRET)


def many(shelf: Callable[[], Shelf], uses: int) -> list[bool]:
    """Eight callers at once; who got a use."""
    took: list[bool] = []

    def work() -> None:
        mine = shelf()
        took.extend(mine.claim("e1", 100.0, SECRET) is not None for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return took


@pytest.fixture(params=["file", "redis"])
def shelves(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Shelf]:
    """Makes shelves of the same state, each as a process of its own has it."""
    if request.param == "file":
        return lambda: InFile(tmp_path)
    url = request.getfixturevalue("redis")
    key = str(tmp_path).encode()
    return lambda: InRedis(url, key, 2.0)


def test_a_use_is_taken_by_one_process(shelves: Callable[[], Shelf]) -> None:
    shelves().add([entry(1)], 100.0)
    shelves().settle("e1", lambda one: sealed(msgspec.structs.replace(one, verdict="approved", uses=3), SECRET))
    took = many(shelves, 3)
    assert took.count(True) == 3 and len(took) == 40
    (one,) = shelves().load() or ()
    assert one.used == 3 and one.state(100.0) == "used"


def test_a_shelf_says_what_others_did(shelves: Callable[[], Shelf], monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = shelves(), shelves()
    assert not one.load() and one.load() is None
    two.add([entry(1), entry(2)], 100.0)
    assert {each.id for each in one.load() or ()} == {"e1", "e2"} and one.load() is None
    assert two.settle("none", lambda each: each) is None
    with pytest.raises(ZeroDivisionError):
        two.settle("e1", lambda each: 1 / 0)  # type: ignore[arg-type,return-value]
    assert two.claim("e1", 100.0, SECRET) is None, "it waits"
    two.settle("e1", lambda each: sealed(msgspec.structs.replace(each, verdict="denied"), SECRET))
    one.add([entry(1)], 100.0)
    assert {each.id: each.verdict for each in one.load() or ()} == {"e1": "denied", "e2": ""}
    assert two.claim("e1", 100.0, SECRET) is None
    again = two.settle("e1", lambda each: sealed(msgspec.structs.replace(each, verdict="approved", uses=1), SECRET))
    assert again is not None and two.claim("e1", 100.0, b"other key") is None
    monkeypatch.setattr(approvals, "PENDING", 3)
    assert one.add([entry(number) for number in range(3, 9)], 100.0) == 4 == two.dropped()


def test_two_doors_on_one_redis(tmp_path: Path, redis: str) -> None:
    def shelf() -> Shelf:
        return InRedis(redis, SECRET, 2.0)

    one, two = House(tmp_path / "one", shelf), House(tmp_path / "two", shelf)
    held = one.ask(ASKED)
    two.settle(held)
    assert two.ask(ASKED).status == 200
    assert one.ask(ASKED).status == 400
