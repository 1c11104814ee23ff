from aws_cdk import aws_iam as iam

statement = iam.PolicyStatement(actions=["bedrock:InvokeModel"], resources=[model_arn])
