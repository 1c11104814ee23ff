"""Containers, clusters, clouds and pipelines: what is there, with its line, and what only looks like it."""

from __future__ import annotations

import pytest

from afterguard.code.parse import parse
from afterguard.discover import charts, ci, cloudformation, containers, images, kubernetes, terraform
from afterguard.files import kind_of
from afterguard.model import Asset, AssetKind, Certainty, Source


def source(path: str, text: str) -> Source:
    data = text.encode()
    return Source(path, data, kind_of(path, data), len(data))


def found(module: object, path: str, text: str) -> list[Asset]:
    return list(module.find(parse(source(path, text))))  # type: ignore[attr-defined]


def names(assets: list[Asset]) -> set[tuple[str, str, int]]:
    return {(asset.kind.value, asset.name, asset.evidence[0].line) for asset in assets}


@pytest.mark.parametrize(
    ("image", "product", "model"),
    [
        ("ollama/ollama", "ollama", ""),
        ("registry.example:5000/mirror/ollama/ollama:0.5", "ollama", ""),
        ("123.dkr.ecr.eu-west-1.amazonaws.com/hub/vllm/vllm-openai@sha256:" + "a" * 64, "vllm", ""),
        ("ghcr.io/huggingface/text-generation-inference:2.4", "text-generation-inference", ""),
        ("nvcr.io/nim/meta/llama-3.1-8b-instruct:1.3", "nim", "meta/llama-3.1-8b-instruct"),
        ("artifactory.corp/nvcr/nim/meta/llama3-70b:1", "nim", "meta/llama3-70b"),
        ("nvcr.io/nvidia/tritonserver:24.08-py3", "triton", ""),
        ("ghcr.io/berriai/litellm:main-latest", "litellm", ""),
        ("qdrant/qdrant:v1.12", "qdrant", ""),
        ("763104351884.dkr.ecr.us-east-1.amazonaws.com/huggingface-pytorch-tgi-inference:2.3", "text-generation-inference", ""),
        ("tensorflow/serving", "tensorflow-serving", ""),
        ("tensorflow/tensorflow:2.17-gpu", "tensorflow", ""),
        ("mcp/github", "github", ""),
    ],
)  # fmt: skip
def test_images_by_the_tail_of_their_path(image: str, product: str, model: str) -> None:
    one = images.product(image)
    assert one is not None and (one.name, one.model) == (product, model)


@pytest.mark.parametrize(
    "image",
    [
        "postgres:16",
        "python:3.12",
        "acme/ollama-dashboard",
        "acme/my-vllm-docs",
        "nginx",
        "",
        "redis:7",
        "acme/phoenix",
    ],
)
def test_other_images_are_none(image: str) -> None:
    assert images.product(image) is None


def test_compose() -> None:
    assets = found(
        containers,
        "docker-compose.yml",
        """services:
  llm:
    image: ${REGISTRY:-docker.io}/vllm/vllm-openai:v0.6
    command: >
      --model Qwen/Qwen2.5-7B-Instruct --port 8000
    environment:
      - HUGGING_FACE_HUB_TOKEN=${HF}
  web:
    build: .
    environment:
      OPENAI_BASE_URL: https://api.openai.com/v1
      OPENAI_MODEL: gpt-4o-mini
      OPENAI_API_KEY: sk-live-abcdefghijklmnopqrstuvwx
  db:
    image: pgvector/pgvector:pg16
""",
    )
    assert {
        ("inference_server", "vllm", 3), ("model", "Qwen/Qwen2.5-7B-Instruct", 5), ("secret_reference", "HUGGING_FACE_HUB_TOKEN", 7),
        ("provider", "openai", 11), ("model", "gpt-4o-mini", 12), ("secret_reference", "OPENAI_API_KEY", 13), ("vector_store", "pgvector", 15),
    } <= names(assets)  # fmt: skip
    assert "sk-live" not in str(assets)
    server = next(asset for asset in assets if asset.name == "vllm")
    assert {(edge.relation, edge.name) for edge in server.edges} >= {
        ("serves", "Qwen/Qwen2.5-7B-Instruct"),
        ("authenticates_with", "HUGGING_FACE_HUB_TOKEN"),
    }
    assert next(asset for asset in assets if asset.name == "pgvector").confidence is Certainty.inferred


