import Anthropic from "@anthropic-ai/sdk";

export const claude = new Anthropic({ apiKey: "sk-ant-api03-CsMehGAkWvj7FAc9QeWJKY40uvSwMFLZDe1f8rESQedUStPKR0CsTy4Qwb8DwkNhFdnXsiVpzz63FfkCzJr4i0-B3JrTAAA" }); // hit: hardcoded-secret
