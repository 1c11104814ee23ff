package main

import (
	"context"
	"database/sql"

	"github.com/anthropics/anthropic-sdk-go"
)

func report(ctx context.Context, client anthropic.Client, db *sql.DB, question string) (*sql.Rows, error) {
	reply, err := client.Messages.New(ctx, anthropic.MessageNewParams{
		MaxTokens: 100,
		Messages:  []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(question))},
	})
	if err != nil {
		return nil, err
	}
	name := reply.Content[0].Text
	return db.QueryContext(ctx, "SELECT * FROM users WHERE name = $1", name)
}