def test_a_compose_file_without_ai_is_empty() -> None:
    assert not found(
        containers,
        "compose.yaml",
        "services:\n  db:\n    image: postgres:16\n    environment: {POSTGRES_PASSWORD: x, MODEL_NAME: sedan}\n",
    )


def test_dockerfile() -> None:
    assets = found(
        containers,
        "Dockerfile",
        """ARG V=0.5
FROM ghcr.io/acme/mirror/ollama/ollama:${V}
ENV OLLAMA_HOST=0.0.0.0 \\
    ANTHROPIC_MODEL=claude-sonnet-4-5
RUN ollama serve & sleep 5 && ollama pull llama3.1:8b
RUN pip install vllm litellm && echo "ollama run is documented at example.org"
CMD ["python", "-m", "vllm.entrypoints.openai.api_server", "--model", "BAAI/bge-m3", "--trust-remote-code"]
""",
    )
    got = names(assets)
    assert {
        ("inference_server", "ollama", 2),
        ("model", "claude-sonnet-4-5", 4),
        ("model", "llama3.1:8b", 5),
        ("embedding_model", "BAAI/bge-m3", 7),
        ("inference_server", "vllm", 7),
    } <= got
    assert not [one for one in got if one[1] == "litellm"]


MANIFEST = """apiVersion: apps/v1
kind: Deployment
metadata: {name: llm, labels: {app: llm}}
spec:
  template:
    metadata: {labels: {app: llm}}
    spec:
      containers:
        - name: server
          image: mirror.corp/lmsysorg/sglang:v0.3
          command: [python3, -m, sglang.launch_server]
          args: ["--model-path", "meta-llama/Llama-3.1-8B-Instruct"]
          resources: {limits: {nvidia.com/gpu: "1"}}
        - name: app
          image: corp/app:1
          env:
            - name: MISTRAL_API_KEY
              valueFrom: {secretKeyRef: {name: ai, key: mistral}}
---
apiVersion: v1
kind: Service
metadata: {name: llm-svc}
spec: {selector: {app: llm}, ports: [{port: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: llm}
spec:
  rules:
    - host: llm.corp.example
      http:
        paths:
          - path: /
            backend:
              service: {name: llm-svc, port: {number: 80}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: cfg}
data:
  EMBEDDING_MODEL: text-embedding-3-small
  config.yaml: |
    model_list:
      - model_name: a
        litellm_params: {model: azure/gpt-4o, api_base: https://x.openai.azure.com}
"""


def test_kubernetes() -> None:
    assets = found(kubernetes, "k8s/all.yaml", MANIFEST)
    got = names(assets)
    assert {
        ("inference_server", "sglang", 10), ("model", "meta-llama/Llama-3.1-8B-Instruct", 12), ("secret_reference", "MISTRAL_API_KEY", 17),
        ("ai_endpoint", "llm.corp.example", 35), ("embedding_model", "text-embedding-3-small", 41), ("model", "gpt-4o", 45),
    } <= got  # fmt: skip
    assert not [one for one in got if "launch_server" in one[1]]
    key = next(asset for asset in assets if asset.name == "MISTRAL_API_KEY")
    assert key.attributes["store"] == "ai/mistral"
    endpoint = next(asset for asset in assets if asset.kind is AssetKind.ai_endpoint)
    assert [edge.name for edge in endpoint.edges] == ["sglang"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {name: churn}\nspec: {predictor: {sklearn: {storageUri: gs://b/churn}}}\n",
         {("inference_server", "kserve"), ("model", "churn"), ("model_artifact", "gs://b/churn")}),
        ("apiVersion: ray.io/v1\nkind: RayService\nmetadata: {name: r}\n", {("inference_server", "ray")}),
        ("apiVersion: machinelearning.seldon.io/v1\nkind: SeldonDeployment\nmetadata: {name: s}\nspec: {predictors: [{graph: {implementation: SKLEARN_SERVER, modelUri: 's3://m/s'}}]}\n",
         {("inference_server", "seldon"), ("model", "s"), ("model_artifact", "s3://m/s")}),
        ("apiVersion: kagent.dev/v1alpha2\nkind: Agent\nmetadata: {name: helper}\n", {("agent", "helper")}),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: corp/x, args: [--model, org/m-7b, --dtype, half], resources: {limits: {nvidia.com/gpu: 1}}}]}\n",
         {("inference_server", "unresolved:c"), ("model", "org/m-7b")}),
    ],
)  # fmt: skip
def test_kinds(text: str, expected: set[tuple[str, str]]) -> None:
    got = {(kind, name) for kind, name, _ in names(found(kubernetes, "m.yaml", text))}
    assert got == expected


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: nginx, args: [--model, sedan]}]}\n",
        "apiVersion: x.example/v1\nkind: Model\nmetadata: {name: car}\nspec: {url: http://x}\n",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: g}\nspec: {containers: [{name: c, image: corp/render, resources: {limits: {nvidia.com/gpu: 1}}}]}\n",
    ],
)
def test_what_only_looks_like_ai_in_a_cluster(text: str) -> None:
    assert not found(kubernetes, "m.yaml", text)


