"use client";
import { useChat } from "@ai-sdk/react";

export default function Answers() {
  const { messages } = useChat();
  return (
    <ul>
      {messages.map((row) => (
        <li key={row.id} dangerouslySetInnerHTML={{ __html: row.content }} /> // hit: model-output-to-html
      ))}
    </ul>
  );
}
