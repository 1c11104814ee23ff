resource "aws_iam_role_policy" "assistant" {
  role = aws_iam_role.assistant.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = "bedrock:*" # hit: wildcard-iam
      Resource = "*"
    }]
  })
}