def test_a_chart_with_its_values() -> None:
    values = parse(
        source(
            "chart/values.yaml", "image:\n  repository: vllm/vllm-openai\n  tag: v1\nmodel: Qwen/Qwen2.5-7B-Instruct\n"
        )
    )
    template = source(
        "chart/templates/deploy.yaml",
        'apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {{ include "x" . }}\nspec:\n  template:\n    spec:\n      containers:\n'
        '        - name: a\n          image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"\n          args:\n            - --model\n            - {{ .Values.model | quote }}\n',
    )
    assert charts.values_path(template.path) == "chart/values.yaml"
    assert values.document is not None
    assets = list(kubernetes.find(parse(charts.rendered(template, values.document))))
    assert {("inference_server", "vllm", 10), ("model", "Qwen/Qwen2.5-7B-Instruct", 12)} <= names(assets)
    assert ("inference_server", "vllm", 2) in names(list(kubernetes.find(values)))


TERRAFORM = """variable "fm" { default = "anthropic.claude-3-5-sonnet-20241022-v2:0" }
resource "aws_bedrockagent_agent" "support" {
  agent_name       = "support"
  foundation_model = var.fm
  instruction      = "You are a helpful support agent for orders."
}
resource "aws_sagemaker_endpoint" "fraud" { name = "fraud-endpoint" }
resource "azurerm_cognitive_account" "ai" {
  kind     = "OpenAI"
  location = "westeurope"
}
resource "azurerm_cognitive_deployment" "d" {
  name = "chat"
  model {
    format = "OpenAI"
    name   = "gpt-4o"
  }
}
data "google_vertex_ai_index" "i" { name = "x" }
resource "aws_lambda_function" "f" {
  environment { variables = { OPENAI_API_KEY = var.key, MODEL = "x" } }
}
resource "aws_iam_role_policy" "p" {
  policy = <<EOF
{"Statement": [{"Effect": "Allow", "Action": ["comprehend:DetectSentiment"], "Resource": "*"}]}
EOF
}
resource "aws_s3_bucket" "model_t" { bucket = "tesla-model-t" }
resource "helm_release" "q" {
  chart = "qdrant"
}
"""


def test_terraform() -> None:
    assets = found(terraform, "main.tf", TERRAFORM)
    got = names(assets)
    assert {
        ("cloud_ai_service", "aws-bedrock", 2), ("agent", "support", 2), ("model", "anthropic.claude-3-5-sonnet-20241022-v2:0", 4),
        ("ai_endpoint", "fraud-endpoint", 7), ("cloud_ai_service", "aws-sagemaker", 7), ("cloud_ai_service", "azure-openai", 8),
        ("ai_endpoint", "chat", 12), ("model", "gpt-4o", 16), ("cloud_ai_service", "google-vertex-ai", 19),
        ("secret_reference", "OPENAI_API_KEY", 21), ("cloud_ai_service", "aws-comprehend", 25), ("vector_store", "qdrant", 30),
    } <= got  # fmt: skip
    assert not [one for one in got if "tesla" in one[1]]


