package main

import (
	"net/http"

	openai "github.com/sashabaranov/go-openai"
	"golang.org/x/time/rate"
)

var limiter = rate.NewLimiter(1, 5)

func chat(w http.ResponseWriter, r *http.Request) {
	if !limiter.Allow() {
		return
	}
	reply, _ := client.CreateChatCompletion(r.Context(), openai.ChatCompletionRequest{
		MaxTokens: 100,
		Messages:  []openai.ChatCompletionMessage{{Role: "user", Content: r.FormValue("q")}},
	})
	w.Write([]byte(reply.Choices[0].Message.Content))
}

func main() {
	http.HandleFunc("/chat", chat) // hit: unauthenticated-ai-endpoint
}
