package main

func work(goal string) {
	for { // hit: unbounded-agent-loop
		reply, _ := client.CreateChatCompletion(ctx, openai.ChatCompletionRequest{MaxTokens: 100, Messages: messages})
		if reply.Choices[0].Message.Content == "done" {
			return
		}
	}
}