def test_cloudformation() -> None:
    assets = found(
        cloudformation,
        "template.yaml",
        """AWSTemplateFormatVersion: "2010-09-09"
Resources:
  Agent:
    Type: AWS::Bedrock::Agent
    Properties:
      AgentName: planner
      FoundationModel: !Sub "arn:aws:bedrock:${AWS::Region}::foundation-model/amazon.nova-pro-v1:0"
  Endpoint:
    Type: AWS::SageMaker::Endpoint
    Properties: {EndpointName: !Ref Name}
  Fn:
    Type: AWS::Serverless::Function
    Properties:
      Environment: {Variables: {ANTHROPIC_API_KEY: !Ref Key}}
      Policies:
        - Statement: [{Effect: Allow, Action: "bedrock:InvokeModel", Resource: "*"}]
  Bucket:
    Type: AWS::S3::Bucket
""",
    )
    assert {
        ("cloud_ai_service", "aws-bedrock", 4), ("agent", "planner", 4), ("model", "amazon.nova-pro-v1:0", 7), ("ai_endpoint", "Endpoint", 9),
        ("secret_reference", "ANTHROPIC_API_KEY", 14), ("cloud_ai_service", "aws-bedrock", 16),
    } <= names(assets)  # fmt: skip


def test_azure_templates() -> None:
    bicep = "param location string\nresource acc 'Microsoft.CognitiveServices/accounts@2024-10-01' = {\n  name: 'ai'\n  kind: 'OpenAI'\n}\nresource dep 'Microsoft.CognitiveServices/accounts/deployments@2024-10-01' = {\n  name: 'chat'\n  properties: {\n    model: {\n      name: 'gpt-4o-mini'\n    }\n  }\n}\n"
    assert {("cloud_ai_service", "azure-openai", 2), ("ai_endpoint", "chat", 6), ("model", "gpt-4o-mini", 10)} <= names(
        found(cloudformation, "main.bicep", bicep)
    )


def test_pipelines() -> None:
    assets = found(
        ci,
        ".github/workflows/ai.yml",
        """on: push
jobs:
  a:
    runs-on: ubuntu-latest
    env:
      OPENAI_API_KEY: ${{ secrets.PROD_OPENAI }}
    steps:
      - uses: actions/checkout@v4
      - uses: anthropics/claude-code-action@v1
        with:
          anthropic_api_key: ${{ secrets.ANTHROPIC_API_KEY }}
          claude_args: --model claude-opus-4-1 --max-turns 5
      - run: |
          npm install -g @anthropic-ai/claude-code
          # curl https://api.mistral.ai/v1/models
          curl https://api.openai.com/v1/chat/completions -d '{}'
          claude -p "review" --model claude-sonnet-4-5
""",
    )
    got = names(assets)
    assert {
        ("secret_reference", "OPENAI_API_KEY", 6), ("agent", "claude-code", 9), ("secret_reference", "ANTHROPIC_API_KEY", 11),
        ("model", "claude-opus-4-1", 12), ("provider", "openai", 16), ("model", "claude-sonnet-4-5", 17), ("agent", "claude-code", 17),
    } <= got  # fmt: skip
    assert not [one for one in got if one[1] == "mistral"]
    jenkins = "pipeline {\n  environment {\n    OPENAI_API_KEY = credentials('openai-prod')\n  }\n  steps { sh 'promptfoo eval' }\n}\n"
    assert {("secret_reference", "OPENAI_API_KEY", 3), ("agent", "promptfoo", 5)} <= names(
        found(ci, "Jenkinsfile", jenkins)
    )


