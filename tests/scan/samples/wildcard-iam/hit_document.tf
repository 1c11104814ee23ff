data "aws_iam_policy_document" "sagemaker" {
  statement {
    actions   = ["s3:GetObject", "sagemaker:*"] # hit: wildcard-iam
    resources = ["*"]
  }
}
