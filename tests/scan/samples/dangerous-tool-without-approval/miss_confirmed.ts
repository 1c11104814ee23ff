import { tool } from "ai";
import { unlinkSync } from "fs";
import { z } from "zod";

export const remove = tool({
  description: "Remove a note",
  parameters: z.object({ number: z.number() }),
  execute: async ({ number }) => {
    if (!(await confirmWithUser(`Remove note ${Number(number)}?`))) {
      return "kept";
    }
    unlinkSync(`notes/${Number(number)}.txt`);
    return "gone";
  },
});
