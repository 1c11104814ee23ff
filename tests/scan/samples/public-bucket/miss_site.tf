resource "aws_s3_bucket_acl" "website" {
  bucket = "acme-website-static"
  acl    = "public-read"
}
