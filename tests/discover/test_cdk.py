"""Infrastructure written as a program: constructs, their models, keys and permissions."""

from __future__ import annotations

from afterguard.code.parse import parse
from afterguard.discover import cdk
from afterguard.files import kind_of
from afterguard.model import Asset, Source

PYTHON = """from aws_cdk import aws_bedrock as bedrock, aws_sagemaker as sagemaker, aws_iam as iam, aws_lambda as lambda_

def build(stack):
    agent = bedrock.CfnAgent(stack, "Planner", agent_name="planner", foundation_model="amazon.nova-pro-v1:0")
    endpoint = sagemaker.CfnEndpoint(stack, "Fraud", endpoint_config_name="x")
    lambda_.Function(stack, "F", environment={"OPENAI_API_KEY": "x", "TABLE": "t"})
    iam.PolicyStatement(actions=["comprehend:DetectSentiment"], resources=["*"])
"""
TYPESCRIPT = """import * as bedrock from 'aws-cdk-lib/aws-bedrock';
import { Stack } from 'aws-cdk-lib';

const agent = new bedrock.CfnAgent(stack, 'Helper', {
  agentName: 'helper',
  foundationModel: 'anthropic.claude-3-haiku-20240307-v1:0',
});
"""


def found(path: str, text: str) -> set[tuple[str, str]]:
    data = text.encode()
    assets: list[Asset] = list(cdk.find(parse(Source(path, data, kind_of(path, data), len(data)))))
    return {(asset.kind.value, asset.name) for asset in assets}


def test_python_constructs() -> None:
    assert {
        ("cloud_ai_service", "aws-bedrock"), ("cloud_ai_service", "aws-sagemaker"), ("agent", "Planner"), ("ai_endpoint", "Fraud"),
        ("model", "amazon.nova-pro-v1:0"), ("secret_reference", "OPENAI_API_KEY"), ("cloud_ai_service", "aws-comprehend"),
    } <= found("stack.py", PYTHON)  # fmt: skip


def test_typescript_constructs() -> None:
    assert {
        ("cloud_ai_service", "aws-bedrock"),
        ("agent", "Helper"),
        ("model", "anthropic.claude-3-haiku-20240307-v1:0"),
    } <= found("stack.ts", TYPESCRIPT)


def test_other_code_is_empty() -> None:
    assert not found("a.py", "import boto3\nboto3.client('bedrock-runtime')\n")
    assert not found("b.py", "from aws_cdk import aws_s3 as s3\ns3.Bucket(stack, 'Model')\n")
