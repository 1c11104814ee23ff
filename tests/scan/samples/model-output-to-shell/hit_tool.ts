import { tool } from "ai";
import { execSync } from "child_process";
import { z } from "zod";

export const search = tool({
  description: "Search the notes",
  parameters: z.object({ term: z.string() }),
  execute: async ({ term }) => { // hit: dangerous-tool-without-approval
    return execSync(`grep -r ${term} notes`).toString(); // hit: model-output-to-shell
  },
});
