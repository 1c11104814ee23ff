package main

import (
	"context"
	"os/exec"

	openai "github.com/sashabaranov/go-openai"
)

func fix(ctx context.Context, client *openai.Client, problem string) error {
	reply, err := client.CreateChatCompletion(ctx, openai.ChatCompletionRequest{
		Model:     openai.GPT4o,
		MaxTokens: 100,
		Messages:  []openai.ChatCompletionMessage{{Role: "user", Content: problem}},
	})
	if err != nil {
		return err
	}
	command := reply.Choices[0].Message.Content
	return exec.Command("sh", "-c", command).Run() // hit: model-output-to-shell
}
