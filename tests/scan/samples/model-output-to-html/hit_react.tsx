import { useState } from "react";

export function Chat() {
  const [answer, setAnswer] = useState("");
  async function send(question: string) {
    const response = await fetch("/api/chat", { method: "POST", body: JSON.stringify({ question }) });
    const data = await response.json();
    setAnswer(data.answer);
  }
  return (
    <div>
      <button onClick={() => send("hello")}>Ask</button>
      <div dangerouslySetInnerHTML={{ __html: answer }} /> {/* hit: model-output-to-html */}
    </div>
  );
}
