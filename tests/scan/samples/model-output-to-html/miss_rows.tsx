"use client";
import { useChat } from "@ai-sdk/react";
import DOMPurify from "dompurify";

const notices = [{ id: 1, html: "<b>Closed on Sunday</b>" }];

export default function Answers() {
  const { messages } = useChat();
  return (
    <ul>
      {messages.map((row) => (
        <li key={row.id} dangerouslySetInnerHTML={{ __html: DOMPurify.sanitize(row.content) }} />
      ))}
      {notices.map((row) => (
        <li key={row.id} dangerouslySetInnerHTML={{ __html: row.html }} />
      ))}
    </ul>
  );
}
