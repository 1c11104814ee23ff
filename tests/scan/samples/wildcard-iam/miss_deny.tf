data "aws_iam_policy_document" "guard" {
  statement {
    effect    = "Deny"
    actions   = ["bedrock:*"]
    resources = ["*"]
  }
}
