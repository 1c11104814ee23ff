from aws_cdk import aws_iam as iam

statement = iam.PolicyStatement(
    actions=["bedrock:*"],  # hit: wildcard-iam
    resources=["*"],
)
