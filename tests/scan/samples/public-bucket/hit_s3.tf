resource "aws_s3_bucket" "training_data" {
  bucket = "acme-training-data"
}

resource "aws_s3_bucket_acl" "training_data" {
  bucket = aws_s3_bucket.training_data.id
  acl    = "public-read" # hit: public-bucket
}

resource "aws_s3_bucket_public_access_block" "training_data" {
  bucket            = aws_s3_bucket.training_data.id
  block_public_acls = false # hit: public-bucket
}