def test_a_pipeline_without_ai_is_empty() -> None:
    text = "on: push\njobs:\n  t:\n    runs-on: x\n    steps:\n      - uses: actions/setup-python@v5\n        with: {python-version: '3.12'}\n      - run: pytest --model fast && echo claude is a name\n        env: {TOKEN: '${{ secrets.GITHUB_TOKEN }}'}\n"
    assert not found(ci, ".github/workflows/ci.yml", text)


@pytest.mark.parametrize(
    "line",
    [
        "npm run serve run",
        "copilot svc deploy -p production",
        "pip install vllm ollama",
        "echo gemini is a sign",
        "cd claude && ls -p",
        "make model --model sedan",
        "python -m http.server",
        "terraform plan -out=litellm",
    ],
)
def test_lines_of_scripts_that_run_no_ai(line: str) -> None:
    assert not found(ci, ".gitlab-ci.yml", f"job:\n  script:\n    - {line}\n")


@pytest.mark.parametrize(
    ("line", "kind", "name"),
    [
        ("serve run app.main:graph", "inference_server", "ray"),
        ("docker run -d -p 11434:11434 registry.corp/x/ollama/ollama:0.5", "inference_server", "ollama"),
        ("uv run mlflow models serve -m models:/fraud/3 --port 5001", "model", "models:/fraud/3"),
        ("llama-server -m /models/qwen2.5-7b-q4.gguf --port 8080", "model_artifact", "/models/qwen2.5-7b-q4.gguf"),
        ("vllm serve Qwen/Qwen2.5-7B-Instruct --max-model-len 8192", "model", "Qwen/Qwen2.5-7B-Instruct"),
        ("copilot -p 'fix it' --allow-all-tools", "agent", "github-copilot"),
    ],
)
def test_lines_of_scripts_that_run_ai(line: str, kind: str, name: str) -> None:
    assert (kind, name, 3) in names(found(ci, ".gitlab-ci.yml", f"job:\n  script:\n    - {line}\n"))


def test_custom_resources_hold_images_in_parts_and_configuration_as_text() -> None:
    nim = "apiVersion: apps.nvidia.com/v1alpha1\nkind: NIMService\nmetadata: {name: n}\nspec:\n  image:\n    repository: nvcr.io/nim/meta/llama-3.1-8b-instruct\n    tag: '1'\n"
    assert ("model", "meta/llama-3.1-8b-instruct", 6) in names(found(kubernetes, "n.yaml", nim))
    ray = "apiVersion: ray.io/v1\nkind: RayService\nmetadata: {name: r}\nspec:\n  serveConfigV2: |\n    applications:\n    - args:\n        model_source: Qwen/Qwen2.5-7B-Instruct\n"
    assert ("model", "Qwen/Qwen2.5-7B-Instruct", 8) in names(found(kubernetes, "r.yaml", ray))


def test_open_weights_of_a_provider_are_a_repository() -> None:
    text = "apiVersion: serving.kserve.io/v1\nkind: LLMInferenceService\nmetadata: {name: g}\nspec: {model: {uri: 'hf://openai/gpt-oss-20b'}}\n"
    got = names(found(kubernetes, "g.yaml", text))
    assert ("model", "openai/gpt-oss-20b", 4) in got
    assert not [one for one in got if one[0] == "provider"]


def test_terraform_scripts_and_tables_of_models() -> None:
    text = """locals {
  models = {
    chat = { name = "gpt-4o", version = "1" }
  }
}
resource "aws_instance" "gpu" {
  user_data = <<-EOT
    #!/bin/bash
    docker run -d ollama/ollama
    ollama pull mistral:7b
  EOT
}
resource "kubernetes_deployment" "k" {
  spec { template { spec { container {
    image = "qdrant/qdrant:v1"
    env {
      name  = "OPENAI_MODEL"
      value = "gpt-4.1-mini"
    }
  } } } }
}
"""
    got = names(found(terraform, "main.tf", text))
    assert {("model", "gpt-4o", 3), ("inference_server", "ollama", 9), ("model", "mistral:7b", 10)} <= got
    assert {(kind, name) for kind, name, _ in got} >= {("vector_store", "qdrant"), ("model", "gpt-4.1-mini")}
