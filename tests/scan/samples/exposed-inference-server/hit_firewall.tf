resource "aws_security_group" "ollama" {
  name = "ollama"
  ingress {
    from_port   = 11434
    to_port     = 11434
    protocol    = "tcp"
    cidr_blocks = ["0.0.0.0/0"] # hit: exposed-inference-server
  }
}
