variable "region" {
  default = "eu-central-1"
}

resource "aws_s3_bucket" "knowledge" {
  bucket = "meridian-helpdesk-knowledge"
}

resource "aws_s3_bucket_public_access_block" "knowledge" {
  bucket                  = aws_s3_bucket.knowledge.id
  block_public_acls       = false
  block_public_policy     = false
  ignore_public_acls      = false
  restrict_public_buckets = false
}

resource "aws_s3_bucket_acl" "knowledge" {
  bucket = aws_s3_bucket.knowledge.id
  acl    = "public-read"
}

resource "aws_iam_role_policy" "assistant" {
  name = "assistant-ai"
  role = "assistant"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["bedrock:*", "s3:GetObject"]
      Resource = "*"
    }]
  })
}

resource "aws_bedrock_model_invocation_logging_configuration" "off" {
  logging_config {
    embedding_data_delivery_enabled = false
    text_data_delivery_enabled      = false
  }
}
