resource "google_storage_bucket_iam_member" "models" {
  bucket = "acme-models"
  role   = "roles/storage.objectViewer"
  member = "allUsers" # hit: public-bucket
}
