resource "aws_iam_role_policy" "assistant" {
  role = aws_iam_role.assistant.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream"]
      Resource = "arn:aws:bedrock:eu-west-1::foundation-model/anthropic.claude-sonnet-4-5"
    }]
  })
}
