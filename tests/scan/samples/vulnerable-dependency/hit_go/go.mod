module example.com/x

go 1.23

require github.com/ollama/ollama v0.1.30 // hit: vulnerable-dependency
