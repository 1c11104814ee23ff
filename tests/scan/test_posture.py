"""Files that name no AI and still matter to a check, and those that do not."""

from __future__ import annotations

import pytest

from afterguard.files import kind_of
from afterguard.model import Source
from afterguard.scan.posture import is_worth


def source(path: str, text: str) -> Source:
    data = text.encode()
    return Source(path, data, kind_of(path, data), len(data))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (
            "stack.yaml",
            "Resources:\n  TrainingData:\n    Type: AWS::S3::Bucket\n    Properties: {AccessControl: PublicRead}\n",
        ),
        ("infra/access.json", '{"member": "allUsers"}'),
        ("src/application.properties", "spring.ai.chat.observations.log-prompt=true\n"),
        ("training/people.csv", "name,iban\nA,B\n"),
        ("data/train.jsonl", '{"messages": []}\n'),
    ],
)
def test_settings_and_training_data_are_seen(path: str, text: str) -> None:
    assert is_worth(source(path, text))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("stack.yaml", "Resources:\n  Queue:\n    Type: AWS::SQS::Queue\n"),
        ("prices.csv", "name,price\nA,1\n"),
        ("notes.txt", "the bucket is public-read"),
    ],
)
def test_everything_else_is_left_out(path: str, text: str) -> None:
    assert not is_worth(source(path, text))
